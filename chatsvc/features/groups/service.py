"""Create groups, read them, change what they are like, and delete them."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from chatsvc.core.errors import Invalid
from chatsvc.core.limits import Limits
from chatsvc.core.membership import (
    GROUP_PREFIX,
    MAX_ROWS,
    Member,
    member_key,
    roster_key,
    settings_key,
)
from chatsvc.core.message import check_client_id
from chatsvc.core.participants import user_id_error
from chatsvc.core.record import Draft
from chatsvc.features.groups.records import GroupChange, draft_group, new_member
from chatsvc.features.groups.roster import (
    GroupView,
    beginning_keys,
    check_group_count,
    group_full,
    groups_of,
    not_a_member,
    view_of,
)
from chatsvc.features.groups.settings import (
    GroupSettings,
    HistoryPolicy,
    JoinPolicy,
    Role,
    check_avatar,
    check_name,
)
from chatsvc.log.base import MessageLog
from chatsvc.log.deciding import Deciding, Decision
from chatsvc.log.guards import Guard
from chatsvc.storage.history.repeats import Repeats

_ID_BYTES: Final = 16
_ID: Final = re.compile(r"[0-9a-f]{32}\Z")


class GroupPage(NamedTuple):
    """Groups of a user, in the order of their ids; ``has_more``: there are others above."""

    groups: Sequence[GroupView]
    has_more: bool


class GroupPatch(NamedTuple):
    """What is to be changed of a group; ``None``: nothing."""

    name: str | None = None
    avatar: str | None = None
    history: HistoryPolicy | None = None
    join: JoinPolicy | None = None

    def applied_to(self, settings: GroupSettings) -> GroupSettings:
        """Return the settings as they are afterwards."""
        given = {name: value for name, value in self._asdict().items() if value is not None}
        return msgspec.structs.replace(settings, **given)

    def check(self) -> None:
        """Check what is given.

        Raises:
            Invalid: at its field.
        """
        if self.name is not None:
            check_name(self.name)
        if self.avatar is not None:
            check_avatar(self.avatar)


class Created(NamedTuple):
    """A group that was created; ``is_repeat``: by an earlier request with its ``client_id``."""

    group: GroupView
    is_repeat: bool


def channel_of(group_id: str) -> str:
    """Return the channel of a group's id.

    Raises:
        Forbidden: it is no such id: there is no such group.
    """
    if not _ID.match(group_id):
        raise not_a_member()
    return GROUP_PREFIX + group_id


def id_of(channel: str) -> str:
    """Return the id of the group of a channel."""
    return channel.removeprefix(GROUP_PREFIX)


class GroupService:
    """Groups as a whole.

    Args:
        log: where what is decided goes, and whose state is read.
        deciding: makes decisions against that state.
        repeats: finds what a ``client_id`` was used for.
        limits: the bounds of groups.
    """

    def __init__(
        self, *, log: MessageLog, deciding: Deciding, repeats: Repeats, limits: Limits
    ) -> None:
        self._log = log
        self._deciding = deciding
        self._repeats = repeats
        self._limits = limits

    async def create(
        self, user: str, settings: GroupSettings, users: Sequence[str], client_id: str | None
    ) -> Created:
        """Create a group, whose first admin is the caller.

        Args:
            settings: without leaders.
            users: the other members.
            client_id: recognizes a retry, for which the same group is answered.

        Raises:
            Invalid: a field breaks a rule.
            Conflict: somebody is in too many groups, or the ``client_id`` was used for another.
            Forbidden: of a retry: the caller is not a member any more.
        """
        check_name(settings.name)
        check_avatar(settings.avatar)
        others = self._check_users(user, users)
        if client_id is not None:
            check_client_id(client_id)
        channel = GROUP_PREFIX + _new_id(user, client_id)
        settings = settings.with_role(user, Role.ADMIN)
        rows = [new_member(user, Role.ADMIN, settings.history)]
        rows += [new_member(one, Role.MEMBER, settings.history) for one in others]
        draft = draft_group(
            GroupChange.CREATED,
            channel=channel,
            sender=user,
            settings=settings,
            members=rows,
            client_id=client_id,
        )
        if await self._repeats.find(draft) is None:
            named = {one: f"/members/{index}" for index, one in enumerate(users)}
            named.pop(user, None)
            done = await self._deciding.decide_again(lambda: self._creation(draft, rows, named))
            if done is not None and not done[0].duplicate:
                # As it was made: somebody may have changed it again, or removed the caller.
                made = done[0].id
                view = GroupView(channel, len(rows), made, settings, rows[0].at(made))
                return Created(view, False)
        return Created(view_of(self._log.state, channel, user), True)

    def _creation(
        self, draft: Draft, rows: Sequence[Member], pointers: Mapping[str, str]
    ) -> Decision | None:
        """Return the decision; ``None`` where the group is there, and its client_id forgotten.

        Args:
            pointers: by user, where the request names the other members.
        """
        as_of, state, channel = self._log.tail.head, self._log.state, draft.channel
        keys = beginning_keys(channel, [row.user for row in rows])
        decision = Decision([msgspec.structs.replace(draft, touches=keys)], Guard(as_of, keys))
        if draft.key is not None and self._log.uses_key(draft.key):
            return decision  # the log answers it
        if state.channel(channel) is not None:
            return None  # nobody else can have made its id
        for row in rows:
            check_group_count(state, row.user, self._limits, pointers.get(row.user))
        return decision

    def _check_users(self, user: str, users: Sequence[str]) -> list[str]:
        """Return the other members, each once."""
        if len(users) > MAX_ROWS:
            detail = f"members must have at most {MAX_ROWS} entries"
            raise Invalid.at("/members", "too_many", detail, MAX_ROWS)
        for index, one in enumerate(users):
            error = user_id_error(one, self._limits.user_id_characters)
            if error is not None:
                raise Invalid.at(f"/members/{index}", *error)
        # Sorted: a retry may name them in another order.
        others = sorted({*users} - {user})
        if len(others) >= MAX_ROWS:
            detail = f"members must have at most {MAX_ROWS} entries, the caller included"
            raise Invalid.at("/members", "too_many", detail, MAX_ROWS)
        if len(others) >= self._limits.group_members:
            raise group_full(self._limits, "/members")
        return others

    def get(self, user: str, channel: str) -> GroupView:
        """Return a group of the caller's.

        Raises:
            Forbidden: the caller is not a member.
            LogUnavailable: it cannot be told now.
        """
        return view_of(self._log.state, channel, user)

    def page(self, user: str, after: str, limit: int) -> GroupPage:
        """Return groups of the caller's whose ids are above one.

        Raises:
            LogUnavailable: they cannot be told now.
        """
        state = self._log.state
        channels = sorted(one for one in groups_of(state, user) if one > GROUP_PREFIX + after)
        found = [view_of(state, channel, user) for channel in channels[:limit]]
        return GroupPage(found, len(channels) > limit)

    async def update(self, user: str, channel: str, patch: GroupPatch) -> GroupView:
        """Change what a group is like.

        Raises:
            Invalid: a field breaks a rule.
            Forbidden: the caller is not an admin.
        """
        patch.check()

        view = view_of(self._log.state, channel, user)

        def decide() -> Decision | None:
            nonlocal view
            as_of = self._log.tail.head
            view = view_of(self._log.state, channel, user)
            view.check_admin()
            settings = patch.applied_to(view.settings)
            if settings == view.settings:
                return None
            view = view._replace(settings=settings)
            draft = draft_group(
                GroupChange.UPDATED, channel=channel, sender=user, settings=settings
            )
            return self._change(draft, as_of, (settings_key(channel),))

        done = await self._deciding.decide_again(decide)
        # As it was changed: somebody may have changed it again, or removed the caller.
        return view if done is None else view._replace(rev=done[0].id)

    async def delete(self, user: str, channel: str) -> int:
        """End a group and every membership; return the id of the record that did.

        Raises:
            Forbidden: the caller is not an admin.
        """

        def decide() -> Decision | int:
            as_of, state = self._log.tail.head, self._log.state
            known, me = state.channel(channel), state.member(channel, user)
            if known is not None and known.dissolved and me is not None and me.is_present:
                return known.dissolved
            view = view_of(state, channel, user)
            view.check_admin()
            draft = draft_group(
                GroupChange.DELETED,
                channel=channel,
                sender=user,
                settings=view.settings,
                dissolved=True,
            )
            return self._change(draft, as_of, (roster_key(channel), settings_key(channel)))

        done = await self._deciding.decide_again(decide)
        return done if isinstance(done, int) else done[0].id

    def _change(self, draft: Draft, as_of: int, touches: tuple[str, ...]) -> Decision:
        """Return the decision on a change of the settings, which leaders are a part of."""
        channel = draft.channel
        guarded = (
            roster_key(channel),
            settings_key(channel),
            member_key(channel, draft.sender),
        )
        return Decision([msgspec.structs.replace(draft, touches=touches)], Guard(as_of, guarded))


def _new_id(user: str, client_id: str | None) -> str:
    """Return 16 bytes in hex, the same for each request of a user with one ``client_id``."""
    if client_id is None:
        return secrets.token_hex(_ID_BYTES)
    text = f"{user}\0{client_id}".encode()
    return hashlib.blake2b(text, digest_size=_ID_BYTES, person=b"chatsvc group").hexdigest()
