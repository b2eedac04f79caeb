"""Sending by a conversation's key: what it names, what is looked up, and what is not told."""

from __future__ import annotations

import asyncio
import json

import pytest
from msgspec import UNSET

from chatsvc.core.errors import (
    ChatError,
    FieldError,
    Forbidden,
    Invalid,
    RequestError,
    StoreUnavailable,
)
from chatsvc.core.limits import Limits
from chatsvc.core.participants import channel_key
from chatsvc.features.messages import channels as module
from chatsvc.features.messages.channels import ConversationSender
from chatsvc.features.messages.member_sends import MemberSends
from chatsvc.features.messages.service import AllowAll, MessageService
from chatsvc.log.base import Appended
from chatsvc.log.deciding import Deciding
from tests.unit.support.fake_log import FakeHistory, FakeLog

MANY = tuple(f"{name}-of-a-conversation-with-a-long-key" for name in "abcdefgh")
KEY = channel_key(MANY)
UNKNOWN = ",sha256:" + "0" * 64


class World:
    """Sends into a log in memory; ``lookups`` are the keys that were looked up."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.log = FakeLog()
        self.history = FakeHistory(self.log)
        self.lookups: list[tuple[str, str]] = []
        limits = limits or Limits()
        service = MessageService(
            log=self.log,
            policy=AllowAll(),
            client_ids=self.history,
            limits=limits,
        )
        members = MemberSends(
            log=self.log, deciding=Deciding(self.log), client_ids=self.history, limits=limits
        )
        self.sender = ConversationSender(
            service=service, members=members, lookup=self, limits=limits
        )

    async def participants(self, user: str, channel: str) -> tuple[str, ...] | None:
        self.lookups.append((user, channel))
        await asyncio.sleep(0)
        return await self.history.participants(user, channel)

    def by_key(self, sender: str, channel: str, content: str = "hi") -> asyncio.Future[Appended]:
        return self.sender.submit(sender, "", UNSET, content, channel=channel)

    async def refusal(self, sender: str, channel: str) -> RequestError:
        with pytest.raises(RequestError) as raised:
            await self.by_key(sender, channel)
        return raised.value


@pytest.fixture
async def world() -> World:
    """In which the many have spoken once, by their names."""
    world = World()
    await world.sender.submit(MANY[0], "", list(MANY), "first")
    return world


async def test_a_key_that_names_its_people_is_the_same_as_they_are(world: World) -> None:
    by_names = await world.sender.submit("alice", "phone", ["bob", "alice"], "x", "key", {"a": 1})
    future = world.sender.submit("alice", "phone", UNSET, "x", "key", {"a": 1}, "alice,bob")
    assert not isinstance(future, asyncio.Task)  # nothing to look up
    by_key = await future
    assert by_key.duplicate
    assert by_key.id == by_names.id
    assert world.lookups == []


async def test_a_send_is_the_same_message_however_it_is_named(world: World) -> None:
    sender = MANY[0]
    for names, key in (
        (list(MANY), UNSET),  # by its participants
        (UNSET, KEY),  # by a key that is looked up
        (UNSET, KEY),  # by a key that is known
    ):
        sent = await world.sender.submit(sender, "phone", names, "hi", None, {"a": 1}, key)
        record = world.log.records[-1]
        assert (record.id, record.sender, record.origin) == (sent.id, sender, "phone")
        message = json.loads(record.body)
        assert (message["content"], message["metadata"]) == ("hi", {"a": 1})
    first = await world.sender.submit(sender, "phone", UNSET, "hi", "key", {"a": 1}, KEY)
    again = await world.sender.submit(sender, "phone", list(MANY), "hi", "key", {"a": 1})
    assert (again.id, again.duplicate) == (first.id, True)


async def test_a_client_id_goes_along_when_a_key_is_looked_up(world: World) -> None:
    first = await world.sender.submit(MANY[0], "", UNSET, "hi", "key", channel=KEY)
    again = await world.sender.submit(MANY[0], "", list(MANY), "hi", "key")
    assert (again.id, again.duplicate) == (first.id, True)


async def test_a_hashed_key_is_looked_up_once_for_each_sender(world: World) -> None:
    for sender in MANY[:2]:
        first = world.by_key(sender, KEY)
        assert isinstance(first, asyncio.Task)  # so that a socket's next send waits for it
        await first
        second = world.by_key(sender, KEY)
        assert not isinstance(second, asyncio.Task)
        await second
    assert world.lookups == [(sender, KEY) for sender in MANY[:2]]
    sent = world.log.records[1:]
    assert [(one.sender, one.channel, one.audience) for one in sent] == [
        (sender, KEY, MANY) for sender in (MANY[0], MANY[0], MANY[1], MANY[1])
    ]


async def test_foreign_unknown_and_impossible_keys_are_refused_alike(world: World) -> None:
    await world.by_key(MANY[0], KEY)
    told = []
    for sender, channel in (
        ("eve", KEY),
        ("eve", UNKNOWN),
        ("eve", "alice,bob"),
        ("eve", ",x:anything"),
        ("eve", ",sha256:" + "F" * 64),
    ):
        error = await world.refusal(sender, channel)
        assert isinstance(error, Forbidden)
        told.append((error.code, error.detail, error.field_errors))
    assert len(set(told)) == 1
    detail = "you must be a participant of the conversation"
    field = FieldError("/channel", "not_a_participant", detail)
    assert told[0] == ("not_a_participant", detail, (field,))
    # What somebody else is known to be in does not answer sooner; what cannot be is not asked.
    assert world.lookups[1:] == [("eve", KEY), ("eve", UNKNOWN)]
    assert len(world.log.records) == 2


@pytest.mark.parametrize("channel", [",g:team", ",r:lobby", ",g:"])
async def test_who_is_no_member_must_not_send_to_a_group_or_a_room(
    world: World, channel: str
) -> None:
    error = await world.refusal(MANY[0], channel)
    detail = "you must be a member of the group"
    assert (error.code, error.detail) == ("not_a_member", detail)
    assert error.field_errors == (FieldError("/channel", "not_a_member", detail),)
    assert len(world.log.records) == 1
    assert world.lookups == []


@pytest.mark.parametrize(
    ("channel", "code", "limit"),
    [
        ("", "too_short", 1),
        ("x" * 256, "too_long", 255),
        ("bob,alice", "not_sorted", None),
        ("alice,alice", "not_sorted", None),
        ("alice, bob", "white_space", None),
        ("alice,", "too_short", 1),
        ("abcdef,alice", "too_long", 5),
        ("a,alice,b,c", "too_many", 3),
    ],
)
async def test_a_key_that_is_none_is_refused_at_its_field(
    channel: str, code: str, limit: int | None
) -> None:
    world = World(Limits(user_id_characters=5, participants=3))
    error = await world.refusal("alice", channel)
    assert isinstance(error, Invalid)
    [field] = error.field_errors
    assert (field.pointer, field.code, field.limit) == ("/channel", code, limit)
    assert (error.code, error.detail) == (code, field.detail)
    assert " must " in field.detail


async def test_a_key_at_its_bounds_is_good() -> None:
    world = World(Limits(user_id_characters=5, participants=3))
    assert not (await world.by_key("alice", "abcde,alice,b")).duplicate


async def test_the_conversation_is_named_exactly_once(world: World) -> None:
    for names, key, error in (
        (
            UNSET,
            UNSET,
            FieldError("/participants", "missing", "one of participants and channel must be given"),
        ),
        (
            ["alice"],
            "alice",
            FieldError(
                "/channel",
                "one_conversation",
                "participants and channel must not be given together",
            ),
        ),
    ):
        with pytest.raises(Invalid) as raised:
            world.sender.submit("alice", "", names, "x", channel=key)
        assert raised.value.field_errors == (error,)
        assert (raised.value.code, raised.value.detail) == (error.code, error.detail)


async def test_with_the_store_away_what_is_known_goes_through(world: World) -> None:
    await world.by_key(MANY[0], KEY)
    world.history.away = True
    await world.by_key(MANY[0], KEY)
    await world.by_key("alice", "alice,bob")
    for channel in (KEY, UNKNOWN):
        with pytest.raises(StoreUnavailable):
            await world.by_key("eve", channel)


async def test_what_is_wrong_with_the_message_is_told_of_a_hashed_key_too(world: World) -> None:
    for _ in range(2):  # looked up, and remembered
        with pytest.raises(ChatError) as raised:
            await world.by_key(MANY[0], KEY, content="")
        assert isinstance(raised.value, Invalid)
        assert raised.value.field_errors[0].pointer == "/content"


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED_NAMES", 20)
    world = World()
    sets = [tuple(f"{number}-{name}" for name in MANY) for number in range(4)]
    for people in sets:
        await world.sender.submit(people[0], "", list(people), "first")
        await world.by_key(people[0], channel_key(people))
    asked = len(world.lookups)
    await world.by_key(sets[3][0], channel_key(sets[3]))
    assert len(world.lookups) == asked
    await world.by_key(sets[0][0], channel_key(sets[0]))
    assert len(world.lookups) == asked + 1
