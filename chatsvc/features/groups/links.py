"""Invite links of groups: whoever has the code of one becomes a member.

The links stand in the group's settings, at most :data:`MAX_LINKS`. A code is the group's id and a
secret of 128 bits; a link has an end, a number of uses, or neither, and is revoked by deleting it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from chatsvc.core.errors import Busy, Conflict, FieldError, Forbidden, Invalid, NotFound
from chatsvc.core.ids import now_ms
from chatsvc.core.limits import Limits
from chatsvc.core.membership import GROUP_PREFIX, Member, member_key, roster_key, settings_key
from chatsvc.core.state_rows import ChannelRow
from chatsvc.features.groups.bans import check_not_banned
from chatsvc.features.groups.records import (
    GroupChange,
    MembershipChange,
    draft_group,
    draft_membership,
)
from chatsvc.features.groups.roster import (
    LARGE,
    add_rows,
    beginning_keys,
    check_group_count,
    group_full,
    present_member,
    view_of,
)
from chatsvc.features.groups.settings import GroupSettings, InviteLink, Role, settings_of
from chatsvc.log.base import MessageLog
from chatsvc.log.deciding import Decision
from chatsvc.log.guards import Guard
from chatsvc.log.merging import Merged, Merging

MAX_LINKS: Final = 10
"""The maximum number of links of a group."""
MAX_USES: Final = 1_000_000
MAX_SECONDS: Final = 366 * 24 * 3600

_SECRET_BYTES: Final = 16
_Change = Callable[[GroupSettings], GroupSettings]
_CODE: Final = re.compile(r"([0-9a-f]{32})([0-9a-f]{32})\Z")


class Terms(NamedTuple):
    """What a link is to be like; ``None``: no end, any number of uses."""

    seconds: int | None = None
    uses: int | None = None

    def check(self) -> None:
        """Check the bounds.

        Raises:
            Invalid: at ``/expires_in`` or ``/max_uses``.
        """
        _check_bound("expires_in", self.seconds, MAX_SECONDS)
        _check_bound("max_uses", self.uses, MAX_USES)


def _check_bound(name: str, value: int | None, maximum: int) -> None:
    if value is not None and value < 1:
        raise Invalid.at(f"/{name}", "too_small", f"{name} must be at least 1", 1)
    if value is not None and value > maximum:
        raise Invalid.at(f"/{name}", "too_large", f"{name} must be at most {maximum}", maximum)


def code_of(channel: str, link: InviteLink) -> str:
    """Return the code of a link."""
    return channel.removeprefix(GROUP_PREFIX) + link.secret


def link_in(settings: GroupSettings, secret: str) -> InviteLink | None:
    """Return the link with a secret, if it can be used now."""
    for link in settings.links:
        if secrets.compare_digest(link.secret, secret):
            return link if link.is_good(now_ms()) else None
    return None


class GroupLinks:
    """Creates, lists, revokes and uses links.

    Every method raises :class:`~chatsvc.core.errors.Busy` where others change the same all the
    time, and :class:`~chatsvc.core.errors.LogUnavailable`; those but :meth:`join` raise
    :class:`~chatsvc.core.errors.Forbidden` where the caller is no admin or moderator of the group.

    Args:
        log: where what is decided goes, and whose state is decided by.
        merging: decides joins that wait together.
        limits: the bounds of groups.
    """

    def __init__(self, *, log: MessageLog, merging: Merging, limits: Limits) -> None:
        self._log = log
        self._merging = merging
        self._limits = limits

    async def create(self, channel: str, user: str, terms: Terms) -> InviteLink:
        """Create a link.

        Raises:
            Invalid: a bound is exceeded.
            Conflict: the group has as many as may be.
        """
        terms.check()
        ends = 0 if terms.seconds is None else now_ms() + terms.seconds * 1000
        uses = -1 if terms.uses is None else terms.uses
        link = InviteLink(secrets.token_hex(_SECRET_BYTES), user, ends, uses)

        def changed(settings: GroupSettings) -> GroupSettings:
            kept = tuple(one for one in settings.links if one.is_good(now_ms()))
            if len(kept) >= MAX_LINKS:
                detail = f"a group must have at most {MAX_LINKS} links: revoke one first"
                raise Conflict(detail, code="too_many_links")
            return msgspec.structs.replace(settings, links=(*kept, link))

        await self._change(channel, user, changed)
        return link

    def listed(self, channel: str, user: str) -> list[InviteLink]:
        """Return the links that can be used, the oldest first."""
        view = view_of(self._log.state, channel, user)
        view.check_moderator()
        return [one for one in view.settings.links if one.is_good(now_ms())]

    async def revoke(self, channel: str, user: str, code: str) -> None:
        """Delete a link; one that is not there is deleted already."""
        found = _CODE.match(code)
        secret = found[2] if found and GROUP_PREFIX + found[1] == channel else ""

        def changed(settings: GroupSettings) -> GroupSettings:
            left = tuple(one for one in settings.links if one.secret != secret)
            return msgspec.structs.replace(settings, links=left)

        await self._change(channel, user, changed)

    async def _change(self, channel: str, user: str, changed: _Change) -> None:
        def decide() -> Decision | None:
            as_of = self._log.tail.head
            view = view_of(self._log.state, channel, user)
            view.check_moderator()
            settings = changed(view.settings)
            if settings == view.settings:
                return None
            draft = draft_group(
                GroupChange.LINKS,
                channel=channel,
                sender=user,
                settings=settings,
                audience=view.leaders(),
            )
            # As other changes of the settings that no send goes by.
            keys = (roster_key(channel),)
            guarded = (*keys, settings_key(channel), member_key(channel, user))
            return Decision([msgspec.structs.replace(draft, touches=keys)], Guard(as_of, guarded))

        await self._merging.deciding.decide_again(decide)

    async def join(self, user: str, code: str) -> str:
        """Become a member by a link; return the group's channel.

        Raises:
            NotFound: there is no such link, or it cannot be used any more.
            Conflict: the group is full, or the user is in too many.
        """
        found = _CODE.match(code)
        if not found:
            raise no_such_link()
        channel, secret = GROUP_PREFIX + found[1], found[2]

        def join_all(users: Sequence[str]) -> Merged[str]:
            return self._join_all(channel, secret, users)

        await self._merging.decide(roster_key(channel), f"link {secret}", user, join_all)
        return channel

    def _join_all(self, channel: str, secret: str, users: Sequence[str]) -> Merged[str]:
        as_of, state = self._log.tail.head, self._log.state
        row = state.channel_row(channel)
        if row is None or row.state.dissolved:
            raise no_such_link()
        known, settings = row.state, settings_of(row.state)
        link = link_in(settings, secret)
        new: dict[str, None] = {}
        rows: list[Member] = []
        answers: list[str | Exception | None] = []
        for user in users:
            try:
                if present_member(state, channel, user) is not None:
                    answers.append(channel)
                    continue
                if user not in new:
                    self._check(row, link, user, len(new))
                    add_rows(rows, state.member(channel, user), user, settings)
            except (Busy, Conflict, Forbidden, NotFound) as exc:
                answers.append(exc)
            else:
                answers.append(None)
                new[user] = None
        if not new or link is None:
            return Merged(None, answers)
        draft = draft_membership(
            MembershipChange.JOINED,
            channel=channel,
            sender=next(iter(new)) if len(new) == 1 else channel,
            users=list(new),
            members=rows,
            audience=tuple(sorted({*new, *settings.admins})) if known.count > LARGE else (),
            settings=settings.with_link_used(link, len(new)) if link.uses_left > 0 else None,
            role=Role.MEMBER,
        )
        keys = beginning_keys(channel, new)
        guard = Guard(as_of, (*keys, settings_key(channel)))
        decision = Decision([msgspec.structs.replace(draft, touches=keys)], guard)
        return Merged(decision, answers)

    def _check(self, channel: ChannelRow, link: InviteLink | None, user: str, added: int) -> None:
        """Check that a user may join by a link after so many of one record."""
        if link is None or 0 <= link.uses_left <= added:
            raise no_such_link()
        if channel.state.count + added >= self._limits.group_members:
            raise group_full(self._limits, "/code")
        check_not_banned(self._log.state.member(channel.channel, user))
        check_group_count(self._log.state, user, self._limits, None)


def no_such_link() -> NotFound:
    """Return the one answer about codes that cannot be used: unknown, ended, used up, revoked."""
    code, detail = "no_such_link", "the code must be that of a link that can be used"
    return NotFound(detail, code=code, field_errors=(FieldError("/code", code, detail),))
