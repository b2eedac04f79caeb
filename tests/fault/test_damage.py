"""Files that are not what was written: cut short, with flipped bits, put back from long ago."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from testkit import mongod
from testkit.service import ROOT, MakeService, Service
from tests.fault.kit.clients import Http, Outgoing
from tests.fault.kit.clock import HOUR, Clock
from tests.fault.kit.disk import cut_short, flip_bit
from tests.fault.kit.trial import trial
from tests.fault.kit.workload import Mix

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

REFUSED = 2
LOG_ALONE = {"STORE_BATCH_MS": "10000"}
"""Nothing is stored before it is killed: what is read back comes from the log."""


async def say(service: Service, first: int, count: int) -> list[str]:
    """Messages one after another, each in a commit of its own; their ids."""
    async with aiohttp.ClientSession() as session:
        http = Http(session, service.url)
        return [
            (await http.send(Outgoing("a", ("a", "b"), f"number {number}", "d")))[0]
            for number in range(first, first + count)
        ]


async def known(service: Service) -> list[str]:
    """The ids that the service finds now."""
    async with aiohttp.ClientSession() as session:
        page = await Http(session, service.url).page("b", limit=1000)
    assert page is not None, service.stderr()[-3000:]
    return [message["id"] for message in page["messages"]]


async def killed_with(service: Service, count: int) -> list[str]:
    """A service that said so much and was killed, its write-ahead log as it was."""
    await service.start()
    ids = await say(service, 0, count)
    await service.kill()
    return ids


async def refused(service: Service) -> str:
    """It must not start; what it says."""
    before = len(service.stderr())
    await service.start(ready=False)
    assert await service.wait_exit() == REFUSED, service.stderr()[-3000:]
    return service.stderr()[before:]


def wal_of(service: Service) -> Path:
    return service.data_dir / "log.db-wal"


def checkpointed(service: Service) -> Path:
    """The database file, with all that the write-ahead log held."""
    path = service.data_dir / "log.db"
    database = sqlite3.connect(path)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return path


def frame_size(wal: Path) -> int:
    """Of a frame with its page, from the header (sqlite.org/fileformat2, 4.1)."""
    return 24 + int.from_bytes(wal.read_bytes()[8:12], "big")


async def test_undamaged(make_service: MakeService) -> None:
    """So that what the tests below find is the damage."""
    service = make_service(LOG_ALONE)
    ids = await killed_with(service, 20)
    await service.start()
    assert await known(service) == ids


async def test_torn_end(make_service: MakeService) -> None:
    """Half of the last frame is missing, as after a crash in the middle of a write."""
    service = make_service(LOG_ALONE)
    ids = await killed_with(service, 20)
    wal = wal_of(service)
    cut_short(wal, frame_size(wal) // 2)
    await service.start()
    assert await known(service) == ids[:-1]
    assert "torn" in service.stderr()
    more = await say(service, 20, 5)
    assert more[0] > ids[-1], "an id that was given away is given to another message"
    assert await known(service) == ids[:-1] + more


async def test_bit_flipped_at_the_end(make_service: MakeService) -> None:
    service = make_service(LOG_ALONE)
    ids = await killed_with(service, 20)
    flip_bit(wal_of(service), -100)
    await service.start()
    assert await known(service) == ids[:-1]
    assert "torn" in service.stderr()


async def test_bit_flipped_in_the_middle(make_service: MakeService) -> None:
    """SQLite alone would drop what is behind it, and say nothing."""
    service = make_service(LOG_ALONE)
    await killed_with(service, 20)
    wal = wal_of(service)
    before = {path.name: path.read_bytes() for path in (service.data_dir / "log.db", wal)}
    middle = 32 + frame_size(wal) * 10
    flip_bit(wal, middle + 500)
    damaged = wal.read_bytes()
    said = await refused(service)
    assert str(middle) in said, said
    copies = list(service.data_dir.glob("damaged-*"))
    assert len(copies) == 1
    assert (copies[0] / wal.name).read_bytes() == damaged
    assert wal.read_bytes() == damaged, "it touched what it refused"
    wal.write_bytes(before[wal.name])
    await service.start()
    assert len(await known(service)) == 20


async def test_header_damaged(make_service: MakeService) -> None:
    """SQLite alone would take the whole of it for nothing."""
    service = make_service(LOG_ALONE)
    await killed_with(service, 20)
    flip_bit(wal_of(service), 17)
    said = await refused(service)
    assert "damaged" in said


async def test_bit_flipped_in_a_row(make_service: MakeService) -> None:
    """In the database file, which has no checksums of its own: ours find it."""
    service = make_service(LOG_ALONE)
    await killed_with(service, 20)
    log = checkpointed(service)
    place = log.read_bytes().index(b"number 10")
    flip_bit(log, place)
    said = await refused(service)
    assert "checksum" in said


async def test_log_cut_short(make_service: MakeService) -> None:
    service = make_service(LOG_ALONE)
    await killed_with(service, 200)
    log = checkpointed(service)
    cut_short(log, log.stat().st_size // 2)
    said = await refused(service)
    assert "log.db" in said


async def test_watermark_above_the_head(make_service: MakeService) -> None:
    """The end of the log is gone, though the store was once told of it."""
    service = make_service()
    await service.start()
    async with trial(service, Mix(pause=0.005)) as held:
        await held.load.more(50)
    assert await service.terminate() == 0
    with sqlite3.connect(service.data_dir / "log.db") as log:
        newest = "SELECT id FROM records ORDER BY id DESC LIMIT 10"
        assert log.execute(f"DELETE FROM records WHERE id IN ({newest})").rowcount == 10
    log.close()
    said = await refused(service)
    assert "watermark" in said


async def test_older_log_put_back(service: Service, judge) -> None:
    """From a backup, beside a store that went on: a new epoch begins, and nobody is misled."""
    backup = service.data_dir.parent / "log.backup"
    async with trial(service, Mix(pause=0.005)) as held:
        await held.load.more(100)
        assert await service.terminate() == 0
        shutil.copy2(service.data_dir / "log.db", backup)
        await service.start()
        await held.load.more(100)
        assert await service.terminate() == 0
        shutil.copy2(backup, service.data_dir / "log.db")
        await service.start()
        await held.load.more(100)
    verdict = judge(held)
    assert verdict.totals["gaps announced"] >= 1


async def test_log_lost(service: Service, judge) -> None:
    """All of it, after everything was stored: what was said is in the store."""
    async with trial(service, Mix(pause=0.005)) as held:
        await held.load.more(100)
        assert await service.terminate() == 0
        for path in service.data_dir.glob("log.db*"):
            path.unlink()
        await service.start()
        await held.load.more(100)
    judge(held)


async def verify(service: Service, *options: str) -> tuple[int, str]:
    """``chatsvc log verify`` on its files: exit status, and what it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "chatsvc", "log", "verify", *options,
        env={**os.environ, **service.env}, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    return await process.wait(), said.decode()


