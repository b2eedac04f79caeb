"""What a group is after each of its records, by the rules alone: a reference without I/O.

A :class:`GroupModel` goes through the records of one channel in the order of the log. It knows
frames, and what the rules on groups say; it asserts that each record was permitted where it
stands, and that the rows it carries say the same as the model. :meth:`GroupModel.refusal` says
what a request would be answered at that place.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from chatsvc.core.record import Record


class Op(NamedTuple):
    """A request: what, by whom, about whom, and what it is to become."""

    what: str
    actor: str
    user: str = ""
    value: str = ""


class GroupModel:
    """One group, from its first record on.

    Args:
        capacity: the maximum number of members.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.exists = False
        self.is_deleted = False
        self.members: dict[str, int] = {}
        """The id of the join of each member, in the order of joining."""
        self.admins: list[str] = []
        self.moderators: list[str] = []
        self.fields: dict[str, str] = {}
        self.was_member: set[str] = set()
        self.said: list[tuple[str, str]] = []

    def role_of(self, user: str) -> str:
        """The role of a member."""
        if user in self.admins:
            return "admin"
        return "moderator" if user in self.moderators else "member"

    def in_order(self) -> list[str]:
        """The members in the order of joining; of those of one record in the order of ids."""
        return sorted(self.members, key=lambda user: (self.members[user], user))

    def senior(self, leaving: str) -> str:
        """Who becomes an admin when the last one leaves; empty: nobody is left."""
        candidates = [*self.moderators, *self.in_order()]
        return next((user for user in candidates if user != leaving), "")

    def refusal(self, op: Op) -> str:
        """The code with which a request is refused here; empty: it is not."""
        actor, user = op.actor, op.user or op.actor
        if op.what == "role" and op.value == "member" and user not in self.members:
            op = op._replace(what="join" if actor == user else "add")
        if op.what == "create":
            return "not_a_member" if self.exists and actor not in self.present else ""
        if self.is_deleted or not self.exists:
            gone = op.what == "leave" and actor in self.was_member - self.members.keys()
            done = op.what == "delete" and actor in self.members
            return "" if gone or done else "not_a_member"
        if op.what == "join":
            if user in self.members:
                return ""
            return self._full() if self.fields["join"] == "open" else "not_a_member"
        if op.what == "leave":
            return "" if actor in self.was_member else "not_a_member"
        if actor not in self.members:
            return "not_a_member"
        role = self.role_of(actor)
        if op.what in ("add", "kick") and role == "member":
            return "not_a_moderator"
        if op.what == "add":
            return "" if user in self.members else self._full()
        if op.what == "kick":
            leads = user in self.members and self.role_of(user) != "member"
            return "not_an_admin" if leads and role != "admin" else ""
        if op.what == "role":
            return self._role_refusal(op)
        return "not_an_admin" if op.what in ("patch", "delete") and role != "admin" else ""

    @property
    def present(self) -> dict[str, int]:
        """Whose membership goes on: nobody's where the group is deleted."""
        return {} if self.is_deleted else self.members

    def _full(self) -> str:
        return "group_full" if len(self.members) >= self.capacity else ""

    def _role_refusal(self, op: Op) -> str:
        user = op.user
        is_member = user in self.members
        if is_member and self.role_of(user) == op.value:
            return ""
        steps_down = op.actor == user and op.value == "member"
        if self.role_of(op.actor) != "admin" and not steps_down:
            return "not_an_admin"
        if self.admins == [user]:
            return "last_admin"
        return "" if is_member else self._full()

    def apply(self, record: Record) -> None:
        """Go on by one record.

        Raises:
            AssertionError: it must not stand here, or its rows say something else.
        """
        frame: dict[str, Any] = msgspec.json.decode(record.body)
        if record.kind == "message":
            op = Op("send", record.sender)
            assert not self.refusal(op), f"{record.sender} is no member at {record.id:x}"
            self.said.append((record.sender, frame["content"]))
            return
        change, sender = frame["change"], frame["sender"]
        getattr(self, f"_{change}")(sender, frame, record.id)
        self._check(frame, record)

    def _permit(self, what: str, actor: str, user: str = "", value: str = "") -> None:
        refusal = self.refusal(Op(what, actor, user, value))
        assert not refusal, f"{actor} must not {what} {user} {value}: {refusal}"

    def _created(self, sender: str, frame: dict[str, Any], at: int) -> None:
        assert not self.exists
        self.exists = True
        for user in frame["users"]:
            self._begin(user, at)
        self.admins = [sender]
        self.fields = {name: frame[name] for name in ("name", "avatar", "history", "join")}

    def _updated(self, sender: str, frame: dict[str, Any], _: int) -> None:
        self._permit("patch", sender)
        new = {name: frame[name] for name in self.fields}
        changed = [name for name in new if new[name] != self.fields[name]]
        assert len(changed) == 1, f"one change of one field was asked for, not of {changed}"
        self.fields = new

    def _deleted(self, sender: str, _frame: dict[str, Any], _: int) -> None:
        self._permit("delete", sender)
        assert not self.is_deleted
        self.is_deleted = True

    def _joined(self, sender: str, frame: dict[str, Any], at: int) -> None:
        assert len(frame["users"]) > 1 or [sender] == frame["users"]
        for user in frame["users"]:
            self._permit("join", user)
            self._begin(user, at)

    def _added(self, sender: str, frame: dict[str, Any], at: int) -> None:
        for user in frame["users"]:
            if frame["role"] == "member":
                self._permit("add", sender, user)
            else:
                self._permit("role", sender, user, frame["role"])
            self._begin(user, at)
            self._give(user, frame["role"])

    def _role(self, sender: str, frame: dict[str, Any], _: int) -> None:
        (user,) = frame["users"]
        assert user in self.members
        assert self.role_of(user) != frame["role"], "a change changes something"
        self._permit("role", sender, user, frame["role"])
        self._give(user, frame["role"])

    def _removed(self, sender: str, frame: dict[str, Any], _: int) -> None:
        (user,) = frame["users"]
        assert user != sender
        self._permit("kick", sender, user)
        self._end(user)

    def _left(self, sender: str, frame: dict[str, Any], _: int) -> None:
        assert frame["users"] == [sender]
        assert not self.is_deleted, "no membership is changed once the group has ended"
        promoted = self.senior(sender) if self.admins == [sender] else ""
        assert frame.get("promoted", "") == promoted, f"{promoted!r} is the senior"
        self._end(sender)
        if promoted:
            self._give(promoted, "admin")
        if not self.members:
            self.is_deleted = True  # nobody could lead whoever came next

    def _begin(self, user: str, at: int) -> None:
        assert user not in self.members
        self.members[user] = at
        self.was_member.add(user)

    def _end(self, user: str) -> None:
        assert user in self.members
        del self.members[user]
        self._give(user, "member")

    def _give(self, user: str, role: str) -> None:
        for name, leaders in (("admin", self.admins), ("moderator", self.moderators)):
            if user in leaders:
                leaders.remove(user)
            if name == role:
                leaders.append(user)

    def _check(self, frame: dict[str, Any], record: Record) -> None:
        """What holds after every change, and what its rows must say."""
        count = len(self.present)
        assert count <= self.capacity
        assert self.admins or not self.present, "a group with members has an admin"
        assert frame["member_count"] == count
        state = record.state
        assert state is not None
        assert state.channel is not None
        assert state.channel.count == count
        assert (state.channel.dissolved != 0) == self.is_deleted
        self.check_settings(state.channel.settings)
        for row in state.members:
            joined = self.members.get(row.user)
            assert row.is_present == (joined is not None)
            assert row.role == (self.role_of(row.user) if joined else "member")
            assert row.joined == joined or (joined is None and row.left == record.id)

    def check_settings(self, settings: bytes) -> None:
        """Check what a channel's row says: fields, and leaders in their order."""
        found: dict[str, Any] = msgspec.json.decode(settings)
        given = {"avatar": "", "history": "all", "join": "invite"} | found
        assert {name: given[name] for name in self.fields} == self.fields
        assert found.get("admins", []) == self.admins
        assert found.get("moderators", []) == self.moderators
