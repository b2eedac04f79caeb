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
from chatsvc.log.base import AHEAD_SECONDS, Appended, MessageLog
from chatsvc.log.reconcile import EpochEntry, StoreState
from testkit.client_ids import uuid7_at
from testkit.drafts import draft
from testkit.waiting import until

SOON = 30.0
"""Seconds until a condition that must come is given up."""
ALL = Bounds(limit=100_000, newest=False)
EMPTY = StoreState("s", None, 0)
"""A store that holds nothing."""
MANY = 1 << 30


class Backend(abc.ABC):
    """Opens the same log again and again."""

    @abc.abstractmethod
    def opened(self) -> AbstractAsyncContextManager[MessageLog]:
        """The log, with all that it was given before; closed on leaving."""

    @abc.abstractmethod
    def died(self) -> AbstractAsyncContextManager[MessageLog]:
        """As :meth:`opened`; on leaving it is not closed, but lost with its process."""


class Opened:
    """Subclasses give the fixture ``backend``."""

    @pytest.fixture
    async def log(self, backend: Backend) -> AsyncIterator[MessageLog]:
        async with backend.opened() as log:
            yield log


class LogSuite(Opened):
    """Subclasses give the fixture ``backend``."""

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

    async def test_what_follows_a_commit_comes_after_the_answers_to_it(
        self, log: MessageLog
    ) -> None:
        order: list[str] = []
        steps = log.acknowledgements
        log.tail.listen(lambda records: steps.after(lambda: order.append("delivered")))
        future = log.append(draft())
        future.add_done_callback(lambda _: steps.write_soon(lambda: order.append("acknowledged")))
        await _one(future)
        await until(lambda: "delivered" in order)
        assert order == ["acknowledged", "delivered"]

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
        assert log.counts.repeats == 1

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
            await log.attach_store(EMPTY)
            log.learn_past(0, [])
        assert not log.past_is_unknown
        minted_long_ago = uuid7_at(1)
        await _one(log.append(draft(client_id=minted_long_ago)))
        assert log.knows_key(("alice", "alice,bob", minted_long_ago))
        assert log.knows_key(("alice", "alice,bob", "no UUIDv7"))

    async def test_it_names_its_epoch_and_its_durability(self, log: MessageLog) -> None:
        assert log.epoch.isalnum()
        assert log.epoch == log.epoch.lower()
        assert 1 <= len(log.epoch) <= 32
        assert log.durability

    async def test_it_says_why_sends_are_refused(self, log: MessageLog) -> None:
        assert log.refusal is None
        await asyncio.wait_for(log.close(), SOON)
        refusal = log.refusal
        assert refusal is not None
        with pytest.raises(LogUnavailable) as raised:
            await _one(log.append(draft()))
        assert raised.value.code == refusal.code

    async def test_what_it_counts_goes_up(self, log: MessageLog) -> None:
        before = log.counts
        await _all([log.append(draft("x", client_id="k")) for _ in range(3)])
        assert log.counts == before._replace(repeats=before.repeats + 2)

    async def test_its_ids_are_not_ahead_of_a_clock_that_is_right(self, log: MessageLog) -> None:
        await _one(log.append(draft()))
        assert 0 <= log.ahead_seconds < AHEAD_SECONDS

    async def test_nothing_is_older_than_the_log(self, log: MessageLog) -> None:
        await _one(log.append(draft()))
        assert log.older_than(86_400) == 0
        assert 0 <= log.older_than(0) <= log.tail.head

    async def test_records_are_read_by_position(self, log: MessageLog) -> None:
        sent = await _all([log.append(draft(str(at))) for at in range(6)])
        ids = [one.id for one in sent]

        async def read(after: int, up_to: int, limit: int = 10, size: int = MANY) -> list[int]:
            return [record.id for record in await log.read(after, up_to, limit, size)]

        assert await read(0, MAX_ID) == ids
        assert await read(ids[0], ids[3]) == ids[1:4]
        assert await read(ids[1], MAX_ID, limit=2) == ids[2:4]
        assert await read(ids[1], MAX_ID, size=1) == ids[2:3], "the first whatever its size"
        assert await read(ids[5], MAX_ID) == []
        (record,) = await log.read(ids[1], ids[2], 10, MANY)
        assert record.body == sent[2].body

    async def test_a_store_is_known_once_it_is_attached(self, log: MessageLog) -> None:
        assert log.attached_store is None
        epoch = log.epoch
        appended = await _one(log.append(draft()))
        await log.attach_store(EMPTY)
        assert (log.attached_store, log.epoch) == (EMPTY, epoch)
        assert log.store_from <= log.tail.stored < appended.id

    async def test_above_a_store_that_holds_more_a_new_epoch_begins(self, log: MessageLog) -> None:
        heard: list[tuple[EpochEntry, ...]] = []
        log.on_new_epoch(heard.append)
        before = await _one(log.append(draft()))
        epoch, extent = log.epochs[-1], before.id + MANY
        await log.attach_store(StoreState("s", None, extent))
        assert heard == [log.epochs]
        assert log.epochs[-2] == epoch
        assert log.epoch == log.epochs[-1].epoch != epoch.epoch
        assert log.epochs[-1].generation > epoch.generation
        assert (await _one(log.append(draft()))).id > extent

    async def test_another_store_is_filled_again(self, log: MessageLog) -> None:
        await log.attach_store(EMPTY)
        sent = await _all([log.append(draft(str(at))) for at in range(5)])
        log.advance_watermark(sent[3].id)
        assert (log.refill, log.tail.refilling) == (0, False)
        await log.attach_store(StoreState("another", None, 0))
        assert (log.refill, log.tail.refilling) == (4, True)
        assert log.tail.watermark == sent[3].id, "it was stored once"
        records = await log.read(log.store_from, log.tail.watermark, 3, MANY)
        log.advance_watermark(records[-1].id)
        assert (log.refill, log.tail.stored) == (1, sent[2].id)
        log.advance_watermark(sent[3].id)
        assert (log.refill, log.tail.refilling) == (0, False)

    async def test_a_record_gets_another_place_where_the_store_holds_another(
        self, backend: Backend
    ) -> None:
        async with backend.died() as log:
            await log.attach_store(EMPTY)
            first, second = await _all(
                [log.append(draft(key, client_id=key)) for key in ("a", "b")]
            )
            record = log.tail.get(first.id)
            assert record is not None
            epoch = log.epoch
            await log.readmit([record])
            assert log.epoch != epoch, "something below the head was not sent to anybody"
            assert log.tail.get(first.id) is None
            moved = await _one(log.append(draft("a", client_id="a")))
            assert moved.duplicate
            assert moved.id > second.id
        async with backend.opened() as log:
            assert [one.id for one in log.tail.page(ALL)] == [second.id, moved.id]

    async def test_what_was_forgotten_is_stored_unless_something_was_lost(
        self, log: MessageLog
    ) -> None:
        await log.attach_store(EMPTY)
        appended = await _one(log.append(draft()))
        assert log.forgotten_are_stored
        assert log.window_start <= appended.id


async def _one(future: asyncio.Future[Appended]) -> Appended:
    return await asyncio.wait_for(future, SOON)


async def _all(futures: Sequence[asyncio.Future[Appended]]) -> list[Appended]:
    return await asyncio.wait_for(asyncio.gather(*futures), SOON)