async def test_a_bad_row_is_put_aside(make_service: MakeService) -> None:
    """The way back that the refusal names: one record aside, all others served."""
    service = make_service(LOG_ALONE)
    ids = await killed_with(service, 20)
    assert (await verify(service))[0] == 0
    log = checkpointed(service)
    flip_bit(log, log.read_bytes().index(b"number 10"))
    status, said = await verify(service)
    assert (status, ids[10] in said) == (1, True), said
    await refused(service)
    assert (await verify(service, "--quarantine"))[0] == 0
    await service.start()
    assert await known(service) == ids[:10] + ids[11:]


async def test_going_on_with_what_can_be_read(make_service: MakeService) -> None:
    """Damage in the middle, no backup: what is before it is served, and the rest is gone."""
    service = make_service(LOG_ALONE)
    ids = await killed_with(service, 20)
    wal = wal_of(service)
    flip_bit(wal, 32 + frame_size(wal) * 20 + 500)
    await refused(service)
    status, said = await verify(service, "--accept-loss")
    assert status == 0, said
    await service.start()
    left = await known(service)
    assert left
    assert left == ids[: len(left)]
    more = await say(service, 20, 5)
    assert more[0] > ids[-1], "an id that was given away is given to another message"
    assert await known(service) == left + more
    await service.restart()
    assert await known(service) == left + more


@pytest.mark.parametrize("stored", [True, pytest.param(False, marks=pytest.mark.slow)])
async def test_nothing_unsaved_is_trimmed(
    make_service: MakeService, mongo_server: mongod.MongoServer, clock: Clock, stored: bool
) -> None:
    """Past LOG_RETENTION_SECONDS the log lets go of what is stored, and of nothing else."""
    env = {"STORE": "mongodb", "MONGO_URI": mongo_server.uri, "LOG_RETENTION_SECONDS": "0"}
    service = make_service({**env, **clock.env})
    await service.start()
    if not stored:
        await asyncio.to_thread(mongo_server.kill)
    ids = await say(service, 0, 50)
    if stored:
        await until_rows(service, lambda rows: rows == 50)
    clock.let_pass(24 * HOUR)
    if stored:
        await until_rows(service, lambda rows: rows < 50, clock)
        assert await known(service) == ids
        return
    await housekeeping(service)
    assert rows_of(service) == 50
    await service.restart()
    await housekeeping(service)
    assert rows_of(service) == 50
    await asyncio.to_thread(mongo_server.start)
    await until_rows(service, lambda rows: rows < 50, clock)
    assert await known(service) == ids


def rows_of(service: Service) -> int:
    database = sqlite3.connect(f"file:{service.data_dir / 'log.db'}?mode=ro", uri=True)
    try:
        return int(database.execute("SELECT count(*) FROM records").fetchone()[0])
    finally:
        database.close()


async def until_rows(
    service: Service, met: Callable[[int], bool], clock: Clock | None = None
) -> None:
    """With a clock: hours pass meanwhile."""
    deadline = time.monotonic() + 60
    while not met(rows_of(service)):
        assert time.monotonic() < deadline, f"{rows_of(service)} rows"
        if clock is not None:
            clock.let_pass(HOUR)
        await asyncio.sleep(0.1)


async def housekeeping(service: Service) -> None:
    """Long enough for the log to have looked for what it may let go of, three times.

    What must not happen leaves nothing to wait for.
    """
    await asyncio.sleep(3.5)
    assert service.running
