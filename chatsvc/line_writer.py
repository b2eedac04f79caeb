"""Write lines to a file descriptor from a thread, bounded, without blocking the caller.

A pipe that nobody reads, a terminal that was stopped with Ctrl-S and a disk that hangs all
block a writer. So lines are queued, up to a number of bytes, and one thread writes them in
batches. When the queue is full, lines are dropped and counted.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import threading
import time
from collections.abc import Callable
from typing import Final

MAX_QUEUED_BYTES: Final = 4 * 1024 * 1024
CHUNK_BYTES: Final = 64 * 1024
GATHER_SECONDS: Final = 0.01
"""How long the thread collects lines after the first: a wake-up per line would cost as much
as a write per line."""
_RETRY_MS: Final = 200

Dropped = Callable[[int], None]


class LineWriter:
    """Writes lines in order to a descriptor, from its own thread.

    Args:
        descriptor: a file, pipe or terminal; blocking or not. It stays open.
        max_bytes: the maximum size of the queued lines, newlines included.
        on_dropped: called from the thread, when lines are written again, with the number of
            lines dropped since the last call.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        max_bytes: int = MAX_QUEUED_BYTES,
        on_dropped: Dropped | None = None,
    ) -> None:
        self._descriptor = descriptor
        self._max_bytes = max_bytes
        self.on_dropped = on_dropped
        self.lost = 0
        """Lines that were dropped or could not be written."""
        self._reported = 0
        self._waiting_bytes = 0
        # Reentrant: the garbage collector may run here, and a finalizer may log.
        self._counting = threading.RLock()
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chatsvc-lines", daemon=True)
        self._thread.start()

    def msg(self, line: bytes) -> None:
        """Queue one line, without its newline; from any thread. Never waits, never raises."""
        size = len(line) + 1
        with self._counting:
            if self._waiting_bytes + size > self._max_bytes or self._closing.is_set():
                self.lost += 1
                return
            self._waiting_bytes += size
            self._lines.put(line)

    log = debug = info = warn = warning = error = critical = exception = fatal = msg

    def close(self, seconds: float) -> bool:
        """Write the queued lines, for at most ``seconds``; later lines are dropped. Idempotent.

        Returns:
            Whether everything was written.
        """
        with self._counting:
            if not self._closing.is_set():
                self._closing.set()
                self._lines.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        last = False
        while not last:
            lines: list[bytes] = []
            if self._lines.empty():
                first = self._lines.get()
                if first is None:
                    return
                lines.append(first)
                self._closing.wait(GATHER_SECONDS)
            last = self._gather(lines)
            if self._write(lines):
                self._report()

    def _gather(self, lines: list[bytes]) -> bool:
        """Add queued lines, up to a chunk; return whether the end of the queue was reached."""
        size = sum(map(len, lines))
        with contextlib.suppress(queue.Empty):
            while size < CHUNK_BYTES:
                line = self._lines.get_nowait()
                if line is None:
                    return True
                lines.append(line)
                size += len(line)
        return False

    def _write(self, lines: list[bytes]) -> bool:
        data = b"".join([line + b"\n" for line in lines])
        done = 0
        try:
            while done < len(data):
                done += self._write_some(data, done)
        except (OSError, ValueError):
            with self._counting:
                self.lost += data.count(b"\n", done)
        with self._counting:
            self._waiting_bytes -= len(data)
        return done == len(data)

    def _write_some(self, data: bytes, start: int) -> int:
        try:
            return os.write(self._descriptor, memoryview(data)[start:])
        except BlockingIOError:
            # A process that shares the descriptor has set it to non-blocking.
            waiting = select.poll()
            waiting.register(self._descriptor, select.POLLOUT)
            waiting.poll(_RETRY_MS)
            return 0

    def _report(self) -> None:
        dropped = self.lost - self._reported
        if not dropped or self.on_dropped is None or self._waiting_bytes > self._max_bytes // 2:
            return
        self._reported += dropped
        self.on_dropped(dropped)


def write_within(descriptor: int, data: bytes, seconds: float) -> None:
    """Write the final message of a process that is about to end, if possible in ``seconds``."""
    deadline = time.monotonic() + seconds

    def write() -> None:
        with contextlib.suppress(OSError):  # it cannot be reported elsewhere
            os.write(descriptor, data)

    thread = threading.Thread(target=write, name="chatsvc-final-write", daemon=True)
    thread.start()
    thread.join(max(0.0, deadline - time.monotonic()))
