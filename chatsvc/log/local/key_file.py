"""What the log's file keeps of client ids: from where to read keys back, and bounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from chatsvc.core.ids import id_at, id_ms, now_ms
from chatsvc.log.idempotency import KeyWindow
from chatsvc.log.key_bounds import KeyBounds
from chatsvc.log.local.file import LogFile
from chatsvc.log.reconcile import StoreState

_BOUNDS: Final = "keys"
_EPOCH: Final = "keys_epoch"
KEYS_FORGOTTEN: Final[Mapping[str, str]] = MappingProxyType({_EPOCH: ""})
"""To write where a record is taken out of the file: its key, if it is stored, is the store's
to tell."""
_SAVE_SECONDS: Final = 60.0
_SAVE_SOON_SECONDS: Final = 5.0


def open_keys(
    file: LogFile,
    *,
    epoch: str,
    window_ms: int,
    max_keys: int,
    max_keys_per_sender: int,
    stored: int,
    store: StoreState | None,
    clock: Callable[[], int] = now_ms,
    lived: Callable[[], float] = time.monotonic,
) -> KeyWindow:
    """An empty window; the keys of all records above its ``position`` are to be added.

    Args:
        epoch: names this epoch of the log and the store that it fills. Where it is not the
            one that was saved, the store may hold keys that this log never knew.
        window_ms: how long keys are remembered.
        stored: for a file that says nothing of keys, as an older version left it:
            those that are stored and a window old by the wall clock are not read back.
        store: the store, ``None`` if it does not answer.
        lived: see :class:`~chatsvc.log.key_bounds.KeyBounds`.
    """
    saved = file.meta(_BOUNDS)
    bounds = KeyBounds(
        None if saved is None else str(saved),
        clock=clock,
        lived=lived,
        window_seconds=window_ms / 1000,
    )
    if not bounds.known and file.head():
        bounds.position = min(stored, id_at(max(0, clock() - window_ms)))
    if not bounds.known or file.meta(_EPOCH) != epoch:
        if store is None:
            bounds.past_is_unknown(None)
        else:
            bounds.past_is_unknown(id_ms(store.extent), store.window_start)
    return KeyWindow(max_keys=max_keys, max_keys_per_sender=max_keys_per_sender, bounds=bounds)


class SavedKeys:
    """Saves a window's bounds.

    What is forgotten and not saved yet is read back by the next start, so saving may be
    late; but records above :attr:`position` must not be trimmed.
    """

    def __init__(self, file: LogFile, keys: KeyWindow) -> None:
        self._file = file
        self._keys = keys
        self._prepared_at = float("-inf")
        self.position = keys.position if keys.bounds.known else 0
        """Up to here the bounds on disk cover what was forgotten."""

    def is_due(self, now: float, trim_to: int) -> bool:
        """Whether to save again: once a minute, and sooner where trimming waits for it.

        Args:
            now: seconds that only go up.
            trim_to: up to where records could be trimmed, but for this.
        """
        waited = now - self._prepared_at
        if self._keys.position > self.position and trim_to > self.position:
            return waited >= _SAVE_SOON_SECONDS
        return waited >= _SAVE_SECONDS

    def prepare(self, epoch: str, now: float) -> Callable[[], None]:
        """What the log's thread has to do to save the present state, of this epoch."""
        self._prepared_at = now
        position = self._keys.position
        bounds = self._keys.bounds.save(position)

        def save() -> None:
            self._file.set_meta(_BOUNDS, bounds)
            if self._file.meta(_EPOCH) != epoch:
                self._file.set_meta(_EPOCH, epoch)
            self.position = position

        return save
