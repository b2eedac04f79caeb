"""What ``MessageService.submit`` decides before and around the log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

import pytest

from chatsvc.core.errors import (
    ChatError,
    Conflict,
    FieldError,
    Forbidden,
    Invalid,
    StoreUnavailable,
)
from chatsvc.core.ids import format_id
from chatsvc.core.limits import Limits
from chatsvc.core.participants import normalize_participants
from chatsvc.features.messages import service as module
from chatsvc.features.messages.service import AllowAll, MessageService, Policy
from chatsvc.log.base import Appended
from tests.unit.support.fake_log import FakeHistory, FakeLog

OLD = "018bcfe5-6800-7000-8000-000000000001"
"""A UUIDv7 of November 2023."""


def make(
    log: FakeLog, policy: Policy | None = None, limits: Limits | None = None
) -> MessageService:
    return MessageService(
        log=log,
        policy=policy or AllowAll(),
        client_ids=FakeHistory(log),
        limits=limits or Limits(),
    )


async def test_the_usual_way_makes_no_task() -> None:
    log = FakeLog()
    before = asyncio.all_tasks()
    future = make(log).submit("alice", "phone", ["bob", "alice"], "hi", "key")
    assert not isinstance(future, asyncio.Task)
    assert asyncio.all_tasks() == before
    assert len(log.records) == 1  # in the same step
    appended = await future
    assert appended.id == log.records[0].id
    assert log.records[0].audience == ("alice", "bob")
    assert log.records[0].origin == "phone"


@pytest.mark.parametrize(
    ("arguments", "pointer"),
    [
        ((["a,b"], "", "ü", {"a": "x" * 5000}), "/participants/0"),
        ((["bob"], "", "ü", {"a": "x" * 5000}), "/content"),
        ((["bob"], "x", "ü", {"a": "x" * 5000}), "/client_id"),
        ((["bob"], "x", "k", {"a": "x" * 5000}), "/metadata"),
        ((["bob"], "x", "k", {}), "/participants"),
    ],
)
async def test_the_order_of_checks(
    arguments: tuple[list[str], str, str, dict[str, str]], pointer: str
) -> None:
    log = FakeLog()
    with pytest.raises((Invalid, Forbidden)) as caught:
        make(log).submit("alice", "", *arguments)
    assert caught.value.field_errors[0].pointer == pointer
    assert log.records == []


async def test_the_sender_is_one_of_them() -> None:
    with pytest.raises(Forbidden) as caught:
        make(FakeLog()).submit("mallory", "", ["alice", "bob"], "hi")
    detail = "participants must include the sender"
    assert (caught.value.code, caught.value.detail) == ("sender_not_participant", detail)
    assert caught.value.field_errors == (
        FieldError("/participants", "sender_not_participant", detail),
    )


async def test_limits_are_those_given() -> None:
    limits = Limits(
        participants=2,
        user_id_characters=3,
        content_characters=4,
        metadata_bytes=10,
        metadata_depth=2,
    )
    service = make(FakeLog(), limits=limits)
    for participants, content, metadata, limit in (
        (["a", "b", "c"], "hi", None, 2),
        (["a", "long"], "hi", None, 3),
        (["a", "b"], "hello", None, 4),
        (["a", "b"], "hi", {"a": "123456789"}, 10),
        (["a", "b"], "hi", {"a": [[]]}, 2),
    ):
        with pytest.raises(Invalid) as caught:
            service.submit("a", "", participants, content, metadata=metadata)
        assert caught.value.field_errors[0].limit == limit


class Denies:
    def check(self, sender: str, participants: tuple[str, ...]) -> None:
        raise Forbidden(f"{sender} may not")


class Asks:
    def __init__(self, answer: ChatError | None) -> None:
        self.answer = answer
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def check(self, sender: str, participants: tuple[str, ...]) -> Awaitable[None]:
        self.asked.append((sender, participants))
        return self._answer()

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.answer is not None:
            raise self.answer


async def test_a_policy_that_denies_at_once() -> None:
    log = FakeLog()
    with pytest.raises(Forbidden):
        make(log, Denies()).submit("alice", "", ["alice"], "hi")
    assert log.records == []


async def test_a_policy_that_has_to_be_awaited() -> None:
    log, policy = FakeLog(), Asks(None)
    future = make(log, policy).submit("alice", "", ["bob", "alice"], "hi")
    assert log.records == []
    assert (await future).duplicate is False
    assert policy.asked == [("alice", ("alice", "bob"))]

    denied = make(log, Asks(Forbidden("no"))).submit("alice", "", ["alice"], "hi")
    with pytest.raises(Forbidden):
        await denied
    assert len(log.records) == 1


async def test_an_old_uuid7_is_looked_up_in_the_store() -> None:
    log = FakeLog()
    service = make(log)
    first = await service.submit("alice", "", ["alice"], "hi", OLD)
    log.forget_keys()
    again = await service.submit("alice", "", ["alice"], "hi", OLD)
    assert again == Appended(first.id, first.body, True)
    with pytest.raises(Conflict) as caught:
        await service.submit("alice", "", ["alice"], "other", OLD)
    assert caught.value.extra == {"id": format_id(first.id)}
    assert len(log.records) == 1


class Knows:
    """A store whose lookup finds one message, which nobody can read any more: put aside, or
    past its retention."""

    def __init__(self, first: int, digest: bytes) -> None:
        self.found = (first, digest)

    async def find_client_id(
        self, sender: str, channel: str, client_id: str, *, after: int
    ) -> tuple[int, bytes] | None:
        return self.found if self.found[0] > after else None


async def test_a_repeat_is_answered_without_reading_the_first_again() -> None:
    log = FakeLog()
    first = await make(log).submit("alice", "", ["alice"], "hi", OLD, {"mood": "fine"})
    log.forget_keys()
    service = MessageService(
        log=log,
        policy=AllowAll(),
        client_ids=Knows(first.id, log.records[0].digest),
        limits=Limits(),
    )
    again = await service.submit("alice", "", ["alice"], "hi", OLD, {"mood": "fine"})
    assert again == Appended(first.id, first.body, True)


async def test_what_was_forgotten_for_good_is_no_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    log = FakeLog()
    first = await make(log).submit("alice", "", ["alice"], "hi", OLD)
    log.forget_keys()
    above = {("alice", "alice", OLD): first.id}
    monkeypatch.setattr(log, "used_above", above.__getitem__)
    service = MessageService(
        log=log,
        policy=AllowAll(),
        client_ids=Knows(first.id, log.records[0].digest),
        limits=Limits(),
    )
    assert not (await service.submit("alice", "", ["alice"], "hi", OLD)).duplicate


async def test_what_a_store_does_not_find_while_it_is_filled_again_is_not_new() -> None:
    log = FakeLog()
    service = make(log)
    first = await service.submit("alice", "", ["alice"], "hi", OLD)
    log.forget_keys()
    log.refilling = True
    assert (await service.submit("alice", "", ["alice"], "hi", OLD)).id == first.id
    with pytest.raises(StoreUnavailable, match="cannot be answered yet") as caught:
        await service.submit("alice", "", ["alice"], "hi", OLD[:-1] + "2")
    assert caught.value.retry_after == 2.0
    assert len(log.records) == 1


async def test_an_old_uuid7_that_was_never_used_is_accepted() -> None:
    log = FakeLog()
    log.forget_keys()
    appended = await make(log).submit("alice", "", ["alice"], "hi", OLD)
    assert appended.duplicate is False
    assert len(log.records) == 1


async def test_an_old_uuid7_with_the_store_away_is_refused() -> None:
    log = FakeLog()
    log.forget_keys()
    history = FakeHistory(log)
    history.away = True
    service = MessageService(log=log, policy=AllowAll(), client_ids=history, limits=Limits())
    with pytest.raises(StoreUnavailable):
        await service.submit("alice", "", ["alice"], "hi", OLD)
    assert log.records == []


async def test_what_the_log_remembers_needs_no_store() -> None:
    log = FakeLog()
    service = make(log)
    await service.submit("alice", "", ["alice"], "hi", OLD)
    log.keys_since = 2**60  # the window moved on, but this key is unstored and so kept
    future = service.submit("alice", "", ["alice"], "hi", OLD)
    assert not isinstance(future, asyncio.Task)
    assert (await future).duplicate


async def test_other_client_ids_are_the_logs_alone() -> None:
    log = FakeLog()
    log.forget_keys()
    future = make(log).submit("alice", "", ["alice"], "hi", "not-a-uuid")
    assert not isinstance(future, asyncio.Task)


async def test_an_awaited_policy_does_not_go_around_the_store() -> None:
    log = FakeLog()
    service = make(log, Asks(None))
    first = await service.submit("alice", "", ["alice"], "hi", OLD)
    log.forget_keys()
    again = await service.submit("alice", "", ["alice"], "hi", OLD)
    assert again == Appended(first.id, first.body, True)


async def test_remembered_sets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KNOWN_NAMES", 6)
    service = make(FakeLog())
    for number in range(10):
        people, channel = service.conversation([f"u{number}", "a"])
        assert people == ("a", f"u{number}")
        assert channel == f"a,u{number}"
    assert len(service._known) == 3
    assert service.conversation(["u0", "a"]) == (("a", "u0"), "a,u0")
    service.conversation(["q", "w", "e", "r", "t", "y", "u"])  # larger than the bound itself
    assert len(service._known) == 1


async def test_the_same_list_gives_the_same_objects() -> None:
    service = make(FakeLog())
    first, second = service.conversation(["b", "a"]), service.conversation(["b", "a"])
    assert first[0] is second[0]
    assert first[1] is second[1]


async def test_a_set_that_was_sent_to_is_not_checked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked: list[Sequence[str]] = []

    def noting(users: Sequence[str], **bounds: Any) -> tuple[str, ...]:
        checked.append(users)
        return normalize_participants(users, **bounds)

    monkeypatch.setattr(module, "normalize_participants", noting)
    service = make(FakeLog())
    for content in ("1", "2"):
        await service.submit("alice", "", ["bob", "alice"], content)
    assert checked == [("bob", "alice")]
