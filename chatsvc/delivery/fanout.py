"""The fan-out: send accepted records to the sockets of their audience that they are for.

A batch only *marks* the connections that have pending frames. A sweep then serves them in
slices, with a turn of the event loop between two slices, and sends each connection all its
pending frames in one write. The longer the queue, the fewer the writes, and acknowledgements
never wait behind a large audience.

Frames that would exceed the unsent bytes allowed for a connection are not written. The
connection is transferred to the resume with its position, and returns when it has caught up.
The position is not stored: it is just below the first record of its pending spans.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final

import structlog

from chatsvc.core.record import Record
from chatsvc.delivery.connection import Connection
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.selection import Selection
from chatsvc.delivery.spans import BEHIND, Run, Span
from chatsvc.log.acknowledgements import Acknowledgements
from chatsvc.wire.frames import encode_text

SLICE: Final = 32
_logger = structlog.get_logger("chatsvc.delivery")
_RUN_FRAMES: Final = 1024


class Fanout:
    """Receives records from the tail and serves the connections of the hub.

    Args:
        hub: the open connections.
        selection: which records a connection receives.
        acknowledgements: of the log: a sweep begins when the senders have their answers.
        fell_behind: takes over a connection that must not be written to now; called with the
            connection and the position up to which it has been served.
        delivered: called with the number of frames that a slice sent.
    """

    def __init__(
        self,
        hub: Hub,
        selection: Selection,
        acknowledgements: Acknowledgements,
        fell_behind: Callable[[Connection, int], None],
        delivered: Callable[[int], None] | None = None,
    ) -> None:
        self._hub = hub
        self._selection = selection
        self._acknowledgements = acknowledgements
        self._fell_behind = fell_behind
        self._delivered = delivered
        self._loop = asyncio.get_running_loop()
        self._runs: dict[str, Run] = {}
        self._ready: deque[Connection] = deque()
        self._sweeping = False

    def accept(self, records: Sequence[Record]) -> None:
        """Mark the connections of the audience. Called when the records become readable.

        If that fails, the connections that should have been marked are cut: they reconnect
        with their cursor, which no later frame has moved beyond what they missed.
        """
        try:
            for batch in _batches(records):
                try:
                    self._deliver(batch)
                except Exception:
                    _logger.exception("fanout_failed", channel=batch[0].channel)
                    self._cut_audience(batch)
            if self._ready and not self._sweeping:
                self._sweeping = True
                self._acknowledgements.after(self._sweep)
        except Exception:
            self._cut_audience(records)
            raise

    def _deliver(self, records: Sequence[Record]) -> None:
        first = records[0]
        if first.state is None:
            self._mark(records)
            return
        # It is for the members before it and for those after it.
        subscriptions = self._hub.subscriptions
        subscriptions.begin(first, self._hub.of)
        try:
            self._mark(records)
        except Exception:
            self._cut_audience(records)  # those too whom the record takes away
            raise
        finally:
            subscriptions.end(first)
            # Who has left must not wait for what follows in the run.
            self._runs.pop(first.channel, None)

    def _users_of(self, record: Record) -> Iterable[str]:
        return record.audience or self._hub.subscriptions.of(record.channel)

    def _mark(self, records: Sequence[Record]) -> None:
        hub, ready, behind = self._hub, self._ready, BEHIND
        first = records[0]
        audience = first.audience
        sole_sender: str | None = first.sender
        is_message = self._selection.is_message
        for record in records:
            if record.sender != sole_sender or not is_message(record.kind):
                sole_sender = None
        span: Span | None = None
        for user in self._users_of(first):
            for connection in hub.of(user):
                if user == sole_sender and not connection.echo:
                    continue
                waiting = connection.waiting
                if waiting is behind:
                    continue
                if span is None:
                    span = self._extend(first.channel, audience, records)
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
        frames = [encode_text(record.body) for record in records]
        run = self._runs.get(channel)
        if run is None or run.audience != audience or len(run.frames) >= _RUN_FRAMES:
            run = self._runs[channel] = Run(audience)
        start = len(run.frames)
        run.frames += frames
        run.records += records
        run.senders.update(record.sender for record in records)
        return Span(run, start)

    def _sweep(self) -> None:
        ready = self._ready
        sent = 0
        try:
            for _ in range(min(SLICE, len(ready))):
                connection = ready.popleft()
                waiting = connection.waiting
                if isinstance(waiting, Span):
                    spans = [waiting]
                elif isinstance(waiting, list):
                    spans = waiting
                else:
                    continue
                connection.waiting = None
                try:
                    sent += self._serve(connection, spans)
                except Exception:
                    # An error of one socket must not stop the sweep for the others.
                    _logger.exception("delivery_failed", user=connection.user)
                    self._abort(connection)
                for span in spans:
                    self._release(span)
            if sent and self._delivered is not None:
                self._delivered(sent)
        finally:
            if ready:
                self._loop.call_soon(self._sweep)
            else:
                self._sweeping = False

    def _cut_audience(self, records: Sequence[Record]) -> None:
        """Cut the connections that these records are for and that may miss them."""
        for record in records:
            for user in list(self._users_of(record)):
                for connection in list(self._hub.of(user)):
                    if connection.waiting is not BEHIND and (
                        user != record.sender
                        or connection.echo
                        or not self._selection.is_message(record.kind)
                    ):
                        self._abort(connection)

    def _abort(self, connection: Connection) -> None:
        """Cut a connection that raised; if that raises too, remove it from the hub."""
        try:
            connection.cut("error")
        except Exception:
            _logger.exception("socket_cut_failed", user=connection.user)
            self._hub.discard(connection)

    def _serve(self, connection: Connection, spans: Sequence[Span]) -> int:
        available = limit = connection.buffer_limit
        if connection.slow_since:
            available -= connection.unsent
        if (
            len(spans) == 1
            and connection.kinds is None
            and connection.user not in spans[0].run.senders
            and connection.user not in self._selection.filters
        ):
            joined, count = spans[0].joined(limit)
            if not count or len(joined) > available:
                return self._transfer(connection, spans)
            connection.write(joined)
            return count
        # In the order of ids across conversations, or a cursor would skip messages.
        wants = partial(self._selection.live, connection)
        frames = sorted(pair for span in spans for pair in span.wanted(wants))
        found = [frame for _, frame in frames]
        if sum(map(len, found)) > available:
            return self._transfer(connection, spans)
        if found:
            connection.write_all(found)
        return len(found)

    def _transfer(self, connection: Connection, spans: Sequence[Span]) -> int:
        """Let the resume send what is pending, from the first record on; return 0 frames."""
        if connection.live:
            self._fell_behind(connection, min(span.first for span in spans) - 1)
        return 0

    def _release(self, span: Span) -> None:
        run = span.run
        run.waiting -= 1
        if not run.waiting:
            channel = run.records[0].channel
            if self._runs.get(channel) is run:
                del self._runs[channel]


def _batches(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Yield batches of records of one channel and one audience, in order.

    One that changes members is a batch of its own.
    """
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
            one = batch[start]
            if (
                index == len(batch)
                or (following := batch[index]).audience != one.audience
                or one.state is not None
                or following.state is not None
            ):
                yield batch[start:index]
                start = index
