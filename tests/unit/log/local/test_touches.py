"""How many touched keys a log on disk remembers."""

from __future__ import annotations

import msgspec
import pytest

from chatsvc.core.errors import LogUnavailable, Stale
from chatsvc.log.base import Appended
from chatsvc.log.guards import Guard
from chatsvc.log.local.log import LocalLog
from testkit.drafts import draft
from tests.unit.support.local_logs import NOTHING, Open, send


async def touch(log: LocalLog, key: str) -> Appended:
    return await log.append(msgspec.structs.replace(draft(), touches=(key,)))


async def test_keys_beyond_the_bound_go_once_their_records_are_stored(open_log: Open) -> None:
    log = await open_log(store=NOTHING)
    log._touches._max_keys = 2
    first = [await touch(log, key) for key in "abcd"]
    assert len(log._touches) == 4, "none of them is stored"
    log.advance_watermark(first[1].id)
    await send(log)
    assert len(log._touches) == 2
    assert log._touches.forgotten == first[1].id
    with pytest.raises(Stale):
        await log.append_all([draft()], Guard(first[1].id - 1, ("x",)))
    await log.append_all([draft()], Guard(first[1].id, ("x", "a", "b")))


async def test_a_commit_that_fails_takes_its_touches_back(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await open_log(store=NOTHING)
    as_of = log.tail.head

    def full(_: object) -> None:
        raise LogUnavailable("the disk is full", code="disk_full")

    touching = msgspec.structs.replace(draft(), touches=("r",))
    with monkeypatch.context() as patch:
        patch.setattr(log._file, "insert", full)
        lost = log.append_all([touching, draft()], Guard(as_of, ("r",)))
        waits = log.append_all([touching], Guard(as_of, ("r",)))
        with pytest.raises(LogUnavailable, match="the disk is full"):
            await lost
        with pytest.raises(LogUnavailable, match="the disk is full"):
            await waits
    assert len(log._touches) == 0
    (kept,) = await log.append_all([touching], Guard(as_of, ("r",)))
    with pytest.raises(Stale) as raised:
        await log.append_all([touching], Guard(as_of, ("r",)))
    assert raised.value.by == kept.id


async def test_a_store_that_has_to_be_filled_again_keeps_them(open_log: Open) -> None:
    log = await open_log(store=NOTHING)
    log._touches._max_keys = 2
    touched = [await touch(log, key) for key in "abcd"]
    log.advance_watermark(touched[-1].id)
    await log.attach_store(NOTHING._replace(identity="another"))
    assert log.tail.stored < touched[0].id < log.tail.watermark
    await send(log)
    assert len(log._touches) == 4
