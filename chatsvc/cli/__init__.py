"""The command line.

Exit status: 0 success, 1 failure, 2 an argument or a setting is wrong.

Each command is a module of its own, imported once the command is chosen, so that
``--version`` and ``healthcheck`` start quickly. Its ``add_arguments`` adds its options to
the command's parser, with ``run``: what takes them and returns the exit status.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from chatsvc import __version__
from chatsvc.arguments import OneLineParser
from chatsvc.console import open_streams, run_program

_PRIVATE: Final = 0o077
"""The umask: no access for group and others."""
_DESCRIPTION: Final = """\
A self-hosted chat backend for applications that already have users.
Settings are environment variables: `chatsvc config` lists them all."""

_COMMANDS: Final = {
    "serve": "run the service",
    "dev": "run the service for this machine only, with tokens for every client",
    "token": "print a token for a user",
    "config": "show every setting, its value and its source",
    "migrate": "upgrade the log and the store to this version",
    "backup": "copy log and store; the service may be running",
    "restore": "restore a backup; the service must be stopped",
    "dead-letters": "messages that could not be stored; the service may be running",
    "projections": "rows that are folded from records; the service may be running",
    "log": "the log on disk; the service must be stopped",
    "schema": "write openapi.json and asyncapi.json, the documents of the interface",
    "healthcheck": "check whether a running service answers",
}


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
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=_CommandParser
    )
    for name, text in _COMMANDS.items():
        commands.add_parser(name, help=text).module = f"chatsvc.cli.{name.replace('-', '_')}"
    return parser


class _CommandParser(OneLineParser):
    """The parser of a command, completed by the command's module once it is chosen."""

    module = ""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Import the module, let it add its arguments, and parse them."""
        import_module(self.module).add_arguments(self)
        return super().parse_known_args(args, namespace)
