"""The size of a run and its folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.contenders import Contender, chatsvc
from bench.processes import Cores, cores


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a run.

    ``frame_bytes`` is what the frames of a fan-out have at least: a longer text makes up for
    fewer names. ``publishes`` and ``sends`` are numbers by concurrency; ``stored`` messages are in
    a store before it is measured. ``settle_seconds`` is the wait before memory is read, so that
    freed memory is returned. ``against`` is another checkout whose chatsvc is measured beside
    this one.
    """

    sockets: int = 500
    people: int = 10
    frame_bytes: int = 0
    publishes: dict[int, int] = field(default_factory=lambda: {1: 400, 8: 1600, 64: 6400})
    sends: dict[int, int] = field(default_factory=lambda: {1: 2000, 8: 8000, 64: 20_000})
    idle: int = 5000
    pages: int = 2000
    entries: int = 1_000_000
    stored: int = 100_000
    settle_seconds: float = 1.0
    peers: tuple[Contender, ...] = ()
    log_level: str = "info"
    against: Path | None = None
    folder: Path | None = None
    cores: Cores = field(default_factory=cores)

    @property
    def services(self) -> tuple[Contender, ...]:
        """Return chatsvc, and that of another checkout if ``against`` names one."""
        ours = (chatsvc(self.log_level),)
        return ours if self.against is None else (*ours, chatsvc(self.log_level, self.against))

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        """Give a temporary folder on the disk that is measured."""
        with tempfile.TemporaryDirectory(prefix="chatsvc-bench-", dir=self.folder) as name:
            yield Path(name)
