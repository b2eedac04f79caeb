"""Invitations: who may join a group that is not open, and is asked whether to.

An invitation stands in the row of a membership that has ended or never was one, as its role. The
user is told by a record in the channel of their own, which is appended with that of the group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from chatsvc.core.errors import Conflict
from chatsvc.core.membership import Member, member_key, settings_key
from chatsvc.core.record import Draft
from chatsvc.features.groups.bans import check_not_banned
from chatsvc.features.groups.records import (
    InvitationChange,
    MembershipChange,
    draft_invitation,
    draft_membership,
)
from chatsvc.features.groups.roster import (
    is_invited,
    leaders_of,
    not_a_member,
    view_of,
    without_invitation,
)
from chatsvc.features.groups.settings import INVITED, GroupSettings, settings_of
from chatsvc.log.base import MessageLog
from chatsvc.log.deciding import Deciding, Decision
from chatsvc.log.guards import Guard

MAX_INVITATIONS: Final = 100
"""How many invitations a user may have that are not answered."""


class Invitation(NamedTuple):
    """A group that a user is invited to."""

    channel: str
    settings: GroupSettings


class GroupInvitations:
    """Invites users to groups, takes that back, and lets them decline.

    Every method but :meth:`listed` raises :class:`~chatsvc.core.errors.Busy` where others change
    the same all the time; all raise :class:`~chatsvc.core.errors.LogUnavailable`.

    Args:
        log: where what is decided goes, and whose state is decided by.
        deciding: makes decisions against that state.
    """

    def __init__(self, *, log: MessageLog, deciding: Deciding) -> None:
        self._log = log
        self._deciding = deciding

    def listed(self, user: str) -> list[Invitation]:
        """Return the groups that a user is invited to, by channel."""
        state = self._log.state
        found: list[Invitation] = []
        for channel, member, _ in state.memberships(user):
            known = state.channel(channel) if is_invited(member) else None
            if known is not None and not known.dissolved:
                found.append(Invitation(channel, settings_of(known)))
        return found

    async def invite(self, channel: str, actor: str, user: str) -> None:
        """Invite a user; who is a member, or invited, stays so.

        Raises:
            Forbidden: the caller is no admin or moderator of the group, or the user is banned.
            Conflict: the user has as many invitations as may be.
        """

        def decide() -> Decision | None:
            as_of, state = self._log.tail.head, self._log.state
            view = view_of(state, channel, actor)
            view.check_moderator()
            member = state.member(channel, user)
            if member is not None and (member.is_present or is_invited(member)):
                return None
            check_not_banned(member)
            self._check_count(user)
            row = msgspec.structs.replace(member or Member(user, 0), role=INVITED)
            return self._change(
                (channel, actor, user), row, view.leaders(), view.settings, as_of, "invited"
            )

        await self._deciding.decide_again(decide)

    def _check_count(self, user: str) -> None:
        if len(self.listed(user)) >= MAX_INVITATIONS:
            raise Conflict(
                f"a user must have at most {MAX_INVITATIONS} invitations",
                code="too_many_invitations",
            )

    async def end(self, channel: str, actor: str, user: str) -> None:
        """Decline an invitation, or take it back; one that is not there is ended already.

        Raises:
            Forbidden: of another's invitation: the caller is no admin or moderator.
        """

        def decide() -> Decision | None:
            as_of, state = self._log.tail.head, self._log.state
            known, member = state.channel(channel), state.member(channel, user)
            if actor != user:
                view_of(state, channel, actor).check_moderator()
            elif known is None or member is None:
                raise not_a_member()
            if known is None or member is None or not is_invited(member):
                return None
            settings = settings_of(known)
            return self._change(
                (channel, actor, user),
                without_invitation(member),
                leaders_of(settings),
                settings,
                as_of,
                "declined" if actor == user else "withdrawn",
            )

        await self._deciding.decide_again(decide)

    def _change(
        self,
        of: tuple[str, str, str],
        row: Member,
        audience: tuple[str, ...],
        settings: GroupSettings,
        as_of: int,
        change: str,
    ) -> Decision:
        channel, actor, user = of
        keys = (member_key(channel, user),)
        draft = draft_membership(
            MembershipChange(change),
            channel=channel,
            sender=actor,
            users=[user],
            members=[row],
            audience=audience,
        )
        personal = draft_invitation(
            InvitationChange(change), channel=channel, sender=actor, user=user, settings=settings
        )
        guarded = (*keys, member_key(channel, actor), settings_key(channel))
        drafts: Sequence[Draft] = [msgspec.structs.replace(draft, touches=keys), personal]
        return Decision(drafts, Guard(as_of, guarded))
