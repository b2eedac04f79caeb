"""Messages, changes and dead letters are found by their client ids."""

from __future__ import annotations

import msgspec
import pytest

from chatsvc.core.ids import MAX_ID, STEP, id_at, id_ms
from chatsvc.core.record import Record, accept
from chatsvc.log.key_bounds import AHEAD_MS
from chatsvc.storage.dead_letters import DeadLetterAdmin
from chatsvc.storage.ports.dead_letters import DeadLetter
from chatsvc.storage.ports.message_store import MessageStore
from testkit.client_ids import uuid7_at
from testkit.records import START, change, draft, record
from tests.contract.support.stored import letter

FAR_MS = id_ms(MAX_ID)
"""After everything."""


async def test_the_first_message_of_a_client_id_is_found(store: MessageStore) -> None:
    await store.write(
        [
            record(1, "other", sender="bob", client_id="k"),
            record(2, "elsewhere", to=("alice", "carol"), client_id="k"),
            record(3, "first", client_id="k"),
            record(4, "second", client_id="k"),
            record(5),
        ]
    )
    found = START + 3 * STEP, record(3, "first").digest
    assert await store.find_client_id("alice", "alice,bob", "k") == found
    later = (START + 4 * STEP, record(4, "second").digest)
    assert await store.find_client_id("alice", "alice,bob", "k", after=found[0] - 1) == found
    assert await store.find_client_id("alice", "alice,bob", "k", after=found[0]) == later
    assert await store.find_client_id("alice", "alice,bob", "k", after=later[0]) is None
    assert await store.find_client_id("alice", "alice,bob", "k", after=MAX_ID) is None
    assert await store.find_client_id("alice", "alice,bob", "K") is None
    assert await store.find_client_id("carol", "alice,carol", "k") is None


async def test_a_client_id_is_found_from_the_lowest_id_on(store: MessageStore) -> None:
    first = accept(draft(client_id="k"), 1)
    await store.write([first])
    assert await store.find_client_id("alice", "alice,bob", "k") == (1, first.digest)


async def test_a_client_id_is_found_among_the_dead_letters(store: MessageStore) -> None:
    aside = [record(2, "aside", client_id="k"), record(5, "second", client_id="j"), record(6)]
    await store.write([record(1), record(3, "stored", client_id="j")])
    await store.dead_letters.put([letter(one) for one in aside])
    of = ("alice", "alice,bob")
    assert await store.find_client_id(*of, "k") == (aside[0].id, aside[0].digest)
    assert await store.find_client_id(*of, "k", dead_letters=False) is None
    assert await store.find_client_id(*of, "k", after=aside[0].id) is None
    assert await store.find_client_id("bob", "alice,bob", "k") is None
    first = (START + 3 * STEP, record(3, "stored").digest)
    assert await store.find_client_id(*of, "j") == first
    second = (aside[1].id, aside[1].digest)
    assert await store.find_client_id(*of, "j", after=first[0]) == second
    await store.write([aside[0]])  # replayed, and not dropped yet
    assert await store.find_client_id(*of, "k") == (aside[0].id, aside[0].digest)
    await store.dead_letters.drop([one.id for one in aside])
    assert await store.find_client_id(*of, "k") == (aside[0].id, aside[0].digest)
    assert await store.find_client_id(*of, "j") == first


async def test_a_letter_that_is_no_record_has_no_key(store: MessageStore) -> None:
    await store.dead_letters.put([DeadLetter(START, "damaged", "why", 1, b"no record")])
    assert await store.past_client_ids(limit=5, since_ms=FAR_MS) == (0, [])
    assert await store.dead_letters.count() == 1


