"""``chatsvc config``: print every setting, its value and its source."""

from __future__ import annotations

import argparse
from typing import Any

from chatsvc.arguments import OneLineParser
from chatsvc.cli.options import (
    add_data,
    add_listen,
    add_store,
    print_line,
    settings_from,
    warn_of_near_misses,
)
from chatsvc.logs import MASK, safe_uri
from chatsvc.settings.table import TABLE, Settings, Variable


def add_arguments(parser: OneLineParser) -> None:
    """Add the arguments of the command."""
    add_listen(parser)
    add_data(parser)
    add_store(parser)
    parser.add_argument(
        "--check", action="store_true", help="only check whether `chatsvc serve` would start"
    )
    parser.set_defaults(run=config)


def config(arguments: argparse.Namespace) -> int:
    """Print the table, with secrets masked. With ``--check``, check that ``serve`` would start."""
    settings = settings_from(arguments)
    warn_of_near_misses(arguments)
    if arguments.check:
        from chatsvc.cli.checking import check

        check(settings)
        print_line("chatsvc serve would start with these settings")
        return 0
    rows = [(row.name, shown(row, settings), settings.source[row.name]) for row in TABLE]
    name_width = max(len(name) for name, _, _ in rows)
    value_width = max(len(value) for _, value, _ in rows if len(value) <= 40)
    for name, value, source in rows:
        print_line(f"{name:<{name_width}}  {value:<{value_width}}  {source}")
    return 0


def shown(row: Variable, settings: Settings) -> str:
    """Return a value as text, ``***`` for a secret, or ``-`` for an empty value."""
    value: Any = getattr(settings, row.attribute)
    if row.name == "MONGO_URI":
        return safe_uri(value)
    if value is None:
        return row.default  # auto: decided at the start
    if value in ("", ()):
        return "-"
    if row.secret:
        return MASK
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    if row.name == "STORE" and value == "auto":
        return f"auto ({settings.chosen_store})"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return " ".join(text.split())
