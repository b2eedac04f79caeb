"""The disk is full, fails, or is slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from testkit.service import MakeService, Service
from tests.fault.kit.disk import MIB, failing_calls, fill, small_disk
from tests.fault.kit.trial import Trial, trial
from tests.fault.kit.workload import Mix

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]

MIX = Mix(pause=0.005, request_seconds=2.0)
EXIT_DISK_FAILED = 74


async def refusing(held: Trial) -> None:
    """Wait until sends are refused, which health says as well."""
    turned_away = held.load.turned_away + 10
    await held.load.until(lambda: held.load.turned_away >= turned_away, "turned away")


async def test_full(make_service: MakeService, tmp_path: Path, few_rounds: int, judge) -> None:
    """Not a byte is left for the log; room again, and it goes on by itself."""
    with small_disk(tmp_path / "disk", 48 * MIB) as disk:
        service = make_service(data_dir=disk / "data")
        await service.start()
        async with trial(service, MIX) as held:
            for _ in range(few_rounds):
                await held.load.more(50)
                ballast = fill(disk, leave=64 * 1024)
                await refusing(held)
                ballast.unlink()
                await held.load.more(50)
            assert service.lives == 1
            held.notes["full disks"] = few_rounds
        judge(held)
        await service.kill()


@pytest.mark.slow
async def test_killed_when_full(make_service: MakeService, tmp_path: Path, judge) -> None:
    with small_disk(tmp_path / "disk", 48 * MIB) as disk:
        service = make_service(data_dir=disk / "data")
        await service.start()
        async with trial(service, MIX) as held:
            await held.load.more(50)
            ballast = fill(disk, leave=64 * 1024)
            await refusing(held)
            await service.kill()
            ballast.unlink()
            await service.start()
            await held.load.more(50)
        judge(held)
        await service.kill()


async def test_nearly_full(make_service: MakeService, tmp_path: Path, judge) -> None:
    """Below MIN_FREE_BYTES sends get 503 before anything is in danger; reads go on."""
    with small_disk(tmp_path / "disk", 48 * MIB) as disk:
        service = make_service({"MIN_FREE_BYTES": "16MiB"}, data_dir=disk / "data")
        await service.start()
        async with trial(service, MIX) as held:
            await held.load.more(50)
            ballast = fill(disk, leave=12 * MIB)
            await refusing(held)
            health = await service.health()
            assert (health["status"], health["http_status"]) == ("down", 503)
            page = await held.load.http.page(held.load.conversations[0][0], limit=10)
            assert page is not None
            assert page["complete"]
            ballast.unlink()
            await held.load.more(50)
            assert (await service.health())["status"] == "ok"
        judge(held)
        assert service.lives == 1
        await service.kill()


async def test_log_fails_to_sync(service: Service, few_rounds: int, judge) -> None:
    """A failed fdatasync ends the process at once: what it was to make durable was not
    acknowledged, and nothing is acknowledged after it."""
    async with trial(service, MIX) as held:
        for _ in range(few_rounds):
            await held.load.more(50)
            log = service.data_dir / "log.db-wal"
            async with failing_calls(service.pid, log, "fdatasync,fsync:error=EIO"):
                assert await service.wait_exit() == EXIT_DISK_FAILED, service.stderr()[-3000:]
            await service.start()
        await held.load.more(50)
        held.notes["failed syncs"] = few_rounds
    judge(held)


async def test_store_fails_to_sync(service: Service, judge) -> None:
    """The embedded store's disk fails: sends go on, into the log; later all is stored."""
    async with trial(service, MIX) as held:
        await held.load.more(50)
        store = service.data_dir / "store.db-wal"
        async with failing_calls(service.pid, store, "fdatasync,fsync:error=EIO"):
            await held.load.more(100)
            if not service.running:
                pytest.fail(f"it ended: {service.stderr()[-3000:]}")
        await held.load.more(50)
    judge(held)
    assert service.lives == 1


@pytest.mark.slow
async def test_slow_to_sync(service: Service, judge) -> None:
    """Each fdatasync of the log takes a fifth of a second: slower, and nothing else."""
    async with trial(service, Mix(pause=0.005)) as held:
        await held.load.more(50)
        log = service.data_dir / "log.db-wal"
        async with failing_calls(service.pid, log, "fdatasync,fsync:delay_enter=200000"):
            await held.load.more(100)
        await held.load.more(50)
    judge(held)
    assert service.lives == 1
