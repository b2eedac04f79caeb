"""What the log's file keeps of client ids: from where to read keys back, and bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chatsvc.core.ids import id_at, id_ms, now_ms
from chatsvc.log.file import LogFile
from chatsvc.log.key_bounds import KeyBounds
from chatsvc.log.keys import KeyWindow

_BOUNDS: Final = "keys"
_LIFE: Final = "keys_life"


def open_keys(
    file: LogFile,
    *,
    window_ms: int,
    max_keys: int,
    max_keys_per_sender: int,
    stored: int,
    store_head: int | None,
    clock: Callable[[], int] = now_ms,
) -> KeyWindow:
    """An empty window; the keys of all records above its ``position`` are to be added.

    Args:
        file: after it was brought together with the store: a life of the log that is new,
            or has another store than before, has a past that it does not know.
        window_ms, stored: for a file that says nothing of keys, as an older version left it:
            those that are stored and a window old by the wall clock are not read back.
        store_head: the highest id in the store, ``None`` if it does not answer.
    """
    saved = file.meta(_BOUNDS)
    bounds = KeyBounds(None if saved is None else str(saved), clock=clock)
    if not bounds.known:
        bounds.position = min(stored, id_at(max(0, clock() - window_ms)))
    if not bounds.known or file.meta(_LIFE) != _life(file):
        bounds.past_is_unknown(None if store_head is None else id_ms(store_head))
    return KeyWindow(max_keys=max_keys, max_keys_per_sender=max_keys_per_sender, bounds=bounds)


def forget_life(file: LogFile) -> None:
    """A record was taken out of the file: its key, if it is stored, is the store's to tell."""
    file.set_meta(_LIFE, "")


class SavedKeys:
    """Saves a window's bounds. What is forgotten and not saved yet is read back by the next
    start, so saving may be late; but records above :attr:`position` must not be trimmed."""

    def __init__(self, file: LogFile, keys: KeyWindow) -> None:
        self._file = file
        self._keys = keys
        self.position = keys.position if keys.bounds.known else 0
        """Up to here the bounds on disk cover what was forgotten."""

    def prepare(self) -> Callable[[], None]:
        """What the log's thread has to do to save the present state."""
        position = self._keys.position
        bounds = self._keys.bounds.save(position)

        def save() -> None:
            self._file.set_meta(_BOUNDS, bounds)
            life = _life(self._file)
            if self._file.meta(_LIFE) != life:
                self._file.set_meta(_LIFE, life)
            self.position = position

        return save


def _life(file: LogFile) -> str:
    return f"{file.meta('epoch')} {file.meta('store')}"
