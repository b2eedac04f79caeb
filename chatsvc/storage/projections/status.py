"""How building goes, projection by projection, kept for ``/health`` and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from chatsvc.storage.projections.progress import Progress

_NOT_SEEN: Final = Progress(0, 0)


@dataclass(slots=True)
class _Seen:
    """What was seen of one projection last."""

    progress: Progress = _NOT_SEEN
    error: str | None = None


class BuildingStatus:
    """What the builder saw last; it looks every few seconds.

    Args:
        names: of the projections.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._seen = {name: _Seen() for name in sorted(names)}

    def saw(self, name: str, progress: Progress) -> None:
        """Note how far a projection is."""
        self._seen[name].progress = progress

    def failed(self, name: str, error: str) -> bool:
        """Note why a projection cannot be built; return whether that is new."""
        seen = self._seen[name]
        before, seen.error = seen.error, error
        return error != before

    def succeeded(self, name: str) -> None:
        """Note that nothing prevents it from being built."""
        self._seen[name].error = None

    @property
    def lowest(self) -> int | None:
        """The lowest position of a projection that is behind; ``None``: none is."""
        behind = [one.progress for one in self._seen.values() if one.progress.is_behind]
        return min((one.position for one in behind), default=None)

    @property
    def building(self) -> Mapping[str, float]:
        """1 for each projection that is behind the store's watermark, 0 for the others."""
        return {name: float(one.progress.is_behind) for name, one in self._seen.items()}

    @property
    def failing(self) -> Mapping[str, float]:
        """1 for each projection that cannot be built, 0 for the others."""
        return {name: float(one.error is not None) for name, one in self._seen.items()}

    @property
    def seconds_behind(self) -> Mapping[str, float]:
        """How far each is behind, in seconds of the records' times."""
        return {name: one.progress.seconds_behind for name, one in self._seen.items()}

    @property
    def problem(self) -> str | None:
        """What is missing from the rows of some projection, and why; ``None``: nothing is."""
        for name, one in self._seen.items():
            if one.error is not None:
                return f"projection {name!r} cannot be built: {one.error}"
        for name, one in self._seen.items():
            if one.progress.is_behind:
                return f"projection {name!r} is being built, and its rows lack older records"
        return None

    def __bool__(self) -> bool:
        """Whether there is a projection."""
        return bool(self._seen)
