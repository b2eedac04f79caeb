"""A wall clock that is set while a service runs, and the start-up module that does it."""

from __future__ import annotations

from pathlib import Path

HOUR = 3600


class Clock:
    """What the service takes for the time, in seconds ahead of what it is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.set(0)

    @property
    def env(self) -> dict[str, str]:
        """For the service whose clock it is."""
        return {"PYTHONPATH": str(Path(__file__).parent), "FAULT_CLOCK_FILE": str(self.path)}

    def set(self, seconds: int) -> None:
        """So much ahead of what it is; negative: behind."""
        # In one write of one length: the reader never sees half of it.
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.write(b"%+20d\n" % seconds)
