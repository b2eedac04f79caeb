"""What every log promises (``chatsvc/log/base.py``), as tests over any of them."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

import msgspec
import pytest

from chatsvc.core.errors import Conflict, LogUnavailable
from chatsvc.core.ids import MAX_ID, format_id, now_ms
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record
from chatsvc.log.base import Appended, MessageLog
from chatsvc.log.reconcile import StoreState
from tests.support.client_ids import uuid7_at
from tests.support.drafts import draft

SOON = 30.0
"""Seconds until a condition that must come is given up."""
ALL = Bounds(limit=100_000, newest=False)


class Backend(abc.ABC):
    """Opens the same log again and again."""

    @abc.abstractmethod
    def opened(self) -> AbstractAsyncContextManager[MessageLog]:
        """The log, with all that it was given before; closed on leaving."""

    @abc.abstractmethod
    def died(self) -> AbstractAsyncContextManager[MessageLog]:
        """As :meth:`opened`; on leaving it is not closed, but lost with its process."""


class LogSuite:
    """Subclasses give the fixture ``backend``."""

    @pytest.fixture
    async def log(self, backend: Backend) -> AsyncIterator[MessageLog]:
        async with backend.opened() as log:
            yield log

    async def test_ids_rise_in_the_order_of_the_calls(self, log: MessageLog) -> None:
        futures = [log.append(draft(str(at))) for at in range(1000)]
        results = await _all(futures)
        ids = [result.id for result in results]
        assert ids == sorted(set(ids))
        contents = [msgspec.json.decode(result.body)["content"] for result in results]
        assert contents == [str(at) for at in range(1000)]

    async def test_ids_are_of_the_clock(self, log: MessageLog) -> None:
        before = now_ms()
        appended = await _one(log.append(draft()))
        assert before <= appended.id >> 16 <= now_ms()

    async def test_the_body_carries_the_id(self, log: MessageLog) -> None:
        appended = await _one(log.append(draft("hi", client_id="k")))
        body = msgspec.json.decode(appended.body)
        assert body["id"] == format_id(appended.id)
        assert (body["type"], body["content"], body["client_id"]) == ("message", "hi", "k")

    async def test_it_is_readable_by_the_time_it_is_acknowledged(self, log: MessageLog) -> None:
        seen: list[Record | None] = []
        future = log.append(draft())
        future.add_done_callback(lambda done: seen.append(log.tail.get(done.result().id)))
        appended = await _one(future)
        assert seen[0] is not None
        assert seen[0].body == appended.body
        assert log.tail.head == appended.id

    async def test_listeners_hear_everything_once_in_order(self, log: MessageLog) -> None:
        heard: list[int] = []

        def listener(records: Sequence[Record]) -> None:
            heard.extend(record.id for record in records)

        log.tail.listen(listener)
        results = await _all([log.append(draft(str(at))) for at in range(300)])
        assert heard == [result.id for result in results]

    async def test_copies_in_flight_at_once_are_one_record(self, log: MessageLog) -> None:
        futures = [log.append(draft("x", client_id="k")) for _ in range(20)]
        results = await _all(futures)
        assert {result.id for result in results} == {results[0].id}
        assert {result.body for result in results} == {results[0].body}
        assert sorted(result.duplicate for result in results) == [False] + [True] * 19
        assert len(log.tail.page(ALL)) == 1

    async def test_a_retry_later_is_the_same_record(self, log: MessageLog) -> None:
        first = await _one(log.append(draft("x", client_id="k")))
        assert await _one(log.append(draft("x", client_id="k"))) == Appended(
            first.id, first.body, True
        )
        assert log.remembers(("alice", "alice,bob", "k"))
        assert not log.remembers(("alice", "alice,bob", "other"))

    async def test_another_content_under_the_key_is_a_conflict(self, log: MessageLog) -> None:
        first, other = log.append(draft("x", client_id="k")), log.append(draft("y", client_id="k"))
        appended = await _one(first)
        for future in (other, log.append(draft("z", client_id="k"))):
            with pytest.raises(Conflict) as raised:
                await _one(future)
            assert raised.value.extra["id"] == format_id(appended.id)
        assert len(log.tail.page(ALL)) == 1

    async def test_keys_are_of_a_sender_in_a_conversation(self, log: MessageLog) -> None:
        results = await _all(
            [
                log.append(draft("x", client_id="k")),
                log.append(draft("x", client_id="k", to=("carol",))),
                log.append(draft("x", client_id="k", sender="bob", to=("alice",))),
                log.append(draft("x")),
                log.append(draft("x")),
            ]
        )
        assert len({result.id for result in results}) == 5
        assert not any(result.duplicate for result in results)

    async def test_a_caller_that_goes_away_takes_nobody_with_it(self, log: MessageLog) -> None:
        gone = log.append(draft("x", client_id="k"))
        follower = log.append(draft("x", client_id="k"))
        gone.cancel()
        assert (await _one(follower)).duplicate
        assert len(log.tail.page(ALL)) == 1

    async def test_what_was_acknowledged_is_there_after_a_death(self, backend: Backend) -> None:
        async with backend.died() as log:
            epoch = log.epoch
            results = await _all(
                [log.append(draft(str(at), client_id=f"k{at}")) for at in range(200)]
            )
        async with backend.opened() as log:
            assert log.epoch == epoch
            records = log.tail.page(ALL)
            assert [(record.id, record.body) for record in records] == [
                (result.id, result.body) for result in results
            ]
            again = await _one(log.append(draft("7", client_id="k7")))
            assert again == Appended(results[7].id, results[7].body, True)
            with pytest.raises(Conflict):
                await _one(log.append(draft("another", client_id="k8")))
            assert (await _one(log.append(draft("new")))).id > results[-1].id

    async def test_closing_finishes_what_was_appended_and_refuses_the_rest(
        self, backend: Backend
    ) -> None:
        async with backend.opened() as log:
            futures = [log.append(draft(str(at))) for at in range(50)]
            closing = asyncio.create_task(log.close())
            await asyncio.sleep(0)
            with pytest.raises(LogUnavailable):
                await _one(log.append(draft("late")))
            results = await _all(futures)
            await asyncio.wait_for(closing, SOON)
            await asyncio.wait_for(log.close(), SOON)
        async with backend.opened() as log:
            assert [record.id for record in log.tail.page(ALL)] == [entry.id for entry in results]

    async def test_the_watermark_never_goes_back_nor_beyond_the_head(self, log: MessageLog) -> None:
        results = await _all([log.append(draft(str(at))) for at in range(3)])
        log.advance_watermark(results[1].id)
        log.advance_watermark(results[0].id)
        assert log.tail.watermark == results[1].id
        log.advance_watermark(MAX_ID)
        assert log.tail.watermark == results[2].id

    async def test_nothing_above_the_watermark_is_dropped(self, backend: Backend) -> None:
        async with backend.opened() as log:
            results = await _all([log.append(draft("x" * 1000)) for _ in range(100)])
            log.advance_watermark(results[49].id)
        async with backend.opened() as log:
            ids = [record.id for record in log.tail.page(ALL)]
            assert ids[-50:] == [result.id for result in results[50:]]
            assert log.tail.unsaved_count >= 50

    async def test_what_was_used_and_what_is_fresh_can_be_told(self, log: MessageLog) -> None:
        if log.past_is_unknown:
            await log.attach_store(StoreState("s", None, 0))
            log.learn_past(0, [])
        minted_long_ago = uuid7_at(1)
        await _one(log.append(draft(client_id=minted_long_ago)))
        assert log.knows_key(("alice", "alice,bob", minted_long_ago))
        assert log.knows_key(("alice", "alice,bob", "no UUIDv7"))

    async def test_it_names_its_epoch_and_its_durability(self, log: MessageLog) -> None:
        assert log.epoch.isalnum()
        assert log.epoch == log.epoch.lower()
        assert 1 <= len(log.epoch) <= 32
        assert log.durability


async def _one(future: asyncio.Future[Appended]) -> Appended:
    return await asyncio.wait_for(future, SOON)


async def _all(futures: Sequence[asyncio.Future[Appended]]) -> list[Appended]:
    return await asyncio.wait_for(asyncio.gather(*futures), SOON)
