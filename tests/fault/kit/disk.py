"""Disks that fill up, fail and dawdle; files that are damaged."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from testkit.missing import skip_outside_ci

MIB = 1024 * 1024


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of ``size`` bytes, mounted at ``folder``; skips where that is not allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs the right to mount a small disk: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, leave: int) -> Path:
    """A ballast file that leaves so many bytes free; delete it to make room again."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        while True:
            disk = os.statvfs(folder)
            free = disk.f_bavail * disk.f_frsize
            if free <= leave:
                return ballast
            size = file.seek(0, os.SEEK_END)
            with contextlib.suppress(OSError):  # somebody else took it meanwhile
                os.posix_fallocate(file.fileno(), size, min(free - leave, MIB))


@asynccontextmanager
async def failing_calls(pid: int, path: Path, inject: str) -> AsyncIterator[None]:
    """Tamper with the system calls that a running process makes on one file.

    ``inject`` is strace's: ``fdatasync,fsync:error=EIO`` or
    ``fdatasync,fsync:delay_enter=200000`` (microseconds). Skips where strace is missing
    or may not attach.
    """
    if shutil.which("strace") is None:
        skip_outside_ci("no strace: put it on the PATH")
    calls = inject.partition(":")[0]
    command = ["strace", "-f", "-p", str(pid), "-e", f"trace={calls}", "-e", f"inject={inject}"]
    tracer = await asyncio.create_subprocess_exec(
        *command, "-P", str(path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    reaping = asyncio.create_task(_let_go_of_dead(tracer, pid))
    try:
        await _attached(tracer, pid)
        yield
    finally:
        reaping.cancel()
        if tracer.returncode is None:
            tracer.terminate()  # it detaches, and the process goes on
        try:
            await asyncio.wait_for(tracer.communicate(), 5)
        except TimeoutError:
            tracer.kill()
            await tracer.communicate()


async def _let_go_of_dead(tracer: asyncio.subprocess.Process, pid: int) -> None:
    """Kill a tracer that does not notice that its process has died.

    strace can miss the end of a process whose threads die all at once (seen with 6.1 on Linux
    6.18), and until it lets go nobody else is told of it.
    """
    dead = 0
    while dead < 3:
        await asyncio.sleep(1)
        dead = dead + 1 if _state_of(pid) == "Z" and tracer.returncode is None else 0
    tracer.kill()


def _state_of(pid: int) -> str:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return ""
    return status.partition("State:\t")[2][:1]


async def _attached(tracer: asyncio.subprocess.Process, pid: int) -> None:
    """Until every thread of the process has the tracer."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if tracer.returncode is not None:
            said = await tracer.stderr.read() if tracer.stderr else b""
            pytest.skip(f"strace may not attach here: {said.decode().strip()}")
        if all(_tracer_of(task) in (tracer.pid, None) for task in _tasks_of(pid)):
            return
        await asyncio.sleep(0.01)
    raise TimeoutError(f"strace did not attach to {pid}")


def _tasks_of(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:
        return []  # the first call that failed has ended the process already


def _tracer_of(task: Path) -> int | None:
    """The process that traces a thread, 0 for none; ``None`` where the thread has ended."""
    try:
        status = (task / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(status.partition("TracerPid:")[2].split()[0])


def flip_bit(path: Path, offset: int) -> None:
    """One bit of one byte; a negative offset is from the end."""
    with path.open("r+b") as file:
        file.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
        place = file.tell()
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 0x10]))


def cut_short(path: Path, by: int) -> None:
    """Drop the last ``by`` bytes."""
    os.truncate(path, path.stat().st_size - by)
