"""What every client did and saw, as lines of JSON.

A line is an event::

    {"process": "send:alice:0", "type": "invoke", "op": "send", "call": 17,
     "time": 123456789, "value": {…}}

``type`` is ``invoke`` when something was asked for, then ``ok`` (it happened), ``fail``
(it did not and will not) or ``unknown`` (a time-out, a lost connection, a 503: either);
``call`` pairs the two. What comes unasked (a message on a socket) is a single ``ok``.
``time`` is CLOCK_MONOTONIC in nanoseconds: one clock for all processes of a machine.

Messages stand in values as ``{"id", "sender", "client_id", "channel", "content"}``.

=========  ======  ==============================================================
op         type    value
=========  ======  ==============================================================
send       all     the message without id, and device; ``ok``: id, duplicate
connect    ok      user, listener, connection, device, echo, since, recovered,
                   position (where the server starts to serve it, an id)
receive    ok      user, listener, connection, and the message
position   ok      listener, position: a frame said that all up to it was served
gap        ok      listener, from, to: announced as not sent, from exclusive
fetch      ok      listener, from, to, messages: the range of a gap, fetched
settle     ok      listener, up_to: it has waited for everything up to this id
read       all     user, channel or null, after, before; ``ok``: messages,
                   has_more, complete
history    all     user, channel or null; ``ok``: messages, all there are, at the end
=========  ======  ==============================================================
"""

from __future__ import annotations

import enum
import itertools
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec


class Type(enum.StrEnum):
    """What is known of an operation."""

    INVOKE = "invoke"
    OK = "ok"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Event(msgspec.Struct, omit_defaults=True):
    """One line."""

    process: str
    type: Type
    op: str
    time: int
    value: dict[str, Any]
    call: int = 0


class Call:
    """An operation that was invoked: to be ended once."""

    __slots__ = ("_ended", "_recorder", "number", "op", "process", "value")

    def __init__(
        self, recorder: Recorder, process: str, op: str, number: int, value: dict[str, Any]
    ) -> None:
        self._recorder = recorder
        self._ended = False
        self.process = process
        self.op = op
        self.number = number
        self.value = value

    def ok(self, **more: Any) -> None:
        """It happened."""
        self._end(Type.OK, more)

    def fail(self, **more: Any) -> None:
        """It did not happen and will not."""
        self._end(Type.FAIL, more)

    def unknown(self, **more: Any) -> None:
        """Nobody can say."""
        self._end(Type.UNKNOWN, more)

    def _end(self, kind: Type, more: dict[str, Any]) -> None:
        if self._ended:
            raise RuntimeError(f"call {self.number} ({self.op}) ended twice")
        self._ended = True
        self._recorder.write(self.process, kind, self.op, {**self.value, **more}, self.number)


class Recorder:
    """Writes lines to a file; safe for tasks and threads alike.

    The time is taken under the lock, so lines are in order of time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab", buffering=1 << 20)
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._encode = msgspec.json.Encoder().encode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def invoke(self, process: str, op: str, **value: Any) -> Call:
        """An operation begins."""
        call = Call(self, process, op, next(self._numbers), value)
        self.write(process, Type.INVOKE, op, value, call.number)
        return call

    def saw(self, process: str, op: str, **value: Any) -> None:
        """Something came unasked, or was done in one step."""
        self.write(process, Type.OK, op, value)

    def write(
        self, process: str, kind: Type, op: str, value: dict[str, Any], call: int = 0
    ) -> None:
        """One line."""
        with self._lock:
            now = time.monotonic_ns()
            line = self._encode(Event(process, kind, op, now, value, call))
            self._file.write(line + b"\n")

    def flush(self) -> None:
        """To the operating system, so that another process can read it."""
        with self._lock:
            self._file.flush()

    def close(self) -> None:
        """Idempotent."""
        with self._lock:
            self._file.close()
