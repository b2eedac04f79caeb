"""Group commit: drafts that are appended together, and guards."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import Conflict, LogUnavailable, Stale, TooManyRequests
from chatsvc.core.membership import THIS_RECORD, Channel, Member, RequestKey
from chatsvc.core.record import Draft
from chatsvc.log import group_commit as commit
from chatsvc.log.base import MAX_TOGETHER, Appended
from chatsvc.log.guards import Guard
from testkit.drafts import draft
from testkit.group_drafts import member_change
from tests.unit.support.commit_disk import Disk, turn


@pytest.fixture
async def disk() -> Disk:
    return Disk()


def touching(key: str, content: str = "x", client_id: str | None = None) -> Draft:
    return msgspec.structs.replace(draft(content, client_id=client_id), touches=(key,))


def no() -> TooManyRequests:
    return TooManyRequests("no", code="no", retry_after=1.0)


def answers(future: asyncio.Future[list[Appended]]) -> list[Appended]:
    assert future.done()
    return future.result()


async def test_drafts_of_one_append_are_in_one_commit_in_their_order(disk: Disk) -> None:
    before, after = disk.commit.append(draft("0")), None
    both = disk.commit.append_all([draft("1"), draft("2", sender="bob", to=("carol",))])
    after = disk.commit.append(draft("3"))
    await turn()
    records = disk.finish()
    assert [len(batch) for batch in disk.batches] == [4]
    assert (await before).id == records[0].id
    assert await both == [Appended(one.id, one.body, False) for one in records[1:3]]
    assert (await after).id == records[3].id
    assert disk.records == records
    assert disk.sizes == [len(one.rest) for one in disk.batches[0]]
    assert disk.backlog.held_by("bob") == disk.sizes[2]
    assert disk.backlog.total == sum(disk.sizes)


@pytest.mark.parametrize(("before", "together"), [(254, 3), (255, 2), (1, 256)])
async def test_an_append_that_does_not_fit_goes_into_the_next_commit(
    disk: Disk, before: int, together: int
) -> None:
    plain = [disk.commit.append(draft(str(at))) for at in range(before)]
    both = disk.commit.append_all([draft(str(at)) for at in range(together)])
    late = disk.commit.append(draft("late"))
    await turn()
    disk.finish()
    assert all(one.done() for one in plain)
    assert not both.done()
    while disk.is_writing:
        disk.finish()
    assert len(await both) == together
    assert len(disk.batches[0]) == before
    assert (await both)[-1].id < (await late).id


@pytest.mark.parametrize(("before", "together"), [(254, 2), (0, 256)])
async def test_an_append_that_fits_fills_the_commit(disk: Disk, before: int, together: int) -> None:
    for at in range(before):
        disk.commit.append(draft(str(at)))
    disk.commit.append_all([draft(str(at)) for at in range(together)])
    await turn()
    assert [len(batch) for batch in disk.batches] == [256]


async def test_an_append_is_not_split_by_the_bytes_of_a_commit(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "COMMIT_BYTES", 3 * len(draft("0").rest))
    for content in "01":
        disk.commit.append_all([draft(content), draft(content)])
    disk.commit.append(draft("2"))
    await turn()
    disk.finish()
    assert [len(batch) for batch in disk.batches] == [2, 3]


@pytest.mark.parametrize("count", [0, MAX_TOGETHER + 1])
async def test_the_number_of_drafts_is_bounded(disk: Disk, count: int) -> None:
    with pytest.raises(ValueError, match=f"must have 1 to 256 drafts, not {count}"):
        disk.commit.append_all([draft()] * count)


async def test_a_client_id_stands_on_the_first_draft_only(disk: Disk) -> None:
    with pytest.raises(ValueError, match="only the first draft"):
        disk.commit.append_all([draft(), draft(client_id="k")])
    assert disk.backlog.total == 0


async def test_keys_of_requests_stand_in_the_first_draft_only(disk: Disk) -> None:
    merged = msgspec.structs.replace(draft(), keys=(RequestKey("bob", "k", b"digest"),))
    with pytest.raises(ValueError, match="only the first draft of an append may have keys"):
        disk.commit.append_all([draft(), merged])
    assert disk.backlog.total == 0


async def test_all_are_refused_where_one_is_not_admitted(disk: Disk) -> None:
    admit, seen = disk.admit, 0

    def refuses_the_third(one: Draft) -> int:
        nonlocal seen
        seen += 1
        if seen == 3:
            raise no()
        return admit(one)

    disk.commit._admit = refuses_the_third
    future = disk.commit.append_all([draft(client_id="k"), draft("b", sender="bob"), draft("c")])
    with pytest.raises(TooManyRequests):
        await future
    assert (disk.backlog.total, len(disk.backlog), disk.is_writing) == (0, 0, False)
    assert not disk.commit.in_flight(("alice", "alice,bob", "k"))


async def test_a_share_is_checked_with_what_was_admitted_before(disk: Disk) -> None:
    held: list[int] = []

    def admit(one: Draft) -> int:
        held.append(disk.backlog.total)
        return 10

    disk.commit._admit = admit
    disk.commit.append_all([draft("a"), draft("b"), draft("c")])
    assert held == [0, 10, 20]


async def test_a_repeat_is_answered_with_the_first(disk: Disk) -> None:
    drafts = [draft("a", client_id="k"), draft("b")]
    first = disk.commit.append_all(drafts)
    follower = disk.commit.append_all(drafts)
    plain = disk.commit.append(drafts[0])
    await turn()
    (record, _) = disk.finish()
    assert [one.duplicate for one in await first] == [False, False]
    repeated = Appended(record.id, record.body, True)
    assert await follower == [repeated]
    assert await plain == repeated
    assert await disk.commit.append_all(drafts) == [repeated]
    assert await disk.commit.append(drafts[0]) == repeated
    with pytest.raises(Conflict):
        await disk.commit.append_all([draft("other", client_id="k")])
    assert [len(batch) for batch in disk.batches] == [2]
    assert disk.commit.repeats == 5


async def test_a_repeat_has_what_the_log_put_into_the_first_while_that_is_in_memory(
    disk: Disk,
) -> None:
    one = member_change(Member("alice", THIS_RECORD), state=Channel(3), client_id="k")
    first, follower = disk.commit.append(one), disk.commit.append(one)
    await turn()
    disk.finish()
    assert b'"member_count":3' in (await first).body
    assert (await follower).body == (await disk.commit.append(one)).body == (await first).body
    disk.records.clear()
    again = await disk.commit.append(one)
    assert (again.id, again.duplicate) == ((await first).id, True)
    assert b"member_count" not in again.body


async def test_a_repeat_of_a_plain_append_in_flight_is_answered_as_a_list(disk: Disk) -> None:
    disk.commit.append(draft("a", client_id="k"))
    together = disk.commit.append_all([draft("a", client_id="k"), draft("b")])
    await turn()
    (record,) = disk.finish()
    assert await together == [Appended(record.id, record.body, True)]


async def test_an_append_that_is_refused_refuses_no_other(disk: Disk) -> None:
    futures = [disk.commit.append_all([draft(f"{at}a"), draft(f"{at}b")]) for at in range(3)]
    plain = disk.commit.append(draft("x"))
    await turn()
    error = no()
    records = disk.finish({2: error, 3: error})
    with pytest.raises(TooManyRequests):
        await futures[1]
    assert [one.id for one in await futures[0]] == [one.id for one in records[:2]]
    assert [one.id for one in await futures[2]] == [one.id for one in records[2:4]]
    assert (await plain).id == records[4].id
    assert (
        disk.backlog.total
        == sum(disk.sizes)
        == sum(len(one.rest) for at, one in enumerate(disk.batches[0]) if at not in (2, 3))
    )


async def test_a_write_that_parts_an_append_is_a_fault(disk: Disk) -> None:
    future = disk.commit.append_all([draft("a"), draft("b")])
    plain = disk.commit.append(draft("c"))
    await turn()
    with capture_logs() as lines:
        disk.finish({1: no()})
    with pytest.raises(LogUnavailable, match="cannot tell whether"):
        await future
    assert not (await plain).duplicate
    assert [(one["event"], one["records"], one["refused"]) for one in lines] == [
        ("append_split", 2, 1)
    ]


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_a_wrong_number_of_outcomes_is_no_answer_to_any(disk: Disk, count: int) -> None:
    future = disk.commit.append_all([touching("r"), draft("b")])
    held = disk.commit.append_all([draft("c")], Guard(0, ("r",)))
    await turn()
    with capture_logs() as lines:
        disk.take_done()([LogUnavailable("no")] * count)
    with pytest.raises(LogUnavailable, match="cannot tell whether"):
        await future
    assert [(one["outcomes"], one["records"]) for one in lines] == [(count, 2)]
    disk.finish()
    assert len(await held) == 1


async def test_a_guarded_append_is_stale_by_what_is_durable(disk: Disk) -> None:
    first = disk.commit.append(touching("r"))
    await turn()
    (record,) = disk.finish()
    stale = disk.commit.append_all([draft("b", client_id="k")], Guard(record.id - 1, ("r",)))
    assert disk.commit.in_flight(("alice", "alice,bob", "k"))
    with pytest.raises(Stale) as raised:
        await stale
    assert raised.value.by == record.id == (await first).id
    assert not disk.is_writing
    assert disk.backlog.total == disk.sizes[0]
    assert not disk.commit.in_flight(("alice", "alice,bob", "k"))
    again = disk.commit.append_all([draft("b", client_id="k")], Guard(record.id, ("r",)))
    await turn()
    disk.finish()
    assert not (await again)[0].duplicate


async def test_of_two_in_one_batch_the_second_waits_and_is_stale_by_the_first(disk: Disk) -> None:
    first = disk.commit.append_all([touching("r")], Guard(0, ("r",)))
    second = disk.commit.append_all([touching("r")], Guard(0, ("r",)))
    third = disk.commit.append(draft("not guarded"))
    await turn()
    assert [len(batch) for batch in disk.batches] == [2]
    seen: list[list[str]] = []
    second.add_done_callback(lambda _: seen.append(list(disk.events)))
    records = disk.finish()
    with pytest.raises(Stale) as raised:
        await second
    assert raised.value.by == records[0].id
    assert seen == [["accepted"]], "what made it stale is in the tail"
    assert [one.id for one in answers(first)] == [records[0].id]
    assert (await third).id == records[1].id
    assert not disk.is_writing


async def test_a_touch_in_flight_is_seen_by_what_comes_behind_it(disk: Disk) -> None:
    plain = disk.commit.append(touching("r"))
    await turn()
    behind = disk.commit.append_all([draft("b")], Guard(0, ("r", "other")))
    await turn()
    assert not behind.done()
    (record,) = disk.finish()
    with pytest.raises(Stale) as raised:
        await behind
    assert raised.value.by == record.id == (await plain).id


async def test_a_touch_is_taken_back_where_the_commit_fails(disk: Disk) -> None:
    lost = disk.commit.append_all([touching("r")], Guard(0, ("r",)))
    second = disk.commit.append_all([touching("r", "2")], Guard(0, ("r",)))
    third = disk.commit.append_all([touching("r", "3")], Guard(0, ("r",)))
    await turn()
    disk.fail()
    with pytest.raises(LogUnavailable):
        await lost
    assert [one.rest for one in disk.batches[1]] == [touching("r", "2").rest]
    (record,) = disk.finish()
    assert [one.id for one in await second] == [record.id]
    with pytest.raises(Stale) as raised:
        await third
    assert raised.value.by == record.id


async def test_a_touch_is_taken_back_where_its_append_alone_is_refused(disk: Disk) -> None:
    lost = disk.commit.append_all([touching("r")], Guard(0, ("r",)))
    kept = disk.commit.append(touching("s"))
    second = disk.commit.append_all([touching("r", "2")], Guard(0, ("r",)))
    stale = disk.commit.append_all([touching("s", "3")], Guard(0, ("s",)))
    await turn()
    disk.finish({0: no()})
    with pytest.raises(TooManyRequests):
        await lost
    with pytest.raises(Stale) as raised:
        await stale
    assert raised.value.by == (await kept).id
    disk.finish()
    assert len(await second) == 1


async def test_what_waits_for_a_commit_keeps_its_place_before_the_later(disk: Disk) -> None:
    lost = disk.commit.append(touching("r"))
    waits = [disk.commit.append_all([draft(f"w{at}")], Guard(0, ("r",))) for at in range(2)]
    await turn()
    later = disk.commit.append(draft("later"))
    disk.fail()
    with pytest.raises(LogUnavailable):
        await lost
    disk.finish()
    ids = [(await one)[0].id for one in waits]
    assert ids == sorted(ids)
    assert ids[-1] < (await later).id


async def test_a_guard_says_nothing_of_what_its_own_append_touches(disk: Disk) -> None:
    future = disk.commit.append_all([touching("r"), touching("r")], Guard(0, ("r",)))
    await turn()
    disk.finish()
    assert len(await future) == 2


async def test_every_draft_of_an_append_touches(disk: Disk) -> None:
    disk.commit.append_all([draft("a"), touching("r")])
    in_flight = disk.commit.append_all([draft("b")], Guard(0, ("r",)))
    await turn()
    (_, record) = disk.finish()
    for future in (in_flight, disk.commit.append_all([draft("b")], Guard(0, ("r",)))):
        with pytest.raises(Stale) as raised:
            await future
        assert raised.value.by == record.id


async def test_a_client_id_is_looked_at_before_the_guard(disk: Disk) -> None:
    first = disk.commit.append_all([touching("r", client_id="k")], Guard(0, ("r",)))
    await turn()
    early = disk.commit.append_all([touching("r", client_id="k")], Guard(0, ("r",)))
    (record,) = disk.finish()
    late = disk.commit.append_all([touching("r", client_id="k")], Guard(0, ("r",)))
    repeated = [Appended(record.id, record.body, True)]
    assert (await early, await late) == (repeated, repeated)
    assert (await first)[0].id == record.id


async def test_a_retry_of_what_is_stale_goes_by_its_own_guard(disk: Disk) -> None:
    disk.commit.append(touching("r"))
    await turn()
    stale = disk.commit.append_all([draft("b", client_id="k")], Guard(0, ("r",)))
    free = disk.commit.append(draft("b", client_id="k"))
    with_guard = disk.commit.append_all([draft("b", client_id="k")], Guard(0, ("r",)))
    disk.finish()
    with pytest.raises(Stale):
        await stale
    await turn()
    (record,) = disk.finish()
    assert await free == Appended(record.id, record.body, False)
    assert await with_guard == [Appended(record.id, record.body, True)]


async def test_one_that_touches_is_answered_as_a_plain_one(disk: Disk) -> None:
    first = disk.commit.append(touching("r", client_id="k"))
    again = disk.commit.append(touching("r", client_id="k"))
    await turn()
    (record,) = disk.finish()
    assert await first == Appended(record.id, record.body, False)
    assert await again == Appended(record.id, record.body, True)


async def test_drained_waits_for_what_waits_for_a_commit(disk: Disk) -> None:
    disk.commit.append(touching("r"))
    held = disk.commit.append_all([draft("b")], Guard(0, ("r",)))
    await turn()
    drained = asyncio.create_task(disk.commit.drained())
    await turn()
    disk.fail()
    await turn()
    assert not drained.done()
    disk.finish()
    await asyncio.wait_for(drained, 5)
    assert len(await held) == 1


async def test_a_caller_of_what_is_stale_may_go_away(disk: Disk) -> None:
    disk.commit.append(touching("r"))
    await turn()
    disk.finish()
    gone = disk.commit.append_all([draft("b")], Guard(0, ("r",)))
    gone.cancel()
    await turn()
    assert disk.backlog.total == disk.sizes[0]
