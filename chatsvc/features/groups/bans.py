"""Bans: whose membership is ended, who cannot become a member, and reads no message any more.

A ban stands in the row of the membership, or in a row without one. A membership that has ended
shows its user what was sent while it lasted; those of who is banned are cut to their beginning, and
stay so after the ban: whoever joins again reads what the new membership shows. So the record of a
ban names whom it is for, the user among them, whose membership does not hold it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from chatsvc.core.errors import Conflict, Forbidden, Invalid, StoreUnavailable
from chatsvc.core.ids import now_ms
from chatsvc.core.membership import (
    MAX_ROWS,
    THIS_RECORD,
    Interval,
    Member,
    member_key,
    roster_key,
    settings_key,
)
from chatsvc.features.groups.records import MembershipChange, draft_membership
from chatsvc.features.groups.roster import LARGE, GroupView, view_of
from chatsvc.features.groups.settings import Role
from chatsvc.log.base import MessageLog
from chatsvc.log.deciding import Deciding, Decision
from chatsvc.log.guards import Guard
from chatsvc.storage.history.memberships import Memberships

MAX_SECONDS: Final = 10 * 366 * 24 * 3600
FOR_GOOD: Final = 253_402_300_799_000
"""Unix ms of the end of a ban that has none: the end of the year 9999."""


def check_not_banned(member: Member | None) -> None:
    """Check that a user may become a member.

    Raises:
        Forbidden: the user is banned.
    """
    if member is not None and member.banned_until > now_ms():
        raise Forbidden("a member must not be banned from the group", code="banned")


class GroupBans:
    """Bans users from groups, and lets them in again.

    Every method raises :class:`~chatsvc.core.errors.Forbidden` where the caller's role does not
    permit it, :class:`~chatsvc.core.errors.Busy` and :class:`~chatsvc.core.errors.LogUnavailable`.

    Args:
        log: where what is decided goes, and whose state is decided by.
        deciding: makes decisions against that state.
        memberships: asked for those that the log has let go of.
    """

    def __init__(self, *, log: MessageLog, deciding: Deciding, memberships: Memberships) -> None:
        self._log = log
        self._deciding = deciding
        self._memberships = memberships

    async def ban(self, channel: str, actor: str, user: str, seconds: int | None) -> int:
        """Ban a user for a time, or for good; return the Unix ms at which the ban ends.

        Raises:
            Invalid: a bound is exceeded.
            Conflict: the caller would be banned.
            StoreUnavailable: earlier memberships cannot be read now.
        """
        _check_seconds(seconds)
        if actor == user:
            raise Conflict("you must not ban yourself: leave the group", code="cannot_ban_self")
        until = FOR_GOOD if seconds is None else now_ms() + seconds * 1000
        view_of(self._log.state, channel, actor).check_moderator()  # before anything is read
        past = await self._past_of(user, channel)

        def decide() -> Decision | int:
            state = self._log.state
            view = view_of(state, channel, actor)
            view.check_moderator()
            if view.settings.role_of(user) is not Role.MEMBER:
                view.check_admin()
            member = state.member(channel, user)
            if member is not None and member.banned_until == until and not member.is_present:
                return until
            rows = _banned_rows(user, member, past, until)
            was_member = member is not None and member.is_present
            audience = self._members(view, user) if was_member else view.leaders()
            return self._change(view, MembershipChange.BANNED, user, rows, audience)

        await self._deciding.decide_again(decide)
        return until

    async def _past_of(self, user: str, channel: str) -> Sequence[Interval]:
        found = await self._memberships.intervals_in(user, channel)
        if found.unknown is not None:
            raise StoreUnavailable("the memberships of the user cannot be read now")
        return found.known

    async def unban(self, channel: str, actor: str, user: str) -> None:
        """Let a user become a member again; who is not banned may already."""

        def decide() -> Decision | None:
            state = self._log.state
            view = view_of(state, channel, actor)
            view.check_moderator()
            member = state.member(channel, user)
            if member is None or not member.banned_until:
                return None
            # Of who never was a member, a row without the ban says nothing: it may go.
            left = member.left or (THIS_RECORD if not member.joined else 0)
            row = msgspec.structs.replace(member, left=left, banned_until=0)
            return self._change(view, MembershipChange.UNBANNED, user, [row], view.leaders())

        await self._deciding.decide_again(decide)

    def _members(self, view: GroupView, user: str) -> tuple[str, ...]:
        """Whom the ban of a member is for: everybody, or those whom a large group tells."""
        named = view.audience([user])
        if named:
            return named
        after: tuple[int, str] | None = (0, "")
        found: set[str] = set()
        while after is not None:
            page = self._log.state.members_page(view.channel, after, LARGE)
            found.update(one.user for one in page.members)
            after = page.after
        return tuple(sorted(found))

    def _change(
        self,
        view: GroupView,
        change: MembershipChange,
        user: str,
        rows: Sequence[Member],
        audience: tuple[str, ...],
    ) -> Decision:
        channel, settings, as_of = view.channel, view.settings, self._log.tail.head
        leads = settings.role_of(user) is not Role.MEMBER
        draft = draft_membership(
            change,
            channel=channel,
            sender=view.me.user,
            users=[user],
            members=rows,
            audience=audience,
            settings=settings.with_role(user, Role.MEMBER) if leads else None,
        )
        keys = (roster_key(channel), member_key(channel, user))
        guarded = [member_key(channel, user), member_key(channel, view.me.user)]
        guarded.append(settings_key(channel))
        if leads:
            guarded.append(roster_key(channel))
        return Decision(
            [msgspec.structs.replace(draft, touches=keys)], Guard(as_of, tuple(guarded))
        )


def _banned_rows(
    user: str, member: Member | None, past: Sequence[Interval], until: int
) -> list[Member]:
    """Return the rows of a user who is banned, the newest of them with the ban."""
    newest = member or Member(user, 0)
    earlier = [one.first for one in past if one.first != newest.joined and one.last > one.first]
    rows = [Member(user, first, first, visible_from=first) for first in earlier]
    joined = newest.joined
    rows.append(Member(user, joined, joined, visible_from=joined, banned_until=until))
    return rows[-MAX_ROWS:]


def _check_seconds(seconds: int | None) -> None:
    if seconds is not None and seconds < 1:
        raise Invalid.at("/expires_in", "too_small", "expires_in must be at least 1", 1)
    if seconds is not None and seconds > MAX_SECONDS:
        detail = f"expires_in must be at most {MAX_SECONDS}"
        raise Invalid.at("/expires_in", "too_large", detail, MAX_SECONDS)
