"""From arguments, environment and a file of variables to settings."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from chatsvc.cli.env_file import read_env_file
from chatsvc.settings import Settings, load, near_misses

_FLAGS = {"HOST": "host", "PORT": "port", "DATA_DIR": "data_dir", "STORE": "store"}

Overrides = Mapping[str, tuple[str, str]]
"""Name → (value, what it comes from)."""


def variables(arguments: argparse.Namespace) -> dict[str, str]:
    """The environment, and below it what ``--env-file`` names. Empty values are left out.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    from_file: dict[str, str] = {}
    path = getattr(arguments, "env_file", None)
    if path:
        from_file = read_env_file(Path(path).expanduser())
    merged = {name: value for name, value in from_file.items() if value}
    return merged | {name: value for name, value in os.environ.items() if value}


def settings_from(arguments: argparse.Namespace, preset: Overrides | None = None) -> Settings:
    """The settings: a flag before a command's ``preset``, that before the environment, that
    before ``--env-file``.

    Raises:
        ConfigurationError: one line that names the variable, or a line of the file.
    """
    overrides = dict(preset or {})
    for name, attribute in _FLAGS.items():
        value = getattr(arguments, attribute, None)
        if value is not None:
            overrides[name] = (value, f"--{attribute.replace('_', '-')}")
    found = variables(arguments)
    origins = {name: arguments.env_file for name in found if not os.environ.get(name)}
    return load(found, overrides, origins)


def warn_of_near_misses(arguments: argparse.Namespace) -> None:
    """Name each variable that is set and nearly matches one that would be read."""
    for found, meant in near_misses(variables(arguments)):
        sys.stderr.write(f"chatsvc: warning: {found} is set, and is not read: {meant} is\n")


def say(text: str) -> None:
    """A line on standard output."""
    sys.stdout.write(text + "\n")