async def test_what_a_new_log_must_know_of_client_ids(store: MessageStore) -> None:
    assert await store.past_client_ids(limit=5, since_ms=FAR_MS) == (0, [])
    ms = id_ms(START)
    far = ms + 1_000_000
    ahead = [
        record(1, client_id=uuid7_at(far + 1)),
        record(2, client_id=uuid7_at(far + 7)),
        record(3, client_id=uuid7_at(far + 3)),
        record(4, client_id=uuid7_at(far + 5), sender="bob"),
        record(5, client_id=uuid7_at(far + 4), to=("carol", "bob")),
    ]
    usual = [
        record(6, client_id=uuid7_at(ms + AHEAD_MS), to=("dora", "bob")),
        record(7, client_id=uuid7_at(0), to=("dora", "bob")),
        record(8, client_id="another string", to=("dora", "bob")),
        record(9),
    ]
    await store.write([*ahead, *usual])
    newest = id_ms(START + 9 * STEP)
    expected = [("alice", far + 7), ("bob", far + 5), ("carol", far + 4)]
    assert await store.past_client_ids(limit=5, since_ms=far) == (newest, expected)
    assert await store.past_client_ids(limit=2, since_ms=far) == (newest, expected[:2])
    put = record(12, client_id=uuid7_at(far + 6), sender="bob")
    await store.dead_letters.put([letter(put)])
    expected[1] = ("bob", far + 6)
    assert await store.past_client_ids(limit=5, since_ms=far) == (id_ms(put.id), expected)
    later = accept(draft("late"), id_at(far + 6 - AHEAD_MS))  # what is not after it is bounded
    await store.write([later])
    assert await store.past_client_ids(limit=5, since_ms=far + 6) == (
        id_ms(later.id),
        [("alice", far + 7)],
    )
    # Asked for more, because the newest is ahead of a clock: all that are listed.
    found = await store.past_client_ids(limit=5, since_ms=ms - AHEAD_MS - 1)
    assert found == (id_ms(later.id), expected)


async def test_the_latest_minted_ahead_come_first(store: MessageStore) -> None:
    far = id_ms(START) + 1_000_000
    minted = {"zoe": far + 9, "dora": far + 2, "carol": far + 2, "eve": far + 2, "yan": far + 7}
    ahead = [
        record(number, client_id=uuid7_at(ms), to=(sender, "bob"))
        for number, (sender, ms) in enumerate(minted.items(), 1)
    ]
    await store.write(ahead[:3])
    await store.dead_letters.put([letter(one) for one in ahead[3:]])
    _, listed = await store.past_client_ids(limit=9, since_ms=far)
    assert listed == sorted(minted.items(), key=lambda one: (-one[1], one[0]))
    _, listed = await store.past_client_ids(limit=2, since_ms=far)
    assert listed == [("zoe", far + 9), ("yan", far + 7)]


async def test_the_newest_under_a_client_id_may_be_a_letter(store: MessageStore) -> None:
    def at(ms: int, client_id: str | None) -> Record:
        return accept(draft(client_id=client_id), id_at(id_ms(START) + ms))

    await store.write([at(1, "stored")])
    await store.dead_letters.put([letter(at(3, "aside")), letter(at(5, "later"))])
    # A letter under none, and one that is no record, tell nothing of client ids.
    damaged = DeadLetter(at(9, None).id, "damaged", "why", 1, b"no record")
    await store.dead_letters.put([letter(at(7, None)), damaged])
    newest_ms, listed = await store.past_client_ids(limit=5, since_ms=FAR_MS)
    assert (newest_ms - id_ms(START), listed) == (5, [])
    await store.write([at(11, None)])
    newest_ms, listed = await store.past_client_ids(limit=5, since_ms=FAR_MS)
    assert (newest_ms - id_ms(START), listed) == (11, [])


async def test_client_ids_can_be_read_in_order(store: MessageStore) -> None:
    assert await store.client_ids_above(0, 5) == []
    sent = [record(1, client_id="b"), record(2), record(3, client_id="A", sender="bob")]
    await store.write(sent)
    await store.dead_letters.put([letter(record(4, client_id="aside"))])
    expected = [(one.id, one.sender, one.client_id) for one in sent]
    assert await store.client_ids_above(0, 5) == expected
    assert await store.client_ids_above(0, 2) == expected[:2]
    assert await store.client_ids_above(sent[0].id, 5) == expected[1:]
    assert await store.client_ids_above(MAX_ID, 5) == []


