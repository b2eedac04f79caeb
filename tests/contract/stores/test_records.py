"""Records of every kind are found in one order; changes are in no page of messages."""

from __future__ import annotations

import msgspec
import pytest

from chatsvc.core.ids import MAX_ID, STEP
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record
from chatsvc.storage.ports.message_store import MessageStore
from testkit.records import START, change, record
from tests.contract.support.stored import expect, ids

SIZES = [2, 4, 5, 16, 250]
"""Numbers of participants: a row for each up to 4, by conversation above."""


def people(count: int, first: str = "alice") -> tuple[str, ...]:
    return (first, *(f"user{n:03}" for n in range(1, count)))


def at(number: int) -> int:
    return START + number * STEP


@pytest.mark.parametrize("size", SIZES)
async def test_messages_and_changes_are_found_in_one_order(store: MessageStore, size: int) -> None:
    to = people(size)
    written: list[Record] = [
        change(n, to=to, text=f"change {n}") if n % 3 == 0 else record(n, to=to)
        for n in range(1, 13)
    ]
    assert await store.write(written) == []
    for user in (to[0], to[-1]):
        found = await store.user_records(user, Bounds(100))
        assert ids(found) == [one.id for one in written]
        assert [one.kind for one in found] == [one.kind for one in written]
        assert [one.audience for one in found] == [one.audience for one in written]
        assert [(one.rev, one.sender, one.origin) for one in found] == [
            (one.id, one.sender, one.origin) for one in written
        ]
        assert [msgspec.json.decode(one.body) for one in found] == [
            msgspec.json.decode(one.body) for one in written
        ]
    assert ids(await store.channel_records(written[0].channel, Bounds(100), reader=to[0])) == [
        one.id for one in written
    ]
    assert await store.user_records("mallory", Bounds(100)) == []


@pytest.mark.parametrize("size", SIZES)
async def test_a_record_of_any_kind_is_found_by_its_id(store: MessageStore, size: int) -> None:
    to = people(size)
    written = [record(1, to=to), change(2, to=to), change(3, "read", to=to, target="alice")]
    await store.write(written)
    for one in written:
        found = await store.get_record(one.id)
        assert found is not None
        expect([found], [one])
        assert found.kind == one.kind
    assert await store.get_record(at(4)) is None
    assert await store.get_record(MAX_ID) is None
    await store.write([change(5, "read", to=to, target="alice")])
    assert await store.get_record(at(3)) is None, "a newer one is in its place"


@pytest.mark.parametrize("size", SIZES)
async def test_pages_of_messages_have_no_changes(store: MessageStore, size: int) -> None:
    to = people(size)
    await store.write([record(1, to=to), change(2, to=to), record(3, to=to), change(4, to=to)])
    channel = record(1, to=to).channel
    assert ids(await store.channel_page(channel, Bounds(9))) == [at(1), at(3)]
    assert ids(await store.user_page("alice", Bounds(9))) == [at(1), at(3)]
    assert await store.count_user("alice", Bounds(9)) == 2
    assert await store.count_user_records("alice", Bounds(9)) == 4
    assert await store.get(at(2)) is None
    listed = await store.conversations("alice", before=MAX_ID, limit=9)
    assert [one.last_id for one in listed] == [at(3)]


@pytest.mark.parametrize("newest", [True, False])
@pytest.mark.parametrize("after", [0, 3, 8])
@pytest.mark.parametrize("before", [1, 4, 7, 99])
@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_pages_are_the_range_asked_for(
    store: MessageStore, newest: bool, after: int, before: int, limit: int
) -> None:
    # Conversations of 2 and of 6 in turn, messages and changes in each.
    audiences = (people(2), people(6))
    await store.write(
        [
            (change if n % 4 < 2 else record)(n, to=audiences[n % 2])  # type: ignore[operator]
            for n in range(1, 13)
        ]
    )
    bounds = Bounds(limit, at(after), at(before), newest)

    def expected(numbers: list[int]) -> list[int]:
        inside = [at(n) for n in numbers if after < n < before]
        return inside[-limit:] if newest else inside[:limit]

    every = list(range(1, 13))
    assert ids(await store.user_records("alice", bounds)) == expected(every)
    assert ids(await store.user_records("user005", bounds)) == expected(every[::2])
    assert await store.count_user_records("alice", bounds) == len(expected(every))
    channel = record(1, to=audiences[0]).channel
    assert ids(await store.channel_records(channel, bounds, reader="alice")) == expected(
        every[1::2]
    )


@pytest.mark.parametrize("newest", [True, False])
async def test_a_page_ends_with_the_record_that_passes_its_bytes(
    store: MessageStore, newest: bool
) -> None:
    await store.write([change(n, text="x" * 1000, to=people(5)) for n in range(1, 20)])
    bounds = Bounds(100, newest=newest, max_bytes=2500)
    found = ids(await store.user_records("alice", bounds))
    assert found == [at(n) for n in ((17, 18, 19) if newest else (1, 2, 3))]


