"""Restart: seconds from exec to the first connection, by the length of the log."""

from __future__ import annotations

import time
from itertools import repeat
from pathlib import Path

from bench import http_load
from bench.contenders import CONTENT, chatsvc, people, send_request
from bench.options import Options
from bench.report import Figures
from bench.scenarios.durable import stored
from chatsvc.core.ids import id_at, now_ms
from chatsvc.core.message import draft_message
from chatsvc.core.record import accept, checksum, pack
from chatsvc.log.local.file import LogFile

_OLDER_MS = 4 * 3600 * 1000
_ROWS = 250
_SENDS = 1000


async def run(options: Options, figures: Figures) -> None:
    """A log of 1,000 entries, and one with ``options.entries`` older ones before them.

    The older ones are stored and older than the idempotency window, so a start does not read
    them.
    """
    own = chatsvc(options.log_level)
    with options.temporary() as folder:
        with own.run(folder, options.cores.server) as server:
            publish = send_request(people(1))
            await http_load.run(server.port, repeat(publish, _SENDS), at_once=8)
            await stored(server)
        _start(options, figures, folder, _SENDS)
        _fill(folder / "data" / "log.db", options.entries)
        _start(options, figures, folder, _SENDS + options.entries)


def _start(options: Options, figures: Figures, folder: Path, entries: int) -> None:
    scenario = "A start, until a connection is taken"
    own = chatsvc(options.log_level)
    began = time.monotonic()
    with own.run(folder, options.cores.server) as server:
        seconds = time.monotonic() - began
        what = f"{entries:,} entries in the log"
        figures.add(scenario, own.name, what, "s", seconds)
        figures.add(scenario, own.name, f"CPU, {entries:,} entries", "s", server.cpu())


def _fill(path: Path, entries: int) -> None:
    """Insert entries of four hours ago, in the form that the log writes."""
    file = LogFile(path)
    people_ = ("sender", *people(1))
    draft = draft_message(
        channel=",".join(people_), participants=people_, sender="sender", content=CONTENT,
        origin="", client_id=None, metadata=None,
    )  # fmt: skip
    first = id_at(now_ms() - _OLDER_MS)
    for start in range(0, entries, _ROWS):
        rows = []
        for number in range(start, min(start + _ROWS, entries)):
            record_id = first + (number << 6)
            data = pack(accept(draft, record_id))
            rows.append((record_id, checksum(record_id, data), data))
        file.insert(rows)
        file.checkpoint_if_due()
    file.close()
