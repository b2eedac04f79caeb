"""``chatsvc log verify``: check that the log on disk is what was written."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from chatsvc import logs
from chatsvc.arguments import OneLineParser
from chatsvc.cli.options import add_data, add_store, print_line, settings_from, warn_of_near_misses
from chatsvc.core.errors import ConfigurationError
from chatsvc.core.ids import format_id, now_ms
from chatsvc.log.local.lock import DataDirLock
from chatsvc.log.local.verify import (
    BadRow,
    Verdict,
    accept_loss,
    adopt_state,
    remove,
    verify,
)
from chatsvc.settings.table import Settings
from chatsvc.storage.dead_letters import DAMAGED
from chatsvc.storage.ports.dead_letters import DeadLetter


def add_arguments(parser: OneLineParser) -> None:
    """Add the arguments of the command."""
    actions = parser.add_subparsers(
        title="actions", metavar="ACTION", required=True, parser_class=OneLineParser
    )
    action = actions.add_parser("verify", help="check records and checksums")
    add_data(action)
    add_store(action)
    action.add_argument(
        "--quarantine",
        action="store_true",
        help="move bad records to the dead letters, and read bad memberships from the store",
    )
    action.add_argument(
        "--accept-loss",
        action="store_true",
        help="drop what cannot be read; a copy is kept, and a new epoch begins",
    )
    action.set_defaults(run=log_verify)


def log_verify(arguments: argparse.Namespace) -> int:
    """Check the log; if requested, move bad records to the dead letters, or accept the loss.

    The service must be stopped.

    Returns:
        1 if the log is still bad, otherwise 0.
    """
    settings = settings_from(arguments)
    warn_of_near_misses(arguments)
    logs.configure(settings)
    path = settings.data_path / "log.db"
    if not path.exists():
        raise ConfigurationError(f"DATA_DIR: there is no log in {settings.data_path}")
    lock = DataDirLock(settings.data_path)
    lock.acquire()
    try:
        verdict = verify(path)
        _report(verdict)
        if verdict.errors and arguments.accept_loss:
            print_line(f"a copy of the previous files is in {accept_loss(path)}")
            verdict = verify(path)
            _report(verdict)
        if verdict.rows and arguments.quarantine:
            asyncio.run(_move_to_dead_letters(settings, path, verdict.rows))
            verdict = verdict._replace(rows=())
        if verdict.state and arguments.quarantine and not verdict.errors:
            verdict = verdict._replace(state=_adopt_state(path, verdict.state))
    finally:
        lock.release()
    return 0 if verdict.good else 1


def _report(verdict: Verdict) -> None:
    for error in (*verdict.errors, *verdict.state):
        print_line(f"bad: {error}")
    for row in verdict.rows:
        print_line(f"bad: record {format_id(row.id)}: {row.reason}")
    if verdict.good:
        print_line(f"good: {verdict.records} records")
    elif verdict.errors:
        return
    if verdict.rows:
        print_line(
            "--quarantine moves these records to the dead letters; then the service can start"
        )
    if verdict.state:
        print_line("--quarantine lets the next start read members and filters from the store")


def _adopt_state(path: Path, found: tuple[str, ...]) -> tuple[str, ...]:
    """Return what is still wrong with the log's own state."""
    if adopt_state(path):
        print_line("the next start reads members and filters from the store")
        return ()
    print_line("the store has yet to get rows of this log: start the service, then verify again")
    return found


async def _move_to_dead_letters(settings: Settings, path: Path, rows: tuple[BadRow, ...]) -> None:
    from chatsvc.app.backends import open_store

    store = open_store(settings)
    try:
        await store.open()
        at_ms = now_ms()
        await store.dead_letters.put(
            [DeadLetter(row.id, DAMAGED, row.reason, at_ms, row.data) for row in rows]
        )
    finally:
        await store.close()
    await asyncio.to_thread(remove, path, rows)
    print_line(f"{len(rows)} moved to the dead letters: chatsvc dead-letters list")
