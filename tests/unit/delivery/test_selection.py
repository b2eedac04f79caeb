"""Which records of which kinds a connection receives, live and missed."""

from __future__ import annotations

from typing import Any

import pytest

from chatsvc.core.record import Record
from chatsvc.delivery.selection import Selection
from testkit.records import KINDS, change, other_kind, record
from tests.unit.support.fanning_out import Harness, got
from tests.unit.support.resuming import Resumption, turns
from tests.unit.support.sockets import connection, texts

SELECTION = Selection(KINDS, {})


@pytest.mark.parametrize("sent", [change(1), other_kind(1, "vote")], ids=["known", "unknown"])
async def test_a_change_is_for_every_connection_of_its_sender(sent: Record) -> None:
    for one in (connection("alice", "laptop"), connection("alice", "phone", echo=True)):
        assert SELECTION.live(one, sent)
        assert SELECTION.missed(one, sent)


async def test_a_message_is_for_its_sender_only_with_echo() -> None:
    sent = record(1)
    assert not SELECTION.live(connection("alice", "phone"), sent)
    assert not SELECTION.missed(connection("alice", "phone"), sent)
    assert SELECTION.live(connection("alice", "phone", echo=True), sent)
    assert SELECTION.missed(connection("alice", "phone", echo=True), sent)
    assert SELECTION.live(connection("bob", "phone"), sent)


async def test_a_connection_with_kinds_receives_no_others() -> None:
    one = connection("bob", "phone", kinds=frozenset({"edit"}))
    assert SELECTION.live(one, change(1, "edit"))
    assert SELECTION.missed(one, change(1, "edit"))
    for sent in (record(1), change(1, "reaction")):
        assert not SELECTION.live(one, sent)
        assert not SELECTION.missed(one, sent)


async def test_changes_go_out_live_to_whom_they_are_for() -> None:
    harness = Harness(SELECTION)
    alice = harness.join("alice", "laptop")
    bob = harness.join("bob", "phone")
    edits = harness.join("bob", "tablet", kinds=frozenset({"edit"}))
    messages = harness.join("bob", "desk", kinds=frozenset({"message"}))
    harness.join("carol")
    sent = [record(1), change(2, "edit"), record(3, sender="bob"), change(4, "reaction")]
    await harness.send(*sent)
    assert got(alice) == [sent[1].id, sent[2].id, sent[3].id]
    assert got(bob) == [sent[0].id, sent[1].id, sent[3].id]
    assert got(edits) == [sent[1].id]
    assert got(messages) == [sent[0].id]


async def test_a_change_alone_reaches_the_connection_that_caused_it() -> None:
    harness = Harness(SELECTION)
    alice = harness.join("alice", "laptop")
    await harness.send(change(1))
    await harness.send(record(2))
    assert got(alice) == [change(1).id]


@pytest.mark.parametrize("recent_bytes", [0, 1 << 30], ids=["store", "tail"])
async def test_a_resume_replays_changes_where_they_were_made(recent_bytes: int) -> None:
    harness = Resumption(recent_bytes=recent_bytes, selection=SELECTION)
    sent = [record(1), change(2), record(3), change(4, "reaction"), record(5)]
    harness.accept(*sent)
    harness.tail.advance(sent[-1].id)
    cases: list[tuple[str, dict[str, Any], list[str]]] = [
        ("bob", {}, ["message", "edit", "message", "reaction", "message"]),
        ("bob", {"kinds": frozenset({"edit"})}, ["edit"]),
        ("alice", {}, ["edit", "reaction"]),  # a sender's messages only with echo
    ]
    for user, options, expected in cases:
        plan, transport = await harness.resume(harness.cursor(0), user=user, **options)
        assert plan.recovered
        *frames, last = texts(transport.wire)
        assert [frame["type"] for frame in frames] == expected
        assert last == {"type": "caught_up", "cursor": harness.cursor(sent[-1].id)}


@pytest.mark.parametrize("recent_bytes", [0, 1 << 30], ids=["store", "tail"])
async def test_only_the_kinds_asked_for_count_towards_a_resume(recent_bytes: int) -> None:
    harness = Resumption(recent_bytes=recent_bytes, max_messages=3, selection=SELECTION)
    sent = [record(1), *(change(n) for n in range(2, 12)), record(12), record(13)]
    harness.accept(*sent)
    harness.tail.advance(sent[-1].id)
    plan, _ = await harness.resume(harness.cursor(0))
    assert not plan.recovered
    messages = frozenset({"message"})
    plan, transport = await harness.resume(harness.cursor(0), kinds=messages)
    assert plan.recovered
    assert [frame["type"] for frame in texts(transport.wire)] == ["message"] * 3 + ["caught_up"]


async def test_a_connection_that_falls_behind_is_sent_its_kinds_alone() -> None:
    harness = Resumption(recent_bytes=1 << 30, selection=SELECTION)
    transport = harness.live(capacity=0, kinds=frozenset({"edit"}))
    harness.accept(change(1, text="x" * 90_000))
    await turns(5)
    harness.accept(*(one for n in range(2, 40, 2) for one in (record(n), change(n + 1))))
    transport.drain()
    transport.capacity = None
    await turns()
    transport.drain()
    await turns()
    assert {frame["type"] for frame in texts(transport.wire)} == {"edit"}
    assert len(texts(transport.wire)) == 20