@pytest.mark.parametrize("to", [("alice", "bob"), ("alice", "bob", "carol", "dora", "eve")])
async def test_a_change_is_found_by_its_client_id(store: MessageStore, to: tuple[str, ...]) -> None:
    edits = [change(n, to=to, client_id="k", text=f"edit {n}") for n in (1, 4)]
    message = record(2, to=to, client_id="k")
    await store.write([edits[0], message, change(3, to=to), edits[1]])
    first, second, third = ((one.id, one.digest) for one in (edits[0], message, edits[1]))
    key = "alice", message.channel, "k"
    assert await store.find_client_id(*key) == first
    assert await store.find_client_id(*key, dead_letters=False) == first
    assert await store.find_client_id(*key, after=first[0]) == second
    assert await store.find_client_id(*key, after=second[0]) == third
    assert await store.find_client_id(*key, after=third[0]) is None
    assert await store.find_client_id("bob", message.channel, "k") is None
    assert await store.find_client_id("alice", "alice,zoe", "k") is None
    assert await store.find_client_id("alice", message.channel, "j") is None


async def test_of_a_latest_kind_the_newest_is_found(store: MessageStore) -> None:
    older, newer = (change(n, "read", target="alice", client_id=f"k{n}") for n in (1, 2))
    await store.write([older])
    assert await store.find_client_id("alice", "alice,bob", "k1") == (older.id, older.digest)
    await store.write([newer])
    assert await store.find_client_id("alice", "alice,bob", "k1") is None
    assert await store.find_client_id("alice", "alice,bob", "k2") == (newer.id, newer.digest)


async def test_a_change_is_found_once_its_letter_was_replayed(store: MessageStore) -> None:
    edit = change(1, client_id=uuid7_at(id_ms(START)))
    assert edit.client_id is not None
    key = "alice", "alice,bob", edit.client_id
    await store.dead_letters.put([letter(edit)])
    assert await store.find_client_id(*key) == (edit.id, edit.digest)
    (outcome,) = await DeadLetterAdmin(store).replay()
    assert outcome.stored
    assert await store.find_client_id(*key) == (edit.id, edit.digest)


async def test_what_a_new_log_must_know_of_the_client_ids_of_changes(store: MessageStore) -> None:
    far = id_ms(START) + 1_000_000
    await store.write([record(1, client_id=uuid7_at(far + 2))])
    edits = [
        change(2, client_id=uuid7_at(far + 3)),
        change(3, client_id=uuid7_at(far + 1), sender="bob"),
        change(4, client_id=uuid7_at(far + 5), to=("carol", "bob")),
        change(5, "read", client_id=uuid7_at(far + 4), to=("dora", "bob")),
        msgspec.structs.replace(change(6), id=id_at(id_ms(START) + 9)),
    ]
    await store.write(edits)
    expected = [("carol", far + 5), ("dora", far + 4), ("alice", far + 3), ("bob", far + 1)]
    newest_ms = id_ms(START) + 9
    assert await store.past_client_ids(limit=9, since_ms=far) == (newest_ms, expected)
    assert await store.past_client_ids(limit=2, since_ms=far) == (newest_ms, expected[:2])


async def test_the_client_ids_of_changes_are_read_among_those_of_messages(
    store: MessageStore,
) -> None:
    sent = [
        change(1, client_id="a"),
        record(2, client_id="b"),
        change(3, sender="bob"),
        change(4, "read", client_id="c"),
        record(5),
    ]
    await store.write(sent)
    expected = [(one.id, one.sender, one.client_id) for one in sent]
    assert await store.client_ids_above(0, 9) == expected
    assert await store.client_ids_above(0, 3) == expected[:3]
    assert await store.client_ids_above(sent[0].id, 2) == expected[1:3]
    assert await store.client_ids_above(sent[3].id, 9) == expected[4:]
