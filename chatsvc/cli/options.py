"""From arguments and environment to settings."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping

from chatsvc.settings import Settings, load, near_misses

_FLAGS = {"HOST": "host", "PORT": "port", "DATA_DIR": "data_dir", "STORE": "store"}

Overrides = Mapping[str, tuple[str, str]]
"""Name → (value, what it comes from)."""


def settings_from(arguments: argparse.Namespace, preset: Overrides | None = None) -> Settings:
    """The settings: a flag before a command's ``preset``, that before the environment.

    Raises:
        ConfigurationError: one line that names the variable.
    """
    overrides = dict(preset or {})
    for name, attribute in _FLAGS.items():
        value = getattr(arguments, attribute, None)
        if value is not None:
            overrides[name] = (value, f"--{attribute.replace('_', '-')}")
    return load(os.environ, overrides)


def warn_of_near_misses() -> None:
    """Name each variable that is set and nearly matches one that would be read."""
    for found, meant in near_misses(os.environ):
        sys.stderr.write(f"chatsvc: warning: {found} is set, and is not read: {meant} is\n")


def say(text: str) -> None:
    """A line on standard output."""
    sys.stdout.write(text + "\n")
