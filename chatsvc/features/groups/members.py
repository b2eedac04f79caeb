"""Who becomes a member, with which role, and who leaves."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import msgspec

from chatsvc.core.errors import Busy, Conflict, Forbidden
from chatsvc.core.limits import Limits
from chatsvc.core.membership import (
    THIS_RECORD,
    Member,
    member_key,
    roster_key,
    settings_key,
)
from chatsvc.core.record import Draft
from chatsvc.features.groups.bans import check_not_banned
from chatsvc.features.groups.records import MembershipChange, draft_membership
from chatsvc.features.groups.roster import (
    LARGE,
    GroupView,
    add_rows,
    beginning_keys,
    check_group_count,
    group_full,
    may_come,
    not_a_member,
    present_member,
    rows_of_new,
    successor,
    view_of,
)
from chatsvc.features.groups.settings import JoinPolicy, Role, settings_of
from chatsvc.log.base import Appended, MessageLog
from chatsvc.log.deciding import Decision
from chatsvc.log.guards import Guard
from chatsvc.log.merging import Merged, Merging
from chatsvc.log.state import LogState

MAX_ROWS_LOOKED_AT: Final = 2000
"""How many memberships a page looks at, those that have ended included."""


class MemberEntry(NamedTuple):
    """A membership: ``joined`` is the id of the record that began it."""

    user: str
    role: Role
    joined: int


class EntryPage(NamedTuple):
    """Members; ``after`` is the place to go on from, ``None`` where these are the last."""

    members: Sequence[MemberEntry]
    after: tuple[int, str] | None


class Addition(NamedTuple):
    """A request that a user becomes a member."""

    actor: str
    user: str


class GroupMembers:
    """Decides on memberships of groups.

    Every method raises :class:`~chatsvc.core.errors.Forbidden` where the caller is not a member,
    :class:`~chatsvc.core.errors.Busy` where others change the same all the time, and
    :class:`~chatsvc.core.errors.LogUnavailable`.

    Args:
        log: where what is decided goes, and whose state is decided by.
        merging: decides additions that wait together.
        limits: the bounds of groups.
    """

    def __init__(self, *, log: MessageLog, merging: Merging, limits: Limits) -> None:
        self._log = log
        self._merging = merging
        self._limits = limits

    @property
    def _state(self) -> LogState:
        return self._log.state

    def page(self, channel: str, user: str, after: tuple[int, str], limit: int) -> EntryPage:
        """Return members in the order in which they joined, above a place.

        It looks at no more than :data:`MAX_ROWS_LOOKED_AT` rows: of a group that many have left it
        may have fewer than ``limit``.
        """
        view = view_of(self._state, channel, user)
        found: list[MemberEntry] = []
        looked_at, place = 0, after
        while True:
            page = self._state.members_page(channel, place, limit - len(found))
            found += [
                MemberEntry(one.user, view.settings.role_of(one.user), one.joined)
                for one in page.members
            ]
            looked_at += limit
            if page.after is None or len(found) == limit or looked_at >= MAX_ROWS_LOOKED_AT:
                return EntryPage(found, page.after)
            place = page.after

    async def put(self, channel: str, actor: str, user: str, role: Role | None) -> MemberEntry:
        """Let a user be a member, with a role if one is given.

        Raises:
            Forbidden: the caller's role does not permit it.
            Conflict: the group is full, the user is in too many, or the last admin would go.
            Invalid: at ``/role``: too many have it.
        """
        begins = present_member(self._state, channel, user) is None and role is Role.MEMBER
        if role is not None and not begins:
            return await self._set_role(channel, actor, user, role)
        joins = actor == user

        def add_all(additions: Sequence[Addition]) -> Merged[MemberEntry]:
            return self._add_all(channel, additions)

        sort = "join" if joins else f"add {actor}"
        addition = Addition(actor, user)
        done = await self._merging.decide(roster_key(channel), sort, addition, add_all)
        return self._entry(done, channel, user, Role.MEMBER)

    def _add_all(self, channel: str, additions: Sequence[Addition]) -> Merged[MemberEntry]:
        as_of, state = self._log.tail.head, self._state
        new: dict[str, None] = {}
        actors: dict[str, None] = {}
        rows: list[Member] = []
        answers: list[MemberEntry | Exception | None] = []
        for one in additions:
            try:
                answer = self._decide_addition(channel, one, new, rows)
            except (Forbidden, Conflict, Busy) as exc:
                answers.append(exc)
                continue
            answers.append(answer)
            if answer is None:
                new[one.user] = None
                actors[one.actor] = None
        if not new:
            return Merged(None, answers)
        known = state.channel(channel)
        assert known is not None  # or there would have been no addition
        settings, joins = settings_of(known), actors == new
        # Several who join are one record, of nobody in particular.
        actor = next(iter(actors)) if len(actors) == 1 else channel
        named = {*new, *actors, *settings.admins}
        draft = draft_membership(
            MembershipChange.JOINED if joins else MembershipChange.ADDED,
            channel=channel,
            sender=actor,
            users=list(new),
            members=rows,
            audience=tuple(sorted(named)) if known.count > LARGE else (),
            role=Role.MEMBER,
        )
        keys = beginning_keys(channel, new)
        guarded = (*keys, settings_key(channel), *(member_key(channel, one) for one in actors))
        return Merged(_decision(draft, keys, Guard(as_of, guarded)), answers)

    def _decide_addition(
        self, channel: str, addition: Addition, added: Collection[str], rows: list[Member]
    ) -> MemberEntry | None:
        """Return the membership that there is already, or ``None`` where one may begin.

        Args:
            added: whose memberships begin by the requests before this one.
            rows: those of them, to which the user's are added.
        """
        known = self._state.channel(channel)
        if known is None or known.dissolved:
            raise not_a_member()
        settings = settings_of(known)
        member = self._state.member(channel, addition.user)
        if addition.actor != addition.user:
            view_of(self._state, channel, addition.actor).check_moderator()
        elif settings.join is not JoinPolicy.OPEN and not may_come(member):
            raise not_a_member()
        if member is not None and member.is_present:
            return MemberEntry(addition.user, settings.role_of(addition.user), member.joined)
        check_not_banned(member)
        if addition.user in added:
            return None  # asked for twice: it takes one place
        if known.count + len(added) >= self._limits.group_members:
            raise group_full(self._limits)
        check_group_count(self._state, addition.user, self._limits)
        add_rows(rows, member, addition.user, settings)
        return None

    async def _set_role(self, channel: str, actor: str, user: str, role: Role) -> MemberEntry:
        def decide() -> Decision | MemberEntry:
            as_of = self._log.tail.head
            view = view_of(self._state, channel, actor)
            member = present_member(self._state, channel, user)
            if member is not None and view.settings.role_of(user) is role:
                return MemberEntry(user, role, member.joined)
            if member is None and role is Role.MEMBER:
                view.check_moderator()
            elif actor != user or role is not Role.MEMBER:  # everybody may step down
                view.check_admin()
            if view.settings.admins == (user,):
                raise Conflict("a group must have an admin", code="last_admin")
            keys: tuple[str, ...] = (roster_key(channel), member_key(channel, user))
            if member is None:
                keys = beginning_keys(channel, [user])
            guard = Guard(as_of, (*keys, settings_key(channel), member_key(channel, actor)))
            return _decision(self._role_draft(view, member, user, role), keys, guard)

        done = await self._merging.deciding.decide_again(decide)
        return self._entry(done, channel, user, role)

    def _role_draft(self, view: GroupView, member: Member | None, user: str, role: Role) -> Draft:
        settings = view.settings.with_role(user, role)
        if member is None:
            check_not_banned(self._state.member(view.channel, user))
            if view.member_count >= self._limits.group_members:
                raise group_full(self._limits)
            check_group_count(self._state, user, self._limits)
            known = self._state.member(view.channel, user)
            change = MembershipChange.ADDED
            rows = rows_of_new(known, user, role, settings.history)
        else:
            change, rows = MembershipChange.ROLE, [msgspec.structs.replace(member, role=role)]
        return draft_membership(
            change,
            channel=view.channel,
            sender=view.me.user,
            users=[user],
            members=rows,
            audience=view.audience([user]),
            settings=settings,
            role=role,
        )

    def _entry(
        self, done: list[Appended] | MemberEntry, channel: str, user: str, role: Role
    ) -> MemberEntry:
        if isinstance(done, MemberEntry):
            return done
        member = present_member(self._state, channel, user)  # it may be gone again already
        return MemberEntry(user, role, member.joined if member is not None else done[0].id)

    async def remove(self, channel: str, actor: str, user: str) -> int:
        """End a membership; return the id of the record that ended it, 0 if it is not known.

        Raises:
            Forbidden: the caller's role does not permit it.
        """

        def decide() -> Decision | int:
            as_of = self._log.tail.head
            member = self._state.member(channel, user)
            if actor == user and member is not None and member.left:
                return member.left
            view = view_of(self._state, channel, actor)
            if actor == user:
                return self._leave(view, as_of)
            view.check_moderator()
            if member is None or not member.is_present:
                return member.left if member is not None else 0
            if view.settings.role_of(user) is not Role.MEMBER:
                view.check_admin()
            return self._remove(view, member, as_of)

        done = await self._merging.deciding.decide_again(decide)
        return done if isinstance(done, int) else done[0].id

    def _remove(self, view: GroupView, member: Member, as_of: int) -> Decision:
        channel, user = view.channel, member.user
        leads = view.settings.role_of(user) is not Role.MEMBER
        draft = draft_membership(
            MembershipChange.REMOVED,
            channel=channel,
            sender=view.me.user,
            users=[user],
            members=[_ended(member)],
            audience=view.audience([user]),
            settings=view.settings.with_role(user, Role.MEMBER) if leads else None,
        )
        keys = (roster_key(channel), member_key(channel, user))
        # By the settings: that the group goes on.
        guarded = [member_key(channel, user), member_key(channel, view.me.user)]
        guarded.append(settings_key(channel))
        if leads:
            guarded.append(roster_key(channel))
        return _decision(draft, keys, Guard(as_of, tuple(guarded)))

    def _leave(self, view: GroupView, as_of: int) -> Decision:
        channel, me = view.channel, view.me
        rows, promoted = [_ended(me)], successor(self._state, view)
        own = member_key(channel, me.user)
        keys, guarded, settings = [roster_key(channel), own], [own, settings_key(channel)], None
        if view.role is not Role.MEMBER:
            # What it depends on is who else leads the group.
            guarded.append(roster_key(channel))
            settings = view.settings.with_role(me.user, Role.MEMBER)
        if promoted is not None and settings is not None:
            settings = settings.with_role(promoted.user, Role.ADMIN)
            rows.append(msgspec.structs.replace(promoted, role=Role.ADMIN))
            keys.append(member_key(channel, promoted.user))
            guarded.append(member_key(channel, promoted.user))
        # Of nobody: it ends, or whoever joined next would be without an admin.
        ends = promoted is None and view.settings.admins == (me.user,)
        if ends:
            keys.append(settings_key(channel))
        draft = draft_membership(
            MembershipChange.LEFT,
            channel=channel,
            sender=me.user,
            users=[me.user],
            members=rows,
            audience=view.audience([me.user, *(row.user for row in rows)]),
            settings=settings,
            promoted=promoted.user if promoted is not None else "",
            dissolved=ends,
        )
        return _decision(draft, tuple(keys), Guard(as_of, tuple(guarded)))


def _ended(member: Member) -> Member:
    return msgspec.structs.replace(member, left=THIS_RECORD, role=Role.MEMBER)


def _decision(draft: Draft, touches: tuple[str, ...], guard: Guard) -> Decision:
    return Decision([msgspec.structs.replace(draft, touches=touches)], guard)
