"""A group as the log's state has it, for one of its members, and what that member may do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from chatsvc.core.errors import Conflict, FieldError, Forbidden
from chatsvc.core.ids import MAX_ID
from chatsvc.core.limits import Limits
from chatsvc.core.membership import (
    GROUP_PREFIX,
    MAX_ROWS,
    THIS_RECORD,
    Member,
    groups_key,
    member_key,
    roster_key,
)
from chatsvc.features.groups.records import new_member
from chatsvc.features.groups.settings import (
    INVITED,
    GroupSettings,
    HistoryPolicy,
    Role,
    settings_of,
)
from chatsvc.log.state import LogState
from chatsvc.log.turns import busy

LARGE: Final = 100
"""In a group with more members a change of membership is for those it names and the admins."""
SENIORITY_ROWS: Final = 100
"""How many memberships are looked at in one step, for the senior member."""


class GroupView(NamedTuple):
    """A group, and the membership of the user who asks.

    ``rev`` is the id of the record that changed the group last.
    """

    channel: str
    member_count: int
    rev: int
    settings: GroupSettings
    me: Member

    @property
    def role(self) -> Role:
        """The user's role."""
        return self.settings.role_of(self.me.user)

    def check_admin(self) -> None:
        """Check that the user is an admin.

        Raises:
            Forbidden: it is not so.
        """
        if self.role is not Role.ADMIN:
            raise forbidden("not_an_admin", "you must be an admin of the group")

    def check_moderator(self) -> None:
        """Check that the user is an admin or a moderator.

        Raises:
            Forbidden: it is not so.
        """
        if self.role is Role.MEMBER:
            detail = "you must be an admin or a moderator of the group"
            raise forbidden("not_a_moderator", detail)

    def leaders(self) -> tuple[str, ...]:
        """Return the admins and moderators, sorted."""
        return leaders_of(self.settings)

    def audience(self, users: Iterable[str]) -> tuple[str, ...]:
        """Whom a change of these users' memberships is for: empty for all members."""
        if self.member_count <= LARGE:
            return ()
        named = {*users, self.me.user, *self.settings.admins}
        return tuple(sorted(named))


def view_of(state: LogState, channel: str, user: str) -> GroupView:
    """Return a group for one of its members.

    Raises:
        Forbidden: the user is not a member, or there is no such group.
        LogUnavailable: the state cannot be read now.
    """
    found, me = state.channel_row(channel), state.member(channel, user)
    if found is None or found.state.dissolved or me is None or not me.is_present:
        raise not_a_member()
    return GroupView(channel, found.state.count, found.rev, settings_of(found.state), me)


def leaders_of(settings: GroupSettings) -> tuple[str, ...]:
    """Return the admins and moderators, sorted."""
    return tuple(sorted({*settings.admins, *settings.moderators}))


def is_invited(member: Member | None) -> bool:
    """Whether a user is invited, and no member."""
    return member is not None and member.role == INVITED and not member.is_present


def may_come(member: Member | None) -> bool:
    """Whether a user is a member, or may become one of a group that is not open."""
    return member is not None and (member.is_present or is_invited(member))


def rows_of_new(
    member: Member | None, user: str, role: Role, history: HistoryPolicy
) -> list[Member]:
    """Return the row of a membership that begins, and that of an invitation that ends by it.

    Args:
        member: the newest row of the user, which is no membership that goes on.
    """
    rows = [new_member(user, role, history)]
    if member is not None and is_invited(member):
        rows.append(without_invitation(member))
    return rows


def add_rows(rows: list[Member], member: Member | None, user: str, settings: GroupSettings) -> None:
    """Add the rows of one more who becomes a member to those of one record.

    Raises:
        Busy: there is no room for them: the user gets the next record.
    """
    more = rows_of_new(member, user, Role.MEMBER, settings.history)
    if len(rows) + len(more) > MAX_ROWS:
        raise busy()
    rows += more


def without_invitation(member: Member) -> Member:
    """Return the row of who was invited, which says nothing any more: it may go."""
    return msgspec.structs.replace(member, role=Role.MEMBER, left=member.left or THIS_RECORD)


def present_member(state: LogState, channel: str, user: str) -> Member | None:
    """Return the membership of a user that goes on; ``None`` where there is none."""
    member = state.member(channel, user)
    return member if member is not None and member.is_present else None


def successor(state: LogState, view: GroupView) -> Member | None:
    """Return who becomes an admin when the user leaves: the senior moderator, or member.

    ``None`` where nobody has to: another admin stays, or nobody does.
    """
    if view.settings.admins != (view.me.user,):
        return None
    for user in view.settings.moderators:
        member = present_member(state, view.channel, user)
        if member is not None:
            return member
    after: tuple[int, str] | None = (0, "")
    while after is not None:
        page = state.members_page(view.channel, after, SENIORITY_ROWS)
        for member in page.members:
            if member.user != view.me.user:
                return member
        after = page.after
    return None


def groups_of(state: LogState, user: str) -> list[str]:
    """Return the channels of the groups that a user is a member of.

    Raises:
        LogUnavailable: they cannot be told now.
    """
    return [
        interval.channel
        for interval in state.intervals(user)
        if interval.last == MAX_ID and interval.channel.startswith(GROUP_PREFIX)
    ]


def beginning_keys(channel: str, users: Iterable[str]) -> tuple[str, ...]:
    """Return the keys that a record touches which begins the memberships of users.

    Who decides so goes by all of them: they have no other, and are in so many groups.
    """
    own = (key for user in users for key in (member_key(channel, user), groups_key(user)))
    return (roster_key(channel), *own)


def check_group_count(
    state: LogState, user: str, limits: Limits, pointer: str | None = "/user"
) -> None:
    """Check that a user may become a member of one more group.

    Args:
        pointer: the field that names the user; ``None``: it is the caller.

    Raises:
        Conflict: the user is in as many as may be.
    """
    maximum = limits.groups_per_user
    if len(groups_of(state, user)) >= maximum:
        code, detail = "too_many_groups", f"a user must be in at most {maximum} groups"
        errors = () if pointer is None else (FieldError(pointer, code, detail, maximum),)
        raise Conflict(detail, code=code, field_errors=errors)


def group_full(limits: Limits, pointer: str = "/user") -> Conflict:
    """Return the error of who would be one member too many."""
    code, maximum = "group_full", limits.group_members
    detail = f"a group must have at most {maximum} members"
    return Conflict(detail, code=code, field_errors=(FieldError(pointer, code, detail, maximum),))


def not_a_member() -> Forbidden:
    """Return the one answer about groups of others, which may exist or not."""
    code, detail = "not_a_member", "you must be a member of the group"
    return Forbidden(detail, code=code, field_errors=(FieldError("/id", code, detail),))


def forbidden(code: str, detail: str) -> Forbidden:
    """Return the error of a member without the role for it."""
    return Forbidden(detail, code=code)
