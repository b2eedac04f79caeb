"""Lines of standard input that is not a terminal with an editor.

A thread that waits in ``readline`` cannot be interrupted, and the interpreter waits for it at
exit: Ctrl-C would have no effect. So the event loop waits for the descriptor.
"""

from __future__ import annotations

import asyncio
import io
import os
from typing import TextIO

_PIECE = 65536


class LineReader:
    """Reads a text stream of which nothing was read before.

    Raises, in every method:
        UnicodeDecodeError: a line, or everything, is not text of the stream's encoding.
    """

    def __init__(self, source: TextIO) -> None:
        self._source = source
        self._encoding = source.encoding or "utf-8"
        self._buffer = b""
        self._ended = False
        try:
            self._descriptor: int | None = source.fileno()
        except (io.UnsupportedOperation, OSError):  # text in memory
            self._descriptor = None

    async def readline(self) -> str | None:
        """Return the next line without its end, or ``None`` after the last one."""
        while b"\n" not in self._buffer and not self._ended:
            await self._read_piece()
        if not self._buffer and self._ended:
            return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode(self._encoding).removesuffix("\r")

    async def read(self) -> str:
        """Return everything up to the end of the input."""
        while not self._ended:
            await self._read_piece()
        data, self._buffer = self._buffer, b""
        return data.decode(self._encoding)

    async def _read_piece(self) -> None:
        if self._descriptor is None:
            piece = self._source.readline().encode(self._encoding)
        else:
            await _wait_for_input(self._descriptor)
            piece = os.read(self._descriptor, _PIECE)
        self._buffer += piece
        self._ended = not piece


async def _wait_for_input(descriptor: int) -> None:
    """Wait until a read does not block."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except PermissionError:  # a regular file, which never blocks, cannot be waited for
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
