"""Group commit: what becomes of a draft that is refused, and of the others of its commit."""

from __future__ import annotations

import asyncio
import gc

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import ChatError, Conflict, LogUnavailable, TooManyRequests
from chatsvc.core.record import accept
from chatsvc.log.base import Appended
from testkit.drafts import draft
from tests.unit.support.commit_disk import Disk, turn

KEY = ("alice", "alice,bob", "k")


@pytest.fixture
async def disk() -> Disk:
    return Disk()


def no() -> ChatError:
    return TooManyRequests("no", code="no", retry_after=1.0)


@pytest.mark.parametrize("at", [0, 2, 4])
async def test_a_refused_draft_refuses_no_other_of_its_commit(disk: Disk, at: int) -> None:
    futures = [disk.commit.append(draft(str(number))) for number in range(5)]
    await turn()
    records = disk.finish({at: no()})
    with pytest.raises(TooManyRequests, match="no"):
        await futures.pop(at)
    assert [await one for one in futures] == [Appended(one.id, one.body, False) for one in records]
    ids = [record.id for record in records]
    assert ids == sorted(set(ids))
    assert disk.records == records, "only what is durable was accepted"


async def test_several_are_refused_each_for_its_own_reason(disk: Disk) -> None:
    futures = [disk.commit.append(draft(str(number))) for number in range(4)]
    await turn()
    errors = {0: no(), 1: Conflict("used"), 3: LogUnavailable("not now")}
    (record,) = disk.finish(errors)
    found = await asyncio.gather(*futures, return_exceptions=True)
    assert found == [errors[0], errors[1], Appended(record.id, record.body, False), errors[3]]


async def test_where_all_are_refused_nothing_is_accepted(disk: Disk) -> None:
    futures = [disk.commit.append(draft(str(number))) for number in range(2)]
    await turn()
    errors = {0: no(), 1: Conflict("used")}
    assert disk.finish(errors) == []
    assert await asyncio.gather(*futures, return_exceptions=True) == list(errors.values())
    assert disk.events == []
    assert disk.backlog.total == 0


async def test_only_what_was_refused_leaves_the_backlog(disk: Disk) -> None:
    drafts = [draft("kept"), draft("refused", sender="bob", to=("alice",)), draft("kept too")]
    futures = [disk.commit.append(one) for one in drafts]
    await turn()
    disk.finish({1: no()})
    await asyncio.gather(*futures, return_exceptions=True)
    kept = [len(drafts[0].rest), len(drafts[2].rest)]
    assert disk.sizes == kept
    assert disk.backlog.total == disk.backlog.held_by("alice") == sum(kept)
    assert disk.backlog.held_by("bob") == 0


async def test_the_key_of_a_refused_draft_is_free_again(disk: Disk) -> None:
    lost = disk.commit.append(draft("x", client_id="k"))
    kept = disk.commit.append(draft("y", client_id="other"))
    await turn()
    disk.finish({0: no()})
    await asyncio.gather(lost, kept, return_exceptions=True)
    assert not disk.commit.in_flight(KEY)
    assert disk.commit.keys.get(KEY) is None
    again = disk.commit.append(draft("x", client_id="k"))
    await turn()
    disk.finish()
    assert not (await again).duplicate


async def test_a_retry_in_flight_is_refused_with_the_first(disk: Disk) -> None:
    first = disk.commit.append(draft("x", client_id="k"))
    retry = disk.commit.append(draft("x", client_id="k"))
    await turn()
    error = no()
    disk.finish({0: error})
    assert await asyncio.gather(first, retry, return_exceptions=True) == [error, error]
    assert [len(batch) for batch in disk.batches] == [1]


async def test_another_message_under_the_key_of_a_refused_draft_is_asked_for_itself(
    disk: Disk,
) -> None:
    """A log that finds a conflict may know exactly this one."""
    first = disk.commit.append(draft("x", client_id="k"))
    other = disk.commit.append(draft("y", client_id="k"))
    retry = disk.commit.append(draft("y", client_id="k"))
    await turn()
    disk.finish({0: Conflict("used")})
    with pytest.raises(Conflict, match="used"):
        await first
    await turn()
    assert not other.done()
    (record,) = disk.finish()
    assert await other == Appended(record.id, record.body, False)
    assert await retry == Appended(record.id, record.body, True)