@pytest.mark.parametrize("size", [2, 5])
async def test_of_a_latest_kind_the_newest_of_each_target_is_kept(
    store: MessageStore, size: int
) -> None:
    to = people(size)
    await store.write(
        [
            change(1, "read", to=to, target="alice", text="a1"),
            change(2, "read", to=to, target="user001", text="b2"),
            change(3, "read", to=to, target="alice", text="a3"),
            change(4, "edit", to=to, target="alice"),
            change(5, "edit", to=to, target="alice"),
        ]
    )
    assert ids(await store.user_records("alice", Bounds(9))) == [at(n) for n in (2, 3, 4, 5)]
    await store.write([change(6, "read", to=to, target="user001", text="b6")])
    found = await store.user_records("user001", Bounds(9))
    assert ids(found) == [at(n) for n in (3, 4, 5, 6)]
    assert await store.count_user_records("user001", Bounds(9)) == 4


@pytest.mark.parametrize("target", ["a\0b", "\0", '"', "\\", "0", "1e3", "null", "é", "\ufffe"])
async def test_a_target_is_any_text(store: MessageStore, target: str) -> None:
    others = ["a", target + "\0", target + "\0b"]
    await store.write([change(n, "read", target=one) for n, one in enumerate(others, 1)])
    assert await store.write([change(4, "read", target=target, text="older")]) == []
    assert await store.write([change(5, "read", target=target, text="newer")]) == []
    assert ids(await store.user_records("bob", Bounds(9))) == [at(n) for n in (1, 2, 3, 5)]


async def test_another_conversation_has_a_latest_of_its_own(store: MessageStore) -> None:
    await store.write(
        [
            change(1, "read", to=("alice", "bob"), target="alice"),
            change(2, "read", to=("alice", "carol"), target="alice"),
        ]
    )
    assert ids(await store.user_records("alice", Bounds(9))) == [at(1), at(2)]


async def test_an_older_latest_written_again_does_not_return(store: MessageStore) -> None:
    older = change(1, "read", target="alice", text="older")
    newer = change(2, "read", target="alice", text="newer")
    assert await store.write([older]) == []
    assert await store.write([newer]) == []
    assert await store.write([older]) == []
    assert ids(await store.user_records("bob", Bounds(9))) == [at(2)]
    assert await store.write([older, newer]) == []
    assert ids(await store.user_records("bob", Bounds(9))) == [at(2)]


async def test_writing_a_change_again_changes_nothing(store: MessageStore) -> None:
    one = change(1)
    assert await store.write([one, one]) == []
    assert await store.write([one]) == []
    assert ids(await store.user_records("alice", Bounds(9))) == [at(1)]


async def test_messages_and_changes_share_their_ids(store: MessageStore) -> None:
    message, edit = record(1), change(2)
    await store.write([message, edit])
    rejected = await store.write([change(1, text="other"), record(2, "other")])
    assert sorted(one.record.id for one in rejected) == [at(1), at(2)]
    assert {one.code for one in rejected} == {"digest_conflict"}
    assert [one.kind for one in await store.user_records("alice", Bounds(9))] == ["message", "edit"]


async def test_the_head_is_the_highest_record(store: MessageStore) -> None:
    assert await store.head() == 0
    await store.write([record(1)])
    await store.write([change(2)])
    assert await store.head() == at(2)


async def test_a_conversation_that_has_only_changes_is_not_listed(store: MessageStore) -> None:
    for to in (people(2), people(5)):
        await store.write([change(1 + len(to), to=to)])
        assert ids(await store.user_records(to[-1], Bounds(9)))[-1] == at(1 + len(to))
    assert await store.conversations("alice", before=MAX_ID, limit=9) == []


async def test_a_kind_that_the_store_does_not_know_is_rejected(store: MessageStore) -> None:
    (rejected,) = await store.write([change(1, "vote")])
    assert rejected.code == "unknown_kind"
    assert await store.user_records("alice", Bounds(9)) == []


async def test_a_message_that_is_not_for_its_participants_is_rejected(store: MessageStore) -> None:
    whole = record(1, to=people(3))
    (rejected,) = await store.write([msgspec.structs.replace(whole, audience=people(2))])
    assert rejected.code == "audience_mismatch"


@pytest.mark.parametrize("size", [2, 5])
async def test_old_changes_are_deleted_with_old_messages(store: MessageStore, size: int) -> None:
    to = people(size)
    await store.write([record(1, to=to), change(2, to=to), record(3, to=to), change(4, to=to)])
    assert await store.purge(at(2) + 1, limit=1) == 1
    assert await store.purge(at(2) + 1) == 1
    assert await store.purge(at(2) + 1) == 0
    assert ids(await store.user_records("alice", Bounds(9))) == [at(3), at(4)]
    assert await store.purge(at(9)) == 2
    assert await store.user_records("alice", Bounds(9)) == []
    assert await store.conversations("alice", before=MAX_ID, limit=9) == []
