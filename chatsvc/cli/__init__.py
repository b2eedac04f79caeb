"""The command line.

Exit status: 0 success, 1 failure, 2 an argument or a setting is wrong.

Each command imports what it needs when it runs, so that ``--version`` and
``healthcheck`` start quickly.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from chatsvc import __version__
from chatsvc.arguments import OneLineParser
from chatsvc.console import open_streams, run_program

_PRIVATE: Final = 0o077
"""The umask: no access for group and others."""
_DESCRIPTION: Final = """\
A self-hosted chat backend for applications that already have users.
Settings are environment variables: `chatsvc config` lists them all."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status.

    An error that a person can fix is one line on standard error: a setting, a port or a
    folder that is in use, files of a newer version, a damaged log, an unavailable store.
    Only their owner can read the files that a command creates.
    """
    open_streams()
    before = os.umask(_PRIVATE)
    try:
        return run_program(lambda: _run(argv), "chatsvc")
    finally:
        os.umask(before)


def _run(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)

    from chatsvc.core.errors import (
        ConfigurationError,
        LogDamaged,
        Unavailable,
        VersionTooNew,
    )

    try:
        status: int = arguments.run(arguments)
    except (ConfigurationError, LogDamaged, VersionTooNew) as exc:
        return _print_error(str(exc), 2)
    except Unavailable as exc:
        return _print_error(exc.detail, 1)
    return status


def _print_error(text: str, status: int) -> int:
    sys.stderr.write(f"chatsvc: {' '.join(text.split())}\n")
    return status


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog="chatsvc",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"chatsvc {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    env = OneLineParser(add_help=False)
    env.add_argument(
        "--env-file", metavar="PATH", help="a file of variables; the environment takes precedence"
    )
    data = OneLineParser(add_help=False, parents=[env])
    data.add_argument("--data-dir", metavar="PATH", help="instead of DATA_DIR")
    store = OneLineParser(add_help=False)
    store.add_argument("--store", metavar="STORE", help="instead of STORE: auto, mongodb or sqlite")
    listen = OneLineParser(add_help=False)
    listen.add_argument("--host", metavar="ADDRESS", help="instead of HOST")
    listen.add_argument("--port", metavar="N", help="instead of PORT; 0 for any free port")

    serve = commands.add_parser("serve", parents=[listen, data, store], help="run the service")
    serve.set_defaults(run=_serve)
    dev = commands.add_parser(
        "dev",
        parents=[listen, data, store],
        help="run the service for this machine only, with tokens for every client",
    )
    dev.add_argument("--reload", action="store_true", help="restart when the source code changes")
    dev.set_defaults(run=_dev)

    token = commands.add_parser("token", parents=[data], help="print a token for a user")
    token.add_argument("user", metavar="USER")
    token.add_argument("--ttl", default="1h", metavar="TIME", help="90, 15m, 1h (default), 30d")
    token.set_defaults(run=_token)

    config = commands.add_parser(
        "config",
        parents=[listen, data, store],
        help="show every setting, its value and its source",
    )
    config.add_argument(
        "--check", action="store_true", help="only check whether `chatsvc serve` would start"
    )
    config.set_defaults(run=_config)

    migrate = commands.add_parser(
        "migrate", parents=[data, store], help="upgrade the log and the store to this version"
    )
    migrate.add_argument(
        "--check",
        action="store_true",
        help="only show what has to be upgraded; exit status 1 if anything",
    )
    migrate.set_defaults(run=_migrate)

    backup = commands.add_parser(
        "backup", parents=[data, store], help="copy log and store; the service may be running"
    )
    backup.add_argument("dir", metavar="DIR", help="a folder that does not exist yet")
    backup.set_defaults(run=_backup)
    restore = commands.add_parser(
        "restore", parents=[data, store], help="restore a backup; the service must be stopped"
    )
    restore.add_argument("dir", metavar="DIR", help="a folder that `chatsvc backup` has created")
    restore.add_argument(
        "--force",
        action="store_true",
        help="move the existing files of DATA_DIR away first",
    )
    restore.set_defaults(run=_restore)

    _add_dead_letters(commands, [data, store])
    _add_log(commands, [data, store])
    _add_schema(commands)

    health = commands.add_parser(
        "healthcheck", parents=[env], help="check whether a running service answers"
    )
    health.add_argument("--url", help="instead of http://127.0.0.1:PORT")
    health.set_defaults(run=_healthcheck)
    return parser


def _add_dead_letters(
    commands: argparse._SubParsersAction[OneLineParser],
    parents: list[OneLineParser],
) -> None:
    letters = commands.add_parser(
        "dead-letters", help="messages that could not be stored; the service may be running"
    )
    actions = letters.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", parents=parents, help="list them, oldest first")
    listing.set_defaults(action="list")
    show = actions.add_parser("show", parents=parents, help="show one with all its fields, as JSON")
    show.add_argument("id", metavar="ID")
    show.set_defaults(action="show")
    replay = actions.add_parser("replay", parents=parents, help="store it now, and remove it here")
    replay.add_argument("ids", nargs="*", metavar="ID")
    replay.add_argument("--all", action="store_true", help="replay all of them")
    replay.set_defaults(action="replay")
    drop = actions.add_parser("drop", parents=parents, help="delete it permanently")
    drop.add_argument("ids", nargs="+", metavar="ID")
    drop.set_defaults(action="drop")
    for action in (listing, show, replay, drop):
        action.set_defaults(run=_dead_letters)


def _add_log(
    commands: argparse._SubParsersAction[OneLineParser],
    parents: list[OneLineParser],
) -> None:
    log = commands.add_parser("log", help="the log on disk; the service must be stopped")
    actions = log.add_subparsers(title="actions", metavar="ACTION", required=True)
    verify = actions.add_parser("verify", parents=parents, help="check records and checksums")
    verify.add_argument(
        "--quarantine", action="store_true", help="move bad records to the dead letters"
    )
    verify.add_argument(
        "--accept-loss",
        action="store_true",
        help="drop what cannot be read; a copy is kept, and a new epoch begins",
    )
    verify.set_defaults(run=_log_verify)


def _add_schema(commands: argparse._SubParsersAction[OneLineParser]) -> None:
    schema = commands.add_parser(
        "schema", help="write openapi.json and asyncapi.json, the documents of the interface"
    )
    schema.add_argument(
        "dir", nargs="?", default="contracts", metavar="DIR", help="the folder (contracts)"
    )
    schema.add_argument(
        "--check",
        action="store_true",
        help="only compare the files of the folder; exit status 1 if they differ",
    )
    schema.set_defaults(run=_schema)


def _serve(arguments: argparse.Namespace) -> int:
    from chatsvc.cli.serving import serve

    return serve(arguments)


def _dev(arguments: argparse.Namespace) -> int:
    from chatsvc.cli.serving import dev

    return dev(arguments)


def _token(arguments: argparse.Namespace) -> int:
    from chatsvc.cli.token import token

    return token(arguments)


def _config(arguments: argparse.Namespace) -> int:
    from chatsvc.cli.config import config

    return config(arguments)


def _log_verify(arguments: argparse.Namespace) -> int:
    from chatsvc.cli.log import log_verify

    return log_verify(arguments)


def _migrate(arguments: argparse.Namespace) -> int:
    from chatsvc.cli.migrate import migrate

    return migrate(arguments)


def _backup(arguments: argparse.Namespace) -> int:
    from chatsvc.cli.backup import backup

    return backup(arguments)


def _restore(arguments: argparse.Namespace) -> int:
    from chatsvc.cli.restore import restore

    return restore(arguments)


def _dead_letters(arguments: argparse.Namespace) -> int:
    from chatsvc.cli.dead_letters import dead_letters

    return dead_letters(arguments)


def _schema(arguments: argparse.Namespace) -> int:
    from chatsvc.cli.schema import schema

    return schema(arguments)


def _healthcheck(arguments: argparse.Namespace) -> int:
    from chatsvc.cli.healthcheck import healthcheck

    return healthcheck(arguments)
