"""One ``client_id`` is one message, whatever clocks do: the service's, the client's, both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatsvc.core.change import draft_change
from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.kinds import Kind
from chatsvc.core.page import Bounds
from chatsvc.storage.dead_letters import DeadLetterAdmin
from testkit.client_ids import uuid7_at
from testkit.waiting import until
from tests.integration.support.clocked_service import (
    DAY,
    HOUR,
    MINUTE,
    WINDOW,
    Deployment,
    again,
    deployed,
)


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Deployment]:
    async with deployed(tmp_path, monkeypatch) as site:
        yield site


async def test_the_clock_went_ahead_and_came_back(site: Deployment) -> None:
    client_id = uuid7_at(site.ms)
    first = await site.send("once", client_id)
    await site.store_all()
    site.ms += HOUR
    await site.send("other")
    await site.store_all()
    site.ms -= HOUR - MINUTE
    await again(site, first, client_id)
    await site.pass_time()
    await again(site, first, client_id)


async def test_started_while_the_clock_was_ahead(site: Deployment) -> None:
    client_id = uuid7_at(site.ms)
    first = await site.send("once", client_id)
    await site.store_all()
    await site.stop()
    site.ms += HOUR
    await site.start()
    site.ms -= HOUR - MINUTE
    await again(site, first, client_id)
    await site.pass_time()
    await site.restart()
    await again(site, first, client_id)


@pytest.mark.parametrize("ahead", [3 * HOUR, -3 * HOUR, 400 * DAY])
async def test_a_client_whose_clock_is_wrong_and_a_restart(site: Deployment, ahead: int) -> None:
    client_id = uuid7_at(site.ms + ahead)
    first = await site.send("once", client_id)
    await site.store_all()
    await site.pass_time()
    for _ in range(2):
        await again(site, first, client_id)
        await site.restart()
    await site.pass_time(4 * HOUR)  # until the clock has passed what the client took for now
    await again(site, first, client_id)


@pytest.mark.parametrize("ahead", [-HOUR, 0, 4_000, 3 * HOUR])
async def test_the_log_is_lost(site: Deployment, ahead: int) -> None:
    client_id = uuid7_at(site.ms + ahead)
    first = await site.send("once", client_id)
    await site.send("the last")
    await site.store_all()
    await site.lose_the_log()
    await again(site, first, client_id)
    await site.pass_time(4 * HOUR)
    await again(site, first, client_id)
    fresh = uuid7_at(site.ms)
    lookups = site.store.lookups
    assert not (await site.send("fresh", fresh, "carol")).duplicate
    assert site.store.lookups == lookups


@pytest.mark.parametrize("ahead", [-HOUR, 0, 4_000, 3 * HOUR])
async def test_the_log_of_a_change_is_lost(site: Deployment, ahead: int) -> None:
    client_id = uuid7_at(site.ms + ahead)
    edit = draft_change(
        Kind(name="edit"),
        channel="alice,bob",
        audience=("alice", "bob"),
        sender="alice",
        fields={"text": "x"},
        client_id=client_id,
    )
    first = await site.log.append(edit)
    await site.store_all()
    await site.lose_the_log()
    key = "alice", "alice,bob", client_id
    assert not site.log.knows_key(key), "who appends it has to ask the store"
    found = await site.store.find_client_id(*key, after=site.log.used_above(key))
    assert found == (first.id, edit.digest)


async def test_the_log_is_lost_while_the_clock_is_behind(site: Deployment) -> None:
    client_id = uuid7_at(site.ms)
    first = await site.send("once", client_id)
    await site.store_all()
    site.ms -= 9 * HOUR
    await site.lose_the_log()
    await again(site, first, client_id)


async def test_an_older_log_is_put_back(site: Deployment) -> None:
    await site.send("before")
    await site.store_all()
    await site.stop()
    backup = {file: file.read_bytes() for file in site.folder.glob("log.db*")}
    await site.start()
    site.ms += MINUTE
    ids = [uuid7_at(site.ms), uuid7_at(site.ms + 3 * HOUR)]
    firsts = [await site.send("once", client_id) for client_id in ids]
    await site.store_all()
    await site.stop()
    for file in site.folder.glob("log.db*"):
        file.unlink()
    for file, data in backup.items():
        file.write_bytes(data)
    await site.start()
    for first, client_id in zip(firsts, ids, strict=True):
        await again(site, first, client_id)
    await site.pass_time(4 * HOUR)
    for first, client_id in zip(firsts, ids, strict=True):
        await again(site, first, client_id)


@pytest.mark.parametrize("lost", [False, True], ids=["the log goes on", "the log is lost"])
@pytest.mark.parametrize("ahead", [0, 3 * HOUR])
async def test_the_first_became_a_dead_letter(site: Deployment, lost: bool, ahead: int) -> None:
    client_id = uuid7_at(site.ms + ahead)
    site.store.refusing = True
    first = await site.send("once", client_id)
    await site.store_all()
    site.store.refusing = False
    await site.pass_time(2 * WINDOW)
    if lost:
        await site.lose_the_log()
    await again(site, first, client_id)
    desk = DeadLetterAdmin(site.store)
    assert [one.stored for one in await desk.replay()] == [True]
    await again(site, first, client_id)
    page = await site.store.channel_page("alice,bob", Bounds(10))
    assert [entry.id for entry in page] == [first.id]


@pytest.mark.parametrize("marked", [True, False])
async def test_the_newest_is_a_dead_letter_and_the_store_is_away_again(
    site: Deployment, monkeypatch: pytest.MonkeyPatch, marked: bool
) -> None:
    """It answered at the start, and could not be asked for client ids."""
    await site.send("before")
    await site.store_all()
    site.ms += MINUTE
    client_id = uuid7_at(site.ms)
    site.store.refusing = True
    put_aside = asyncio.Event()

    async def away(*_: object) -> bool:
        put_aside.set()
        raise StoreUnavailable("away")

    if not marked:  # it went away between the letter and the mark
        monkeypatch.setattr(site.store, "set_watermark", away)
    first = await site.send("once", client_id)
    await (site.store_all() if marked else put_aside.wait())
    await site.lose_the_log(asked=False)
    site.store.away = True
    with pytest.raises(StoreUnavailable):
        await site.send("once", client_id)
    site.store.away = False
    await again(site, first, client_id)


async def test_another_content_under_an_old_id_is_a_conflict_for_ever(site: Deployment) -> None:
    client_id = uuid7_at(site.ms)
    first = await site.send("once", client_id)
    await site.store_all()
    await site.pass_time()
    with pytest.raises(Exception, match="another message") as caught:
        await site.send("something else", client_id)
    assert caught.value.extra["id"] == f"{first.id:016x}"  # type: ignore[attr-defined]


async def test_any_other_string_is_remembered_for_the_window(site: Deployment) -> None:
    first = await site.send("once", "k")
    await site.store_all()
    site.ms += 10 * HOUR  # a step of the clock is not time
    await site.send("other")
    await again(site, first, "k")
    await site.restart()
    await again(site, first, "k")
    await site.pass_time()
    assert not (await site.send("once", "k")).duplicate


@pytest.mark.parametrize("step", [0, 10 * HOUR, 400 * DAY], ids=["", "ahead", "far ahead"])
@pytest.mark.parametrize("how", ["lost", "put back"])
async def test_any_other_string_within_the_window_after_a_loss(
    site: Deployment, how: str, step: int
) -> None:
    await site.send("before the window", "old")
    await site.store_all()
    await site.pass_time()
    await site.stop()
    backup = {file: file.read_bytes() for file in site.folder.glob("log.db*")}
    await site.start()
    first = await site.send("once", "k")
    await site.store_all()
    site.ms += step  # a step of the clock is not time
    await site.send("other")
    await site.store_all()
    await site.stop()
    for file in site.folder.glob("log.db*"):
        file.unlink()
    for file, data in backup.items() if how == "put back" else ():
        file.write_bytes(data)
    await site.start()
    await again(site, first, "k")
    await until(lambda: site.log.forgotten_are_stored)  # or what is not found proves nothing
    assert not (await site.send("something else", "old")).duplicate, "its window is over"
    await site.store_all()
    lookups = site.store.lookups
    await site.pass_time()
    assert not (await site.send("once", "k")).duplicate
    assert site.store.lookups == lookups


async def test_any_other_string_while_a_new_log_has_not_met_its_store(site: Deployment) -> None:
    first = await site.send("once", "k")
    await site.store_all()
    await site.stop()
    for file in site.folder.glob("log.db*"):
        file.unlink()
    await site.start(met=False)
    site.store.away = True
    with pytest.raises(StoreUnavailable):
        await site.send("once", "k")
    assert not (await site.send("without")).duplicate
    site.store.away = False
    await again(site, first, "k")


async def test_any_other_string_where_the_store_is_new_as_well(site: Deployment) -> None:
    site.store.away = True
    assert not (await site.send("once", "k")).duplicate
    assert site.store.lookups == 0


@pytest.mark.parametrize("keys", [1000, 1_000_000], ids=["too many keys", "few keys"])
async def test_a_client_ahead_makes_nobody_else_depend_on_the_store(
    site: Deployment, keys: int
) -> None:
    await site.stop()
    await site.start(keys=keys)
    ahead = uuid7_at(site.ms + 400 * DAY)
    await site.send("I am from the future", ahead, "future")
    for number in range(1100):
        site.ms += 1
        await site.send("x", uuid7_at(site.ms, number + 2), f"u{number % 7}")
    await site.store_all()
    await site.pass_time()
    site.store.away = True
    for sender in ("u0", "somebody new"):
        assert not (await site.send("fresh", uuid7_at(site.ms), sender)).duplicate
    with pytest.raises(StoreUnavailable):
        await site.send("fresh", uuid7_at(site.ms), "future")
    site.store.away = False
    assert not (await site.send("fresh", uuid7_at(site.ms), "future")).duplicate


async def test_a_client_behind_sends_while_the_store_is_away(site: Deployment) -> None:
    """Its own ids rise like everybody's; that they are old is no matter."""
    behind = 15 * MINUTE
    for number in range(5):
        await site.send("x", uuid7_at(site.ms - behind, number))
        await site.store_all()
        await site.pass_time()
    site.store.away = True
    assert not (await site.send("fresh", uuid7_at(site.ms - behind))).duplicate