async def test_another_message_under_the_key_may_be_refused_as_well(disk: Disk) -> None:
    first = disk.commit.append(draft("x", client_id="k"))
    other = disk.commit.append(draft("y", client_id="k"))
    await turn()
    disk.finish({0: no()})
    await turn()
    disk.finish({0: Conflict("used")})
    with pytest.raises(TooManyRequests):
        await first
    with pytest.raises(Conflict, match="used"):
        await other
    assert disk.backlog.total == 0


async def test_while_nothing_can_be_written_no_follower_is_written_either(disk: Disk) -> None:
    first = disk.commit.append(draft("x", client_id="k"))
    other = disk.commit.append(draft("y", client_id="k"))
    await turn()
    disk.fail()
    for future in (first, other):
        with pytest.raises(LogUnavailable, match="the disk is full"):
            await future
    await turn()
    assert not disk.is_writing


async def test_callers_of_refused_drafts_may_go_away(disk: Disk) -> None:
    first = disk.commit.append(draft("x", client_id="k"))
    gone = disk.commit.append(draft("y", client_id="k"))
    other = disk.commit.append(draft("z", client_id="k"))
    neighbour = disk.commit.append(draft("w"))
    await turn()
    first.cancel()
    gone.cancel()
    (record,) = disk.finish({0: no()})
    assert (await neighbour).id == record.id
    await turn()
    assert [one.rest for one in disk.batches[1]] == [draft("z", client_id="k").rest]
    other.cancel()
    disk.finish({0: no()})
    await turn()
    assert not disk.commit.in_flight(KEY)


async def test_an_answer_that_nobody_waits_for_is_not_reported_as_lost(disk: Disk) -> None:
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    first = disk.commit.append(draft("x", client_id="k"))
    other = disk.commit.append(draft("y", client_id="k"))
    await turn()
    disk.finish({0: no()})
    with pytest.raises(TooManyRequests):
        await first
    await turn()
    other.cancel()
    disk.finish({0: Conflict("used")})
    await turn()
    gc.collect()
    assert reported == []


async def test_drained_waits_for_what_is_asked_again(disk: Disk) -> None:
    first = disk.commit.append(draft("x", client_id="k"))
    other = disk.commit.append(draft("y", client_id="k"))
    await turn()
    drained = asyncio.create_task(disk.commit.drained())
    await turn()
    disk.finish({0: no()})
    await turn()
    assert not drained.done()
    (record,) = disk.finish()
    await asyncio.wait_for(drained, 5)
    with pytest.raises(TooManyRequests):
        await first
    assert (await other).id == record.id


@pytest.mark.parametrize("fault", [ZeroDivisionError(), asyncio.CancelledError()])
async def test_where_who_is_told_fails_the_callers_are_answered(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    def fails(*_: object) -> None:
        raise fault

    first = disk.commit.append(draft("0", client_id="k"))
    again = disk.commit.append(draft("0", client_id="k"))
    gone = disk.commit.append(draft("1"))
    gone.cancel()
    await turn()
    with monkeypatch.context() as patch, capture_logs() as lines:
        patch.setattr(disk.commit, "_accepted", fails)
        (record, _) = disk.finish()
    for future in (first, again):
        with pytest.raises(LogUnavailable, match="cannot tell whether the message was kept"):
            await future
    assert [(line["event"], line["records"]) for line in lines] == [("commit_not_answered", 2)]
    assert (await disk.commit.append(draft("0", client_id="k"))).id == record.id
    later = disk.commit.append(draft("2"))
    await turn()
    disk.finish()
    assert not (await later).duplicate
    await asyncio.wait_for(disk.commit.drained(), 1)


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_a_wrong_number_of_outcomes_is_no_answer_to_any(disk: Disk, count: int) -> None:
    futures = [disk.commit.append(draft(str(at), client_id=str(at))) for at in range(2)]
    await turn()
    with capture_logs() as lines:
        disk.take_done()([accept(draft(str(at)), 64 + at) for at in range(count)])
    for future in futures:
        with pytest.raises(LogUnavailable, match="cannot tell whether the message was kept"):
            await future
    assert [(line["event"], line["outcomes"], line["records"]) for line in lines] == [
        ("commit_outcomes_wrong", count, 2)
    ]
    assert (disk.events, disk.backlog.total) == ([], 0)
    again = disk.commit.append(draft("0", client_id="0"))
    await turn()
    disk.finish()
    assert not (await again).duplicate
