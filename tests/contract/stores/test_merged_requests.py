"""Records that several requests became are found by the key of each, as by their own."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from chatsvc.core.ids import MAX_ID, id_at, id_ms
from chatsvc.core.membership import RequestKey
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record
from chatsvc.log.base import StoreAttachment
from chatsvc.log.reconcile import StoreState
from chatsvc.storage.dead_letters import DeadLetterAdmin
from chatsvc.storage.past import learn_past
from chatsvc.storage.ports.client_ids import ClientIdAt
from chatsvc.storage.ports.message_store import MessageStore
from testkit.client_ids import uuid7_at
from testkit.groups import GROUP, at, group_change, group_message, joined
from testkit.records import change, other_kind, record
from tests.contract.support.stored import letter

FAR_MS = id_ms(MAX_ID)


def merged(of: Record, *requests: tuple[str, str]) -> Record:
    """The record, as these requests (sender, ``client_id``) became it; digests tell them apart."""
    keys = tuple(RequestKey(*one, f"{one[0]}/{one[1]}".encode()) for one in requests)
    return msgspec.structs.replace(of, keys=keys)


def joins(number: int, *users: str, channel: str = GROUP) -> Record:
    """So many joins in one record, each under the ``client_id`` ``k``."""
    return merged(joined(number, *users, channel=channel), *((user, "k") for user in users))


async def expect(store: MessageStore, of: Record, *requests: tuple[str, str]) -> None:
    """The record is the first under each of these keys."""
    for sender, client_id in requests:
        found = await store.find_client_id(sender, of.channel, client_id)
        assert found == (of.id, f"{sender}/{client_id}".encode()), (sender, client_id)


async def test_a_record_is_found_by_each_of_its_requests(store: MessageStore) -> None:
    one = joins(3, "alice", "bob")
    assert await store.write([group_message(1), record(2, client_id="k"), one, record(4)]) == []
    await expect(store, one, ("alice", "k"), ("bob", "k"))
    assert await store.find_client_id("carol", GROUP, "k") is None
    assert await store.find_client_id("alice", GROUP, "K") is None
    assert await store.find_client_id("alice", ",g:Team", "k") is None
    assert await store.find_client_id("alice", "alice,bob", "k") == (
        at(2),
        record(2, client_id="k").digest,
    )


async def test_requests_are_told_apart_by_sender_and_client_id_together(
    store: MessageStore,
) -> None:
    one = merged(group_change(1), ("alice", "a"), ("bob", "b"))
    await store.write([one])
    assert await store.find_client_id("alice", GROUP, "b") is None
    assert await store.find_client_id("bob", GROUP, "a") is None
    await expect(store, one, ("alice", "a"), ("bob", "b"))


async def test_the_same_client_id_in_another_channel_is_another_key(store: MessageStore) -> None:
    here, there = joins(1, "alice"), joins(2, "alice", channel=",g:other")
    await store.write([here, there])
    await expect(store, here, ("alice", "k"))
    await expect(store, there, ("alice", "k"))


async def test_one_sender_may_have_several_requests_in_a_record(store: MessageStore) -> None:
    one = merged(group_change(1), ("alice", "a"), ("alice", "b"), ("alice", "a"))
    await store.write([one])
    await expect(store, one, ("alice", "a"), ("alice", "b"))


async def test_a_key_that_is_there_twice_has_the_digest_that_the_log_has(
    store: MessageStore,
) -> None:
    keys = (RequestKey("alice", "k", b"1"), RequestKey("alice", "k", b"2"))
    one = msgspec.structs.replace(group_change(1), keys=keys)
    await store.write([one])
    await store.dead_letters.put([letter(msgspec.structs.replace(one, id=at(2)))])
    assert await store.find_client_id("alice", GROUP, "k") == (one.id, b"2")
    assert await store.find_client_id("alice", GROUP, "k", after=one.id) == (at(2), b"2")


async def test_requests_are_found_above_an_id(store: MessageStore) -> None:
    first, second = joins(1, "alice"), joins(5, "alice", "bob")
    single = msgspec.structs.replace(group_change(3), sender="alice", client_id="k", digest=b"3")
    await store.write([first, group_message(2), single, group_message(4), second])
    key = ("alice", GROUP, "k")
    await expect(store, first, ("alice", "k"))
    assert await store.find_client_id(*key, after=first.id - 1) == (first.id, b"alice/k")
    assert await store.find_client_id(*key, after=first.id) == (single.id, single.digest)
    assert await store.find_client_id(*key, after=single.id) == (second.id, b"alice/k")
    assert await store.find_client_id(*key, after=second.id) is None
    assert await store.find_client_id(*key, after=MAX_ID) is None


async def test_a_record_has_its_own_client_id_beside_its_requests(store: MessageStore) -> None:
    one = merged(record(1, client_id="own"), ("bob", "k"))
    await store.write([one])
    assert await store.find_client_id("alice", "alice,bob", "own") == (one.id, one.digest)
    await expect(store, one, ("bob", "k"))


async def test_a_batch_of_which_a_part_was_stored_is_stored_again(store: MessageStore) -> None:
    batch = [joins(1, "alice"), group_message(2), joins(3, "bob", "carol"), joins(4, "dave")]
    await store.write(batch[:2])
    for _ in range(2):
        assert await store.write(batch) == []
    await expect(store, batch[0], ("alice", "k"))
    await expect(store, batch[2], ("bob", "k"), ("carol", "k"))
    await expect(store, batch[3], ("dave", "k"))


async def test_a_hundred_requests_are_one_record(store: MessageStore) -> None:
    users = [f"user {at:03}" for at in range(100)]
    one = joins(1, *users)
    assert await store.write([one]) == []
    await expect(store, one, *((user, "k") for user in users))
    page = await store.channel_records(GROUP, Bounds(5), reader=users[7])
    assert [entry.body for entry in page] == [one.body]
    found = await store.get_record(one.id)
    assert found is not None
    assert found.body == one.body
    scanned = await store.scan(0, MAX_ID, 5, 1 << 20)
    assert [(record.body, record.keys) for record in scanned] == [(one.body, ())]


async def test_requests_go_with_a_record_of_a_latest_kind(store: MessageStore) -> None:
    older = merged(group_change(1, "read", target="x"), ("alice", "a"))
    newer = merged(group_change(2, "read", target="x"), ("alice", "b"))
    late = merged(group_change(1, "read", target="x"), ("alice", "c"))
    await store.write([older])
    await expect(store, older, ("alice", "a"))
    await store.write([newer])
    assert await store.find_client_id("alice", GROUP, "a") is None
    await store.write([late])
    assert await store.find_client_id("alice", GROUP, "c") is None
    await expect(store, newer, ("alice", "b"))


async def test_what_is_rejected_leaves_no_requests_until_it_is_a_letter(
    store: MessageStore,
) -> None:
    refused = merged(other_kind(1, "unheard-of"), ("alice", "k"), ("bob", "k"))
    good = joins(2, "carol")
    assert [one.record for one in await store.write([refused, good])] == [refused]
    await expect(store, good, ("carol", "k"))
    key = ("bob", refused.channel, "k")
    assert await store.find_client_id(*key) is None
    await store.dead_letters.put([letter(refused)])
    await expect(store, refused, ("alice", "k"), ("bob", "k"))
    assert await store.find_client_id(*key, dead_letters=False) is None


async def test_a_record_whose_id_is_taken_leaves_no_requests(store: MessageStore) -> None:
    await store.write([group_message(1), group_change(2)])
    (first,) = await store.write([joins(1, "alice")])
    (second,) = await store.write([merged(group_change(2, text="y"), ("bob", "k"))])
    assert {first.code, second.code} == {"digest_conflict"}
    for user in ("alice", "bob"):
        assert await store.find_client_id(user, GROUP, "k") is None


async def test_a_letter_is_found_by_its_requests_until_it_is_dropped(store: MessageStore) -> None:
    one, other = joins(3, "alice", "bob"), joins(5, "alice")
    for _ in range(2):
        await store.dead_letters.put([letter(one), letter(other)])
    await expect(store, one, ("alice", "k"), ("bob", "k"))
    key = ("alice", GROUP, "k")
    assert await store.find_client_id(*key, dead_letters=False) is None
    assert await store.find_client_id(*key, after=one.id) == (other.id, b"alice/k")
    assert await store.find_client_id("alice", ",g:other", "k") is None
    assert await store.dead_letters.drop([one.id]) == 1
    await expect(store, other, ("alice", "k"))
    assert await store.find_client_id("bob", GROUP, "k") is None


async def test_a_letter_in_the_place_of_another_has_its_requests(store: MessageStore) -> None:
    await store.dead_letters.put([letter(joins(1, "alice"))])
    await store.dead_letters.put([letter(joins(1, "bob"))])
    assert await store.find_client_id("alice", GROUP, "k") is None
    await expect(store, joins(1, "bob"), ("bob", "k"))


async def test_a_letter_that_is_replayed_keeps_its_requests(store: MessageStore) -> None:
    one = joins(1, "alice", "bob")
    await store.dead_letters.put([letter(one)])
    (outcome,) = await DeadLetterAdmin(store).replay()
    assert outcome.stored
    for dead_letters in (True, False):
        found = await store.find_client_id("bob", GROUP, "k", dead_letters=dead_letters)
        assert found == (one.id, b"bob/k")


@pytest.mark.parametrize("counted", [True, False], ids=["a message", "a change"])
async def test_requests_are_deleted_with_their_record(store: MessageStore, counted: bool) -> None:
    make = group_message if counted else group_change
    old, kept = merged(make(1), ("alice", "k"), ("bob", "k")), merged(make(2), ("bob", "k"))
    put_aside = joins(1, "carol")
    await store.write([old, kept])
    await expect(store, old, ("alice", "k"), ("bob", "k"))
    await store.dead_letters.put([letter(put_aside)])
    while await store.purge(kept.id):
        pass
    assert await store.find_client_id("alice", GROUP, "k") is None
    await expect(store, kept, ("bob", "k"))
    await expect(store, put_aside, ("carol", "k"))
    while await store.purge(MAX_ID):
        pass
    assert await store.find_client_id("bob", GROUP, "k") is None
    assert await store.write([kept]) == [], "it may come again, as after a restore"
    await expect(store, kept, ("bob", "k"))


async def test_a_purge_with_many_requests_takes_all_in_the_end(store: MessageStore) -> None:
    requests = [(f"user {at}", "k") for at in range(100)]
    await store.write([merged(group_change(number), *requests) for number in range(1, 151)])
    taken: list[int] = []
    while count := await store.purge(at(150)):
        taken.append(count)
    assert sum(taken) == 149
    assert await store.find_client_id("user 7", GROUP, "k") == (at(150), b"user 7/k")


async def test_client_ids_are_read_with_those_of_requests(store: MessageStore) -> None:
    sent = [
        record(1, client_id="own"),
        merged(group_change(2), ("bob", "b"), ("carol", "c")),
        record(3),
        merged(change(4, client_id="d"), ("bob", "e")),
    ]
    await store.write(sent)
    await store.dead_letters.put([letter(joins(5, "alice"))])
    expected = [
        [(at(1), "alice", "own")],
        [(at(2), "alice", None), (at(2), "bob", "b"), (at(2), "carol", "c")],
        [(at(3), "alice", None)],
        [(at(4), "alice", "d"), (at(4), "bob", "e")],
    ]
    for after, limit in ((0, 9), (0, 2), (1, 1), (1, 2), (3, 9), (4, 9)):
        found = await store.client_ids_above(at(after) if after else 0, limit)
        page = [ClientIdAt(*one) for part in expected[after : after + limit] for one in part]
        assert sorted(found, key=str) == sorted(page, key=str)
        assert [one.id for one in found] == sorted(one.id for one in found)


async def test_the_past_has_the_requests_that_were_minted_ahead(store: MessageStore) -> None:
    far = id_ms(at(9)) + 1_000_000
    stored = merged(
        group_change(1),
        ("alice", uuid7_at(far + 2)),
        ("bob", uuid7_at(far + 7)),
        ("bob", uuid7_at(far + 3)),
        ("carol", uuid7_at(id_ms(at(1)))),
        ("dave", "no UUIDv7"),
    )
    said = merged(group_message(2), ("carol", uuid7_at(far + 5)))
    await store.write([stored, said])
    expected = [("bob", far + 7), ("carol", far + 5), ("alice", far + 2)]
    newest_ms = id_ms(at(2))
    assert await store.past_client_ids(limit=9, since_ms=far) == (newest_ms, expected)
    assert await store.past_client_ids(limit=2, since_ms=far) == (newest_ms, expected[:2])
    put_aside = merged(group_change(4), ("alice", uuid7_at(far + 9)), ("erin", "x"))
    await store.dead_letters.put([letter(put_aside)])
    assert await store.past_client_ids(limit=9, since_ms=far) == (
        id_ms(put_aside.id),
        [("alice", far + 9), *expected[:2]],
    )


async def test_a_new_log_learns_of_requests_in_records_ahead_of_the_clock(
    store: MessageStore,
) -> None:
    """The clock was wrong once: the senders of what was accepted then have their own bounds."""
    ahead = id_at(id_ms(MAX_ID) // 2)
    minted = uuid7_at(id_ms(ahead))
    stored = msgspec.structs.replace(merged(group_change(1), ("bob", minted)), id=ahead)
    put_aside = msgspec.structs.replace(merged(group_change(1), ("carol", minted)), id=ahead + 1)
    await store.write([stored])
    await store.dead_letters.put([letter(put_aside)])
    log = Learning()
    await learn_past(log, store)
    assert sorted(log.ahead) == [("bob", id_ms(ahead)), ("carol", id_ms(ahead))]


class Learning(StoreAttachment):
    """Remembers what it is told of the past."""

    ahead: Sequence[tuple[str, int]] = ()
    attached_store = None
    store_from = 0
    past_is_unknown = True

    async def attach_store(self, store: StoreState) -> None:
        raise AssertionError("nothing is attached here")

    def learn_past(self, bound_ms: int, ahead: Sequence[tuple[str, int]]) -> None:
        self.ahead = ahead
