"""Group commit: what arrives while a write is under way shares the next one."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from chatsvc.core.errors import Conflict, LogUnavailable
from chatsvc.core.ids import format_id
from chatsvc.core.record import Draft
from chatsvc.log import group_commit as commit
from chatsvc.log.base import Appended
from chatsvc.log.group_commit import COMMIT_RECORDS, Done
from testkit.drafts import draft
from tests.unit.support.commit_disk import Disk, turn


@pytest.fixture
async def disk() -> Disk:
    return Disk()


async def test_what_arrives_in_one_turn_shares_a_commit(disk: Disk) -> None:
    futures = [disk.commit.append(draft(str(at))) for at in range(5)]
    assert disk.batches == []
    await turn()
    assert [len(batch) for batch in disk.batches] == [5]
    records = disk.finish()
    assert [(await future).id for future in futures] == [entry.id for entry in records]


async def test_what_arrives_meanwhile_goes_into_the_next_in_order(disk: Disk) -> None:
    first = disk.commit.append(draft("0"))
    await turn()
    rest = [disk.commit.append(draft(str(at))) for at in range(1, 4)]
    await turn()
    assert len(disk.batches) == 1
    disk.finish()
    assert [len(batch) for batch in disk.batches] == [1, 3], "it starts before anybody is told"
    disk.finish()
    ids = [(await future).id for future in [first, *rest]]
    assert ids == sorted(ids)
    bodies = [msgspec.json.decode((await future).body)["content"] for future in [first, *rest]]
    assert bodies == ["0", "1", "2", "3"]


async def test_a_commit_is_bounded_and_the_rest_follows(disk: Disk) -> None:
    futures = [disk.commit.append(draft(str(at))) for at in range(COMMIT_RECORDS + 10)]
    await turn()
    disk.finish()
    disk.finish()
    assert [len(batch) for batch in disk.batches] == [COMMIT_RECORDS, 10]
    ids = [(await future).id for future in futures]
    assert ids == sorted(set(ids))
    sizes = [len(one.rest) for batch in disk.batches for one in batch]
    assert disk.sizes == sizes
    assert disk.backlog.total == sum(sizes), "what is durable counts until it is stored"


async def test_bytes_bound_a_commit_too(disk: Disk) -> None:
    for at in range(80):
        disk.commit.append(draft(str(at) + "x" * 100_000))
    await turn()
    assert 1 < len(disk.batches[0]) < 80
    while disk.is_writing:
        disk.finish()
    assert sum(len(batch) for batch in disk.batches) == 80


@pytest.mark.parametrize(("beyond", "together"), [(0, 2), (1, 3)])
async def test_a_commit_is_full_once_it_has_so_many_bytes(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, beyond: int, together: int
) -> None:
    monkeypatch.setattr(commit, "COMMIT_BYTES", 2 * len(draft().rest) + beyond)
    for _ in range(4):
        disk.commit.append(draft())
    await turn()
    assert [len(batch) for batch in disk.batches] == [together]


async def test_the_record_is_readable_before_the_future_resolves(disk: Disk) -> None:
    future = disk.commit.append(draft())
    future.add_done_callback(lambda _: disk.events.append("resolved"))
    await turn()
    disk.finish()
    await turn()
    assert disk.events == ["accepted", "resolved"]


async def test_both_copies_in_flight_are_one_record(disk: Disk) -> None:
    first = disk.commit.append(draft("x", client_id="k"))
    second = disk.commit.append(draft("x", client_id="k"))
    await turn()
    third = disk.commit.append(draft("x", client_id="k"))
    assert [len(batch) for batch in disk.batches] == [1]
    assert not second.done(), "a duplicate waits as the first does"
    (record,) = disk.finish()
    assert await first == Appended(record.id, record.body, False)
    assert await second == Appended(record.id, record.body, True)
    assert await third == Appended(record.id, record.body, True)
    assert await disk.commit.append(draft("x", client_id="k")) == await second
    assert disk.commit.repeats == 3


async def test_the_same_key_with_another_content_is_a_conflict_that_names_the_first(
    disk: Disk,
) -> None:
    disk.commit.append(draft("x", client_id="k"))
    early = disk.commit.append(draft("y", client_id="k"))
    await turn()
    assert not early.done()
    (record,) = disk.finish()
    late = disk.commit.append(draft("z", client_id="k"))
    for future in (early, late):
        with pytest.raises(Conflict, match="client_id must not be used again") as raised:
            await future
        assert raised.value.extra == {"id": format_id(record.id)}


async def test_a_key_is_of_its_sender_and_conversation(disk: Disk) -> None:
    drafts = [
        draft("x", client_id="k"),
        draft("x", client_id="k", sender="bob", to=("alice",)),
        draft("x", client_id="k", to=("carol",)),
        draft("x"),
        draft("x"),
    ]
    futures = [disk.commit.append(entry) for entry in drafts]
    await turn()
    disk.finish()
    assert len({(await future).id for future in futures}) == 5


async def test_a_failed_write_fails_all_of_it_and_nothing_is_remembered(disk: Disk) -> None:
    lost = [disk.commit.append(draft("x", client_id="k")), disk.commit.append(draft("y"))]
    follower = disk.commit.append(draft("x", client_id="k"))
    await turn()
    waiting = disk.commit.append(draft("z"))
    disk.fail()
    for future in [*lost, follower]:
        with pytest.raises(LogUnavailable):
            await future
    assert disk.events == []
    assert not disk.commit.in_flight(("alice", "alice,bob", "k"))
    disk.finish()
    assert (await waiting).id
    again = disk.commit.append(draft("x", client_id="k"))
    await turn()
    disk.finish()
    assert not (await again).duplicate


async def test_a_batch_that_cannot_even_begin_fails_and_the_next_goes_on(disk: Disk) -> None:
    def raises(drafts: list[Draft], done: Done) -> None:
        disk.commit._write = disk.write
        raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")

    disk.commit._write = raises
    lost = disk.commit.append(draft("x"))
    with pytest.raises(LogUnavailable, match="the log cannot write"):
        await asyncio.wait_for(lost, 10)
    kept = disk.commit.append(draft("y"))
    await turn()
    disk.finish()
    assert (await kept).id


async def test_a_caller_that_goes_away_takes_nobody_with_it(disk: Disk) -> None:
    gone = disk.commit.append(draft("x", client_id="k"))
    follower = disk.commit.append(draft("x", client_id="k"))
    neighbour = disk.commit.append(draft("y"))
    await turn()
    gone.cancel()
    first, second = disk.finish()
    assert (await neighbour).id == second.id
    assert await follower == Appended(first.id, first.body, True)
    assert (await disk.commit.append(draft("x", client_id="k"))).id == first.id


async def test_a_caller_that_leaves_the_queue_is_written_all_the_same(disk: Disk) -> None:
    disk.commit.append(draft("0"))
    await turn()
    disk.commit.append(draft("x", client_id="k")).cancel()
    disk.finish()
    (record,) = disk.finish()
    assert (await disk.commit.append(draft("x", client_id="k"))).id == record.id


async def test_a_refusal_keeps_nothing_but_answers_what_is_known(disk: Disk) -> None:
    known = disk.commit.append(draft("x", client_id="k"))
    await turn()
    disk.finish()
    disk.refusal = LogUnavailable("no room", code="disk_full")
    with pytest.raises(LogUnavailable, match="no room"):
        await disk.commit.append(draft("y", client_id="other"))
    assert (await disk.commit.append(draft("x", client_id="k"))).id == (await known).id
    assert not disk.commit.in_flight(("alice", "alice,bob", "other"))
    disk.refusal = None
    later = disk.commit.append(draft("y", client_id="other"))
    await turn()
    disk.finish()
    assert not (await later).duplicate


async def test_drained_waits_for_what_is_queued_and_what_is_written(disk: Disk) -> None:
    await asyncio.wait_for(disk.commit.drained(), 5)
    disk.commit.append(draft("0"))
    drained = asyncio.create_task(disk.commit.drained())
    await turn()
    disk.commit.append(draft("1"))
    disk.finish()
    await turn()
    assert not drained.done()
    disk.finish()
    await asyncio.wait_for(drained, 5)
    disk.commit.append(draft("2"))
    again = asyncio.create_task(disk.commit.drained())
    await turn()
    disk.finish()
    await asyncio.wait_for(again, 5)


async def test_in_flight_from_the_call_to_the_answer(disk: Disk) -> None:
    key = ("alice", "alice,bob", "k")
    assert not disk.commit.in_flight(key)
    disk.commit.append(draft(client_id="k"))
    assert disk.commit.in_flight(key)
    await turn()
    assert disk.commit.in_flight(key)
    disk.finish()
    assert not disk.commit.in_flight(key)
    assert disk.commit.keys.get(key) is not None
