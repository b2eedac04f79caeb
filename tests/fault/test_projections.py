"""A process that is killed while it writes rows: what is there afterwards is whole batches."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chatsvc.storage.sqlite.store import SqliteStore
from testkit.records import KINDS
from tests.contract.support.projected import BOTH, THINGS, any_edit, expected, rows_of

ROOT = Path(__file__).resolve().parents[2]
BATCHES = [[any_edit(10 * n + m, random.Random(10 * n + m)) for m in range(3)] for n in range(6)]

WRITE_UNTIL_KILLED = """
import asyncio, os, signal, sys
from pathlib import Path

from chatsvc.storage.sqlite import projections, projection_tables
from chatsvc.storage.sqlite.store import SqliteStore
from testkit.records import KINDS
from tests.contract.support.projected import BOTH
from tests.fault.test_projections import BATCHES

where, killed_at = sys.argv[2], int(sys.argv[3])
owner = {"write": projection_tables.ProjectionTable, "_settle": projections.ProjectionWrites,
         "committed": projections.ProjectionWrites}[where]
method, calls = getattr(owner, where), 0

def counted(*arguments):
    global calls
    done = method(*arguments)
    calls += 1
    if calls == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return done

setattr(owner, where, counted)

async def main():
    store = SqliteStore(Path(sys.argv[1]), kinds=KINDS, projections=BOTH)
    await store.open()
    for batch in BATCHES:
        await store.write(batch)

asyncio.run(main())
"""


@pytest.mark.fault
@pytest.mark.parametrize("where", ["write", "_settle", "committed"])
@pytest.mark.parametrize("killed_at", [1, 4])
async def test_killed_while_rows_are_written(tmp_path: Path, where: str, killed_at: int) -> None:
    """Before and after the commit: the rows are those of the records that are stored."""
    path = tmp_path / "store.db"
    done = subprocess.run(
        [sys.executable, "-c", WRITE_UNTIL_KILLED, str(path), where, str(killed_at)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    store = SqliteStore(path, kinds=KINDS, projections=BOTH)
    await store.open()
    whole = killed_at - 1 if where != "committed" else killed_at
    stored = [one for batch in BATCHES[:whole] for one in batch]
    assert await store.head() == (stored[-1].id if stored else 0)
    assert await rows_of(store) == expected(THINGS, stored)
    assert await store.projections.position("things") == (stored[-1].id if stored else 0)
    for batch in BATCHES:  # as the persister does: from the watermark, which was never set
        assert await store.write(batch) == []
    assert await rows_of(store) == expected(THINGS, [one for batch in BATCHES for one in batch])
    await store.close()