async def test_a_service_behind_depends_on_no_store(site: Deployment) -> None:
    await site.send("x", uuid7_at(site.ms))
    await site.store_all()
    await site.pass_time()
    true_ms, site.ms = site.ms, site.ms - 9 * HOUR
    await site.restart()
    site.store.away = True
    assert not (await site.send("fresh", uuid7_at(true_ms))).duplicate


@pytest.mark.parametrize("followed", [False, True], ids=["", "a client went by it"])
async def test_the_clock_was_far_ahead_once_and_later_the_log_is_lost(
    site: Deployment, followed: bool
) -> None:
    """The ids of the messages stay ahead for all that time; who sends does not notice."""
    year = 400 * DAY
    true_ms, site.ms = site.ms, site.ms + year
    used = uuid7_at(site.ms if followed else true_ms)
    first = await site.send("once", used)
    await site.store_all()
    site.ms = true_ms + MINUTE
    others = uuid7_at(site.ms)
    other = await site.send("once", others, "carol")
    await site.store_all()
    await site.lose_the_log()
    site.ms += HOUR
    site.store.away = True
    assert not (await site.send("fresh", uuid7_at(site.ms), "dave")).duplicate
    assert not (await site.send("fresh", uuid7_at(site.ms), "carol")).duplicate
    if followed:
        with pytest.raises(StoreUnavailable):
            await site.send("fresh", uuid7_at(site.ms))
    site.store.away = False
    await again(site, first, used)
    repeat = await site.send("once", others, "carol")
    assert (repeat.duplicate, repeat.id) == (True, other.id)


async def test_a_new_log_that_has_not_met_its_store_asks_for_what_it_cannot_tell(
    site: Deployment,
) -> None:
    """And for nothing else: sends go on. docs/protocol.md names the times."""
    used = uuid7_at(site.ms)
    first = await site.send("once", used)
    await site.store_all()
    await site.stop()
    for file in site.folder.glob("log.db*"):
        file.unlink()
    site.ms += MINUTE
    started = site.ms
    await site.start(met=False)
    site.ms += MINUTE
    site.boot.seconds += 60
    site.store.away = True
    for fresh in (site.ms, started + 5_001, site.ms + 5_000):
        assert not (await site.send("fresh", uuid7_at(fresh))).duplicate
    unknown = (started, started + 5_000, site.ms + 5_001)
    for unclear in (used, "no UUIDv7", *map(uuid7_at, unknown)):
        with pytest.raises(StoreUnavailable):
            await site.send("once", unclear)
    site.store.away = False
    site.meet()
    await until(lambda: not site.log.past_is_unknown)
    await again(site, first, used)
    site.store.away = True
    assert not (await site.send("fresh", uuid7_at(site.ms + HOUR))).duplicate
