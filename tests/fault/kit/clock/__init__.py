"""Clocks that are set while a service runs, and the start-up module that does it."""

from __future__ import annotations

from pathlib import Path

HOUR = 3600


class Clock:
    """What the service takes for the time, and for the time that has passed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._wrong = 0
        self._passed = 0
        self.set(0)

    @property
    def env(self) -> dict[str, str]:
        """For the service whose clock it is."""
        return {"PYTHONPATH": str(Path(__file__).parent), "FAULT_CLOCK_FILE": str(self.path)}

    def set(self, seconds: int) -> None:
        """The wall clock so many seconds ahead of what it is; negative: behind."""
        self._wrong = seconds
        self._write()

    def let_pass(self, seconds: int) -> None:
        """So many seconds, by every clock."""
        self._wrong += seconds
        self._passed += seconds
        self._write()

    def _write(self) -> None:
        # In one write of one length: the reader never sees half of it.
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.write(b"%+20d\n%+20d\n" % (self._wrong, self._passed))
