"""Commands see a bare environment and an empty folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from chatsvc.settings.table import TABLE, near_misses


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, empty; no variable of ours is set."""
    for name in (*(row.name for row in TABLE), *(name for name, _ in near_misses(os.environ))):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o077)  # as in the process of a command
    yield tmp_path
    os.umask(before)


@pytest.fixture(autouse=True)
def _logging_put_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    configure = structlog.configure

    def without_cache(**options: Any) -> None:
        # A logger that is cached here would go on writing as this test had it set up.
        configure(**(options | {"cache_logger_on_first_use": False}))

    monkeypatch.setattr(structlog, "configure", without_cache)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
