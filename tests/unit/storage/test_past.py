"""What a log is told of client ids that it never knew."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chatsvc.core.ids import id_at, id_ms
from chatsvc.core.record import Record, accept, pack
from chatsvc.log.key_bounds import AHEAD_MS
from chatsvc.storage import past
from chatsvc.storage.past import learn_past
from chatsvc.storage.ports.client_ids import ClientIdAt
from chatsvc.storage.ports.dead_letters import DeadLetter
from testkit.client_ids import uuid7_at
from testkit.memory_store import MemoryStore
from testkit.records import draft
from tests.unit.support.fake_log import FakeLog

NOW = 1_795_000_000_000
YEAR = 365 * 86_400_000


class Asking(FakeLog):
    """Keeps what it is told."""

    past_is_unknown = True

    def __init__(self) -> None:
        super().__init__()
        self.told: tuple[int, list[tuple[str, int]]] | None = None

    def learn_past(self, bound_ms: int, ahead: Sequence[tuple[str, int]]) -> None:
        self.told = bound_ms, list(ahead)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    monkeypatch.setattr(past, "now_ms", lambda: NOW)
    return MemoryStore()


def sent(at_ms: int, sender: str, minted_ms: int | None, number: int = 0) -> Record:
    client_id = "plain" if minted_ms is None else uuid7_at(minted_ms)
    message = draft(sender=sender, to=(sender, "bob"), client_id=client_id)
    return accept(message, id_at(at_ms) + number * 64)


async def told(store: MemoryStore) -> tuple[int, list[tuple[str, int]]]:
    log = Asking()
    await learn_past(log, store)
    assert log.told is not None
    return log.told


async def test_a_log_that_knows_its_past_asks_nothing(store: MemoryStore) -> None:
    store.away = True
    await learn_past(FakeLog(), store)


async def test_an_empty_store(store: MemoryStore) -> None:
    assert await told(store) == (0, [])


async def test_the_newest_bounds_what_is_not_ahead_of_it(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "client_ids_above", None)  # there is no need to read on
    ahead = sent(NOW - 5000, "anna", NOW + YEAR)
    usual = sent(NOW, "cleo", NOW)
    store.records = {one.id: one for one in (ahead, usual)}
    assert await told(store) == (NOW + AHEAD_MS, [("anna", NOW + YEAR)])


async def test_ids_that_are_ahead_of_the_clock_bound_only_who_was_ahead(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock was a year ahead once; some clients went by it, and a letter's did."""
    monkeypatch.setattr(past, "_AT_ONCE", 2)
    clock = NOW + YEAR
    records = [
        sent(NOW - 5000, "anna", NOW + YEAR + 60_000),  # listed as minted ahead of its id
        sent(clock, "bert", clock),
        sent(clock, "bert", clock - 9000, 1),
        sent(clock, "cleo", NOW + AHEAD_MS, 2),
        sent(clock, "dora", NOW + AHEAD_MS + 1, 3),
        sent(clock, "emil", None, 4),
        accept(draft(sender="gina", to=("gina", "bob")), id_at(clock) + 6 * 64),
    ]
    store.records = {one.id: one for one in records}
    aside = sent(clock, "fred", clock - 1, 5)
    damaged = DeadLetter(aside.id + 64, "code", "reason", 1, b"no record")
    store.letters.held = {
        aside.id: DeadLetter(aside.id, "code", "reason", 1, pack(aside)),
        damaged.id: damaged,
    }
    assert await told(store) == (
        NOW + AHEAD_MS,
        [
            ("anna", NOW + YEAR + 60_000),
            ("bert", clock),
            ("fred", clock - 1),
            ("dora", NOW + AHEAD_MS + 1),
        ],
    )


async def test_of_very_many_senders_the_latest_are_told(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "SENDERS", 2)
    clock = NOW + YEAR
    records = [sent(clock, f"u{n}", clock - n * 7 % 31, n) for n in range(31)]
    store.records = {one.id: one for one in records}
    bound, ahead = await told(store)
    assert bound == NOW + AHEAD_MS
    assert [minted_ms for _, minted_ms in ahead] == [clock, clock - 1, clock - 2]


async def test_of_too_many_messages_the_newest_bounds_all(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "MAX_READ", 9)
    clock = NOW + YEAR
    for count in (9, 10):
        records = [sent(clock, "bert", NOW, n) for n in range(count)]
        store.records = {one.id: one for one in records}
        newest_ms = id_ms(max(store.records))
        expected = NOW if count == 9 else newest_ms
        assert await told(store) == (expected + AHEAD_MS, [])


async def test_those_that_are_ahead_begin_with_the_next_millisecond(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "MAX_READ", 1)
    first = accept(draft(client_id=uuid7_at(NOW + AHEAD_MS + 1)), id_at(NOW + 1))
    before = [accept(draft(), id_at(NOW)), accept(draft(), first.id - 1)]
    store.records = {one.id: one for one in [*before, first]}
    # Of those that are ahead there is one, which is not too many.
    assert await told(store) == (NOW + AHEAD_MS, [("alice", NOW + AHEAD_MS + 1)])


async def test_what_is_ahead_is_read_page_by_page(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "_AT_ONCE", 2)
    asked: list[int] = []
    above = store.client_ids_above

    async def client_ids_above(after: int, limit: int) -> Sequence[ClientIdAt]:
        asked.append(limit)
        return await above(after, limit)

    monkeypatch.setattr(store, "client_ids_above", client_ids_above)
    clock = NOW + YEAR
    sent_ahead = [sent(clock, f"u{n}", clock - n, n) for n in range(3)]
    store.records = {one.id: one for one in sent_ahead}
    aside = sent(clock, "aside", clock - 9, 5)
    store.letters.held = {aside.id: DeadLetter(aside.id, "code", "reason", 1, pack(aside))}
    senders = [("u0", clock), ("u1", clock - 1), ("u2", clock - 2), ("aside", clock - 9)]
    assert await told(store) == (NOW + AHEAD_MS, senders)
    assert asked == [2, 2, 2]
