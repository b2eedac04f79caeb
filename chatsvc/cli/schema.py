"""``chatsvc schema``: write the documents of the interface to a folder, or compare them.

The documents are those of the default settings with the development login, whatever the
environment says, so that two machines write the same.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from chatsvc.arguments import OneLineParser
from chatsvc.cli.options import path_of, print_line
from chatsvc.core.errors import ConfigurationError

_ABSENT: Final = object()


def add_arguments(parser: OneLineParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "dir", nargs="?", default="contracts", metavar="DIR", help="the folder (contracts)"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="only compare the files of the folder; exit status 1 if they differ",
    )
    parser.set_defaults(run=schema)


def schema(arguments: argparse.Namespace) -> int:
    """Write the documents. With ``--check``, compare them, and print the first difference.

    Returns:
        1 if ``--check`` finds a difference, otherwise 0.

    Raises:
        ConfigurationError: a file cannot be written.
    """
    from chatsvc.app.documents import documents

    folder = path_of("DIR", arguments.dir)
    made = documents()
    if arguments.check:
        return _check(folder, made)
    for name, document in made.items():
        path = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(document)
        except OSError as exc:
            raise ConfigurationError(f"DIR: {exc.filename or path}: {exc.strerror}") from None
        print_line(str(path))
    return 0


def _check(folder: Path, made: dict[str, bytes]) -> int:
    for name, document in made.items():
        path = folder / name
        try:
            found = path.read_bytes()
        except OSError as exc:
            difference = str(exc.strerror)
        else:
            if found == document:
                continue
            difference = _difference(found, document)
        sys.stderr.write(f"chatsvc: {path}: {difference}\n")
        return 1
    print_line(f"{folder} is up to date")
    return 0


def _difference(found: bytes, wanted: bytes) -> str:
    try:
        value = json.loads(found)
    except ValueError:
        return "it must be JSON"
    except RecursionError:
        return "it nests too deep"
    path = first_difference(value, json.loads(wanted))
    return "its layout differs" if path is None else f"it differs at {path or 'the root'}"


def first_difference(one: Any, other: Any, path: str = "") -> str | None:
    """Return where two JSON values first differ, as a JSON Pointer (RFC 6901), or ``None``.

    Members are compared in the order of their names.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        names = sorted(one.keys() | other.keys())
        pairs = [(name, one.get(name, _ABSENT), other.get(name, _ABSENT)) for name in names]
    elif isinstance(one, list) and isinstance(other, list):
        indexes = range(max(len(one), len(other)))
        pairs = [(str(at), _item(one, at), _item(other, at)) for at in indexes]
    else:
        return None if type(one) is type(other) and one == other else path
    for name, left, right in pairs:
        below = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
        found = first_difference(left, right, below)
        if found is not None:
            return found
    return None


def _item(values: list[Any], index: int) -> Any:
    return values[index] if index < len(values) else _ABSENT
