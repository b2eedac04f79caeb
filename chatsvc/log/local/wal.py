"""A read-only walk over a SQLite write-ahead log, before SQLite opens it.

At the first frame whose checksum does not hold SQLite stops reading, silently, and
``integrity_check`` says ok: one flipped bit in the middle drops every commit behind
it. A crash can only tear the end. So: at most one commit at or after the first bad
frame is a torn end; more were complete once, and are damage.

Format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

_HEADER: Final = 32
_FRAME: Final = 24
_MAGIC_LITTLE: Final = 0x377F0682
_MAGIC_BIG: Final = 0x377F0683
_PAGE_SIZES: Final = tuple(1 << power for power in range(9, 17))
_MASK: Final = 0xFFFFFFFF


class WalReport(NamedTuple):
    """What a walk found. ``bad_offset``: of the first bad frame in bytes, or ``None``.

    ``commits`` counts good commits; ``commits_lost`` those at or after the bad frame.
    """

    commits: int
    bad_offset: int | None
    commits_lost: int

    @property
    def damaged(self) -> bool:
        """More is behind the bad frame than a crash can tear."""
        return self.commits_lost > 1


def inspect_wal(path: Path) -> WalReport:
    """Walk the frames of ``path``, one at a time; a missing or empty file is good and empty."""
    try:
        with path.open("rb") as file:
            return _inspect(file, path.stat().st_size)
    except FileNotFoundError:
        return WalReport(0, None, 0)


def _inspect(file: BinaryIO, length: int) -> WalReport:
    start = file.read(_HEADER)
    if len(start) < _HEADER:
        return WalReport(0, 0 if start else None, 0)
    magic, _, page, _, salt1, salt2, sum1, sum2 = struct.unpack(">8I", start)
    size = page if 512 <= page <= 65536 and page & (page - 1) == 0 else 0
    little = magic == _MAGIC_LITTLE
    good_header = (
        magic in (_MAGIC_LITTLE, _MAGIC_BIG)
        and size > 0
        and _checksum(start[:24], 0, 0, little=little) == (sum1, sum2)
    )
    if not good_header:
        # The page size may be what is wrong. Frames carry 64 bits of salt: at a wrong size
        # none but the first is found.
        lost = max(_commits_from(file, length, _HEADER, g, salts=None) for g in _PAGE_SIZES)
        return WalReport(0, 0, lost)
    commits = 0
    position = _HEADER
    while position + _FRAME + size <= length:
        frame = file.read(_FRAME + size)
        if len(frame) < _FRAME + size:
            break  # cut short while it was read
        _, database_size, frame_salt1, frame_salt2, want1, want2 = struct.unpack(
            ">6I", frame[:_FRAME]
        )
        if (frame_salt1, frame_salt2) != (salt1, salt2):
            break  # left over from before the last checkpoint, or bad: counted below
        sum1, sum2 = _checksum(frame[:8], sum1, sum2, little=little)
        sum1, sum2 = _checksum(frame[_FRAME:], sum1, sum2, little=little)
        if (sum1, sum2) != (want1, want2):
            break
        commits += database_size != 0
        position += _FRAME + size
    else:
        return WalReport(commits, position if position < length else None, 0)
    lost = _commits_from(file, length, position, size, salts=(salt1, salt2))
    file.seek(position + 8)
    torn = lost > 0 or file.read(8) == start[16:24]
    return WalReport(commits, position if torn else None, lost)


def _commits_from(
    file: BinaryIO, length: int, position: int, size: int, salts: tuple[int, int] | None
) -> int:
    """Commit frames from ``position`` on that carry the given salts.

    Without salts (the header is bad) those that carry the salts of the first frame.
    """
    lost = 0
    while position + _FRAME <= length:
        file.seek(position)
        head = file.read(16)
        if len(head) < 16:
            break
        _, database_size, salt1, salt2 = struct.unpack(">4I", head)
        if salts is None:
            salts = (salt1, salt2)
        if (salt1, salt2) == salts and database_size != 0:
            lost += 1
        position += _FRAME + size
    return lost


def _checksum(data: bytes, s0: int, s1: int, *, little: bool) -> tuple[int, int]:
    """SQLite's running checksum over pairs of 32-bit words."""
    words = struct.unpack(f"{'<' if little else '>'}{len(data) // 4}I", data)
    pairs = iter(words)
    for first in pairs:
        s0 = (s0 + first + s1) & _MASK
        s1 = (s1 + next(pairs) + s0) & _MASK
    return s0, s1
