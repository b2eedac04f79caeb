from __future__ import annotations

import asyncio
import json

import pytest

from chatsvc.client.events import (
    CaughtUp,
    CursorMoved,
    Disconnected,
    Gap,
    MessageReceived,
    Received,
    Reset,
    decode_change,
    decode_received,
)
from chatsvc.client.events import received as as_event
from chatsvc.client.inbox import STATUS_RESERVE, Inbox
from chatsvc.core.ids import parse_id
from chatsvc.wire.cursor import parse_cursor
from testkit.scripted_server import EPOCH, change, cursor, message, message_id


def received(number: int) -> MessageReceived:
    return decode_received(json.dumps(message(number)).encode(), EPOCH)


def changed(number: int) -> Received:
    return as_event(decode_change(json.dumps(change(number, "edit")).encode()), EPOCH)


def inbox(capacity: int = 100, at: int = 0) -> Inbox:
    return Inbox(capacity, parse_cursor(cursor(at)))


async def test_the_two_positions() -> None:
    box = inbox()
    assert box.put_record(received(5))
    assert box.put_record(received(7))
    assert (box.cursor, box.taken) == (cursor(7), cursor(0))
    await box.get()
    assert (box.cursor, box.taken) == (cursor(7), cursor(5))


def test_what_was_received_is_not_received_again() -> None:
    box = inbox()
    assert box.put_record(received(5))
    assert not box.put_record(received(5))
    assert not box.put_record(received(4))
    box.move_to(EPOCH, 0)  # standing before a gap again
    assert box.put_record(received(4))
    assert not box.put_record(received(5))


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatsvc.client.inbox.REMEMBERED", 2)
    box = inbox()
    for number in (1, 2, 3):
        assert box.put_record(received(number))
    box.move_to(EPOCH, 0)
    assert not box.put_record(received(3))
    assert not box.put_record(received(2))
    assert box.put_record(received(1))


async def test_changes_are_records_as_messages_are() -> None:
    box = inbox(capacity=2)
    assert box.put_record(changed(5))
    assert not box.put_record(changed(5))
    assert not box.put_record(received(4))
    assert box.put_record(received(6))
    assert box.full
    assert (box.cursor, box.taken) == (cursor(6), cursor(0))
    await box.get()
    assert box.taken == cursor(5)
    box.move_to(EPOCH, 0)
    assert not box.put_record(changed(5)), "delivered already"


async def test_a_reset_moves_what_the_consumer_has_taken() -> None:
    box = inbox(at=9)
    box.move_to("e2", parse_id(message_id(4)))
    box.put_status(Reset("e2", message_id(4)))
    assert (box.cursor, box.taken) == (cursor(4, "e2"), cursor(9))
    await box.get()
    assert box.taken == cursor(4, "e2")


async def test_a_gap_with_nothing_in_it_is_none() -> None:
    box = inbox()
    box.put_gap(message_id(3), message_id(3))
    box.put_gap(message_id(4), message_id(3))
    assert len(box) == 0


def test_a_position_never_goes_back_by_itself() -> None:
    box = inbox(at=9)
    box.advance(parse_id(message_id(3)))
    assert box.cursor == cursor(9)


async def test_statuses_pass_the_bound_by_a_reserve_only(caplog: pytest.LogCaptureFixture) -> None:
    box = inbox(capacity=1)
    box.put_record(received(1))
    assert box.full
    for number in range(STATUS_RESERVE + 5):
        box.put_status(Disconnected(1006, str(number), 0.0))
    assert len(box) == 1 + STATUS_RESERVE
    assert "not reported" in caplog.text


async def test_cursors_in_a_row_are_one() -> None:
    box = inbox()
    box.put_status(CursorMoved(cursor(1)))
    box.put_status(CursorMoved(cursor(2)))
    assert await box.get() == CursorMoved(cursor(2))
    assert len(box) == 0
    full = inbox(capacity=1)
    full.put_record(received(1))
    full.put_status(CursorMoved(cursor(2)))
    assert len(full) == 1


async def test_gaps_that_touch_are_one() -> None:
    box = inbox(capacity=0)
    box.put_gap(message_id(1), message_id(3))
    box.put_gap(message_id(3), message_id(6))
    box.put_gap(message_id(8), message_id(9))
    assert await box.get() == Gap(message_id(1), message_id(6))
    assert await box.get() == Gap(message_id(8), message_id(9))


async def test_the_end_comes_after_what_is_queued() -> None:
    box = inbox()
    box.put_status(CaughtUp(cursor(1)))
    box.end(RuntimeError("over"))
    box.end(None)  # the first end counts
    assert await box.get() == CaughtUp(cursor(1))
    with pytest.raises(RuntimeError, match="over"):
        await box.get()


async def test_a_producer_hears_of_room() -> None:
    box = inbox(capacity=1)
    box.put_record(received(1))
    waiting = asyncio.create_task(box.wait_changed())
    await asyncio.sleep(0)
    assert not waiting.done()
    await box.get()
    await asyncio.wait_for(waiting, 5)
    await box.wait_changed(0.001)  # returns when the time is up, too
