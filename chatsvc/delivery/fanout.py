"""The fan-out: what the log accepted, to every socket of its audience but the sender's.

A batch only *marks* the connections that now have something waiting. A sweep then goes
through them in slices, with a turn of the loop between, and gives each in one write all
that has come up to that moment. So the longer the queue, the fewer the writes, and
acknowledgements never wait behind a large audience.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from chatsvc.core.record import Record
from chatsvc.delivery.connection import Connection
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.spans import Run, Span
from chatsvc.wire.frames import encode_text

SLICE: Final = 32
_logger = structlog.get_logger("chatsvc.delivery")
_RUN_FRAMES: Final = 1024


class Fanout:
    """Listens to the tail and serves the hub's connections.

    ``delivered`` is told how many frames a slice sent.
    """

    def __init__(self, hub: Hub, delivered: Callable[[int], None] | None = None) -> None:
        self._hub = hub
        self._delivered = delivered
        self._loop = asyncio.get_running_loop()
        self._runs: dict[str, Run] = {}
        self._ready: deque[Connection] = deque()
        self._sweeping = False

    def accept(self, records: Sequence[Record]) -> None:
        """Mark who now has something waiting. Called in the step in which it is readable."""
        by_channel: dict[str, list[Record]] = {}
        for record in records:
            known = by_channel.get(record.channel)
            if known is None:
                by_channel[record.channel] = [record]
            else:
                known.append(record)
        for batch in by_channel.values():
            start = 0
            for index in range(1, len(batch) + 1):
                if index == len(batch) or batch[index].audience != batch[start].audience:
                    self._mark(batch[start:index])
                    start = index
        if self._ready and not self._sweeping:
            self._sweeping = True
            # Two turns of the loop: the first resolves the senders' futures, the second
            # writes their acknowledgements; then it is everybody else's turn.
            self._loop.call_soon(self._loop.call_soon, self._loop.call_soon, self._sweep)

    def _mark(self, records: Sequence[Record]) -> None:
        hub, ready = self._hub, self._ready
        first = records[0]
        audience = first.audience
        sole_sender: str | None = first.sender
        for record in records:
            if record.sender != sole_sender:
                sole_sender = None
        span: Span | None = None
        for user in audience:
            connections = hub.of(user)
            if not connections:
                continue
            for connection in connections:
                if user == sole_sender and not connection.echo:
                    continue
                if span is None:
                    span = self._extend(first.channel, audience, records)
                waiting = connection.waiting
                if waiting is None:
                    connection.waiting = span
                    ready.append(connection)
                elif isinstance(waiting, Span):
                    if waiting.run is span.run:
                        continue
                    connection.waiting = [waiting, span]
                elif any(other.run is span.run for other in waiting):
                    continue
                else:
                    waiting.append(span)
                span.run.waiting += 1

    def _extend(self, channel: str, audience: tuple[str, ...], records: Sequence[Record]) -> Span:
        run = self._runs.get(channel)
        if run is None or run.audience != audience or len(run.frames) >= _RUN_FRAMES:
            run = self._runs[channel] = Run(audience)
        start = len(run.frames)
        for record in records:
            run.records.append(record)
            run.frames.append(encode_text(record.body))
            run.senders.add(record.sender)
        return Span(run, start)

    def _sweep(self) -> None:
        ready = self._ready
        sent = 0
        for _ in range(min(SLICE, len(ready))):
            connection = ready.popleft()
            waiting, connection.waiting = connection.waiting, None
            spans = [waiting] if isinstance(waiting, Span) else waiting or []
            try:
                sent += self._serve(connection, spans)
            except Exception:
                # One socket's trouble is not everybody's: the rest of the sweep goes on.
                _logger.exception("a socket could not be served", user=connection.user)
                self._give_up(connection)
            for span in spans:
                self._served(span)
        if sent and self._delivered is not None:
            self._delivered(sent)
        if ready:
            self._loop.call_soon(self._sweep)
        else:
            self._sweeping = False

    def _give_up(self, connection: Connection) -> None:
        """End a connection that raises, whatever it raises."""
        try:
            connection.cut("error")
        except Exception:
            _logger.exception("a socket could not be cut off", user=connection.user)
            self._hub.discard(connection)

    @staticmethod
    def _serve(connection: Connection, spans: Sequence[Span]) -> int:
        if len(spans) == 1 and connection.user not in spans[0].run.senders:
            joined, count = spans[0].joined()
            connection.write(joined)
            return count
        # In the order of ids across conversations, or a cursor would skip what is behind it.
        frames = sorted(pair for span in spans for pair in span.wanted(connection))
        if frames:
            connection.write_all([frame for _, frame in frames])
        return len(frames)

    def _served(self, span: Span) -> None:
        run = span.run
        run.waiting -= 1
        if not run.waiting:
            channel = run.records[0].channel
            if self._runs.get(channel) is run:
                del self._runs[channel]
