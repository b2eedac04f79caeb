"""Elapsed time, moved by hand."""

from __future__ import annotations

from chatsvc.log.local.elapsed import Instant


class Boot:
    """Seconds of one boot of the machine; another is begun by giving ``name``."""

    def __init__(self) -> None:
        self.name = "boot"
        self.seconds = 1000.0

    def __call__(self) -> Instant:
        return Instant(self.name, self.seconds)
