"""Read the settings from arguments, the environment and a file of variables."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from chatsvc.cli.env_file import read_env_file
from chatsvc.core.errors import ConfigurationError
from chatsvc.settings.table import Settings, load, near_misses
from chatsvc.settings.values import expanded

_FLAGS = {"HOST": "host", "PORT": "port", "DATA_DIR": "data_dir", "STORE": "store"}

Overrides = Mapping[str, tuple[str, str]]
"""Name → (value, source)."""


def add_env_file(parser: argparse.ArgumentParser) -> None:
    """Add ``--env-file``."""
    parser.add_argument(
        "--env-file", metavar="PATH", help="a file of variables; the environment takes precedence"
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add what a command that works on ``DATA_DIR`` takes."""
    add_env_file(parser)
    parser.add_argument("--data-dir", metavar="PATH", help="instead of DATA_DIR")


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add ``--store``."""
    parser.add_argument(
        "--store", metavar="STORE", help="instead of STORE: auto, mongodb or sqlite"
    )


def add_listen(parser: argparse.ArgumentParser) -> None:
    """Add what names the address to listen on."""
    parser.add_argument("--host", metavar="ADDRESS", help="instead of HOST")
    parser.add_argument("--port", metavar="N", help="instead of PORT; 0 for any free port")


def variables(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the variables of the environment, and below it those of ``--env-file``.

    Empty values are left out.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    from_file: dict[str, str] = {}
    path = getattr(arguments, "env_file", None)
    if path:
        from_file = read_env_file(path_of("--env-file", path))
    merged = {name: value for name, value in from_file.items() if value}
    return merged | {name: value for name, value in os.environ.items() if value}


def settings_from(arguments: argparse.Namespace, preset: Overrides | None = None) -> Settings:
    """Return the settings.

    A flag takes precedence over the ``preset`` of a command, then follow the environment and
    ``--env-file``.

    Raises:
        ConfigurationError: one line that names the variable, or the line of the file.
    """
    overrides = dict(preset or {})
    for name, attribute in _FLAGS.items():
        value = getattr(arguments, attribute, None)
        if value is not None:
            overrides[name] = (value, f"--{attribute.replace('_', '-')}")
    found = variables(arguments)
    origins = {name: arguments.env_file for name in found if not os.environ.get(name)}
    return load(found, overrides, origins)


def path_of(name: str, text: str) -> Path:
    """Return the path that an argument gives, with ``~`` replaced.

    Raises:
        ConfigurationError: it begins with the home folder of an unknown user.
    """
    try:
        return expanded(text)
    except ValueError as exc:
        raise ConfigurationError(f"{name}: {text!r} {exc}") from None


def warn_of_near_misses(arguments: argparse.Namespace) -> None:
    """Warn of each variable that is set and is similar to one that would be read."""
    for found, meant in near_misses(variables(arguments)):
        sys.stderr.write(f"chatsvc: warning: {found} is set but not read; {meant} is read\n")


def print_line(text: str) -> None:
    """Print a line on standard output."""
    sys.stdout.write(text + "\n")
