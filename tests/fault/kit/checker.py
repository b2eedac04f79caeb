"""Reads a recorder's lines and says what went wrong. Pure: lines in, verdict out.

    python -m tests.fault.kit.checker FILE [FILE …]

A message is known by its sender and ``client_id``. It is *accepted* once anybody was
told so: an acknowledgement, a delivery, a page of history. From then on everybody must
find it. A send that ended ``unknown`` may have been accepted or not, either is right;
but if anybody saw it, it was.

What it finds is listed in :class:`Fault`. Exit status: 0 clean, 1 faults, 2 clean but
with something that no line could prove (see :attr:`Verdict.open_ends`).
"""

from __future__ import annotations

import enum
import heapq
import itertools
import sys
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tests.fault.kit.recorder import Event, Type

MAX_EVIDENCE = 20
"""Lines of evidence kept of each fault."""


class Fault(enum.StrEnum):
    """What can be wrong."""

    LOST = "accepted and lost"
    DOUBLED = "doubled"
    OUT_OF_ORDER = "out of order"
    NEVER_SENT = "delivered but never sent"
    ALTERED = "altered on the way"
    WRONG_PERSON = "delivered to the wrong person"
    TO_SENDER = "delivered to its sender"
    SILENT_GAP = "a gap that was not announced"
    STALE_READ = "read later than acknowledged"


class Evidence(NamedTuple):
    """One finding: what, and the line it was seen on where there is one (0: none)."""

    text: str
    line: int


@dataclass
class Verdict:
    """What was counted and what was found."""

    totals: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    counts: dict[Fault, int] = field(default_factory=lambda: dict.fromkeys(Fault, 0))
    evidence: dict[Fault, list[Evidence]] = field(
        default_factory=lambda: {fault: [] for fault in Fault}
    )
    open_ends: list[str] = field(default_factory=list)
    """What the lines do not let one decide: a conversation whose history nobody read at
    the end, a listener that did not settle, a gap that nobody fetched."""

    @property
    def clean(self) -> bool:
        """No fault was found."""
        return not any(self.counts.values())

    def add(self, fault: Fault, text: str, line: int = 0) -> None:
        """Count a finding."""
        self.counts[fault] += 1
        if len(self.evidence[fault]) < MAX_EVIDENCE:
            self.evidence[fault].append(Evidence(text, line))

    def __str__(self) -> str:
        lines = [f"{name:>28}: {count}" for name, count in self.totals.items()]
        for fault, count in self.counts.items():
            lines.append(f"{fault.value:>28}: {count}")
            for text, number in self.evidence[fault]:
                lines.append(" " * 30 + (f"line {number}: " if number else "") + text)
        lines.extend(f"{'not decided':>28}: {text}" for text in self.open_ends)
        return "\n".join(lines)


class _Key(NamedTuple):
    sender: str
    client_id: str


@dataclass(slots=True)
class _Message:
    """All that is known of one message."""

    key: _Key
    channel: str
    content: str
    device: str = ""
    first_invoked: int | None = None
    refused: bool = False  # every attempt failed for certain
    open_attempts: int = 0
    id: int | None = None
    known_at: int = 0  # when somebody first knew that it was accepted
    known_line: int = 0
    acked: bool = False


@dataclass(slots=True)
class _Listener:
    """What one listener was given, over all its connections."""

    name: str
    user: str
    device: str = ""
    echo: bool = False
    start: int | None = None
    position: int = 0
    received: set[int] = field(default_factory=set)
    gaps: list[tuple[int, int]] = field(default_factory=list)  # (from, to]
    fetched: list[tuple[int, int, set[int]]] = field(default_factory=list)
    settled: int | None = None


@dataclass(slots=True)
class _Read:
    """A page that was answered."""

    line: int
    began: int
    user: str
    channel: str | None
    low: int  # exclusive
    high: int  # exclusive
    ids: set[int]


_MOST = 1 << 64


def check(lines: Iterable[bytes | str]) -> Verdict:
    """Judge a recording.

    Raises:
        ValueError: a line that is not an event, or one that ends a call never begun.
    """
    return _Checker().run(_events(lines))


def check_files(*paths: Path) -> Verdict:
    """Judge several recordings of one run as one, in order of time."""

    def events(path: Path) -> Iterator[tuple[int, Event]]:
        with path.open("rb") as file:
            yield from _events(file)

    if len(paths) == 1:
        return _Checker().run(events(paths[0]))
    merged = heapq.merge(*(events(path) for path in paths), key=lambda pair: pair[1].time)
    return _Checker().run(merged)


def _events(lines: Iterable[bytes | str]) -> Iterator[tuple[int, Event]]:
    decode = msgspec.json.Decoder(Event).decode
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield number, decode(line)
        except msgspec.MsgspecError as exc:
            raise ValueError(f"line {number} is not an event: {exc}") from exc


class _Checker:
    def __init__(self) -> None:
        self.verdict = Verdict()
        self.messages: dict[_Key, _Message] = {}
        self.by_id: dict[int, _Message] = {}
        self.listeners: dict[str, _Listener] = {}
        self.reads: list[_Read] = []
        self.histories: list[_Read] = []
        self.begun: dict[tuple[str, int], tuple[int, Event]] = {}
        self.acks: list[tuple[int, int]] = []  # (time, highest id acknowledged until then)

    def run(self, events: Iterable[tuple[int, Event]]) -> Verdict:
        handlers = {
            "send": self._send,
            "connect": self._connect,
            "receive": self._receive,
            "position": self._position,
            "gap": self._gap,
            "fetch": self._fetch,
            "settle": self._settle,
            "read": self._read,
            "history": self._history,
        }
        for line, event in events:
            handler = handlers.get(event.op)
            if handler is not None:
                handler(line, event)
        self._judge_refused()
        self._judge_reads()
        self._judge_histories()
        self._judge_listeners()
        self._count()
        return self.verdict

    # -- taking it in -----------------------------------------------------------------

    def _begin(self, line: int, event: Event) -> Event | None:
        """The invocation that this event ends; ``None`` if it is one itself."""
        place = (event.process, event.call)
        if event.type is Type.INVOKE:
            self.begun[place] = (line, event)
            return None
        if place not in self.begun:
            raise ValueError(f"line {line} ends a call that did not begin")
        return self.begun.pop(place)[1]

    def _send(self, line: int, event: Event) -> None:
        began = self._begin(line, event)
        value = event.value
        key = _Key(value["sender"], value["client_id"])
        if began is None:
            self.verdict.totals["sends tried"] += 1
            message = self.messages.get(key)
            if message is None:
                message = _Message(
                    key, value["channel"], value["content"], value.get("device", ""), event.time
                )
                self.messages[key] = message
            message.open_attempts += 1
            return
        message = self.messages[key]
        if event.type is Type.UNKNOWN:
            self.verdict.totals["sends unknown"] += 1
            return  # the attempt stays open for ever
        message.open_attempts -= 1
        if event.type is Type.FAIL:
            self.verdict.totals["sends refused"] += 1
            message.refused = True
            return
        self.verdict.totals["sends acknowledged"] += 1
        self._judge_ack_order(line, event, message)
        message.acked = True
        self._accepted(line, event.time, message, int(value["id"], 16))

    def _judge_ack_order(self, line: int, event: Event, message: _Message) -> None:
        """A message begun after another was acknowledged has the higher id."""
        got = int(event.value["id"], 16)
        if not message.acked and message.first_invoked is not None:
            before = bisect_left(self.acks, (message.first_invoked, 0))
            if before and got <= self.acks[before - 1][1]:
                highest = self.acks[before - 1][1]
                self.verdict.add(
                    Fault.OUT_OF_ORDER,
                    f"{message.key} was sent after {highest:016x} was acknowledged, and has "
                    f"the lower id {got:016x}",
                    line,
                )
        highest = max(got, self.acks[-1][1]) if self.acks else got
        self.acks.append((event.time, highest))

    def _accepted(self, line: int, time: int, message: _Message, message_id: int) -> None:
        if message.id is None:
            message.id, message.known_at, message.known_line = message_id, time, line
            other = self.by_id.setdefault(message_id, message)
            if other is not message:
                self.verdict.add(
                    Fault.DOUBLED, f"{message.key} and {other.key} are both {message_id:016x}", line
                )
        elif message.id != message_id:
            self.verdict.add(
                Fault.DOUBLED,
                f"{message.key} is {message.id:016x} and also {message_id:016x}",
                line,
            )

    def _seen(self, line: int, time: int, user: str, seen: dict[str, Any]) -> int:
        """A message that somebody was given: was it sent, is it whole, is it for them?"""
        key = _Key(seen["sender"], seen["client_id"])
        message = self.messages.get(key)
        message_id = int(seen["id"], 16)
        if message is None:
            self.verdict.add(Fault.NEVER_SENT, f"{user} was given {key} {seen['id']}", line)
            self.messages[key] = message = _Message(key, seen["channel"], seen["content"])
        elif seen["content"] != message.content or seen["channel"] != message.channel:
            self.verdict.add(
                Fault.ALTERED,
                f"{key} was sent to {message.channel} as {message.content!r}, and reached {user} "
                f"in {seen['channel']} as {seen['content']!r}",
                line,
            )
        self._accepted(line, time, message, message_id)
        if user not in message.channel.split(","):
            self.verdict.add(Fault.WRONG_PERSON, f"{user} was given {key} {seen['id']}", line)
        return message_id

    def _listener(self, event: Event) -> _Listener:
        name = event.value["listener"]
        try:
            return self.listeners[name]
        except KeyError:
            raise ValueError(f"listener {name} was never connected") from None

    def _connect(self, line: int, event: Event) -> None:
        value = event.value
        listener = self.listeners.setdefault(
            value["listener"],
            _Listener(value["listener"], value["user"], value["device"], value["echo"]),
        )
        self.verdict.totals["connections"] += 1
        position = int(value["position"], 16)
        if value["since"] is None:
            listener.start = position if listener.start is None else listener.start
            if listener.position and position > listener.position:
                listener.gaps.append((listener.position, position))  # it chose not to resume
            listener.position = max(listener.position, position)
        else:
            self.verdict.totals["resumes"] += 1
            if listener.start is None:  # a cursor from elsewhere
                listener.start = listener.position = int(value["since"].split(".")[1], 16)

    def _receive(self, line: int, event: Event) -> None:
        listener = self._listener(event)
        value = event.value
        self.verdict.totals["deliveries"] += 1
        message_id = self._seen(line, event.time, listener.user, value)
        if not _is_for(listener, self.messages[_Key(value["sender"], value["client_id"])]):
            self.verdict.add(
                Fault.TO_SENDER, f"{listener.name} was given its own {value['id']}", line
            )
        if message_id in listener.received:
            self.verdict.add(Fault.DOUBLED, f"{listener.name} was given {value['id']} again", line)
        elif message_id <= listener.position:
            self.verdict.add(
                Fault.OUT_OF_ORDER,
                f"{listener.name} was given {value['id']} when served up to "
                f"{listener.position:016x}",
                line,
            )
        listener.received.add(message_id)
        listener.position = max(listener.position, message_id)

    def _position(self, line: int, event: Event) -> None:
        listener = self._listener(event)
        listener.position = max(listener.position, int(event.value["position"], 16))

    def _gap(self, line: int, event: Event) -> None:
        listener = self._listener(event)
        low, high = int(event.value["from"], 16), int(event.value["to"], 16)
        self.verdict.totals["gaps announced"] += 1
        listener.gaps.append((low, high))
        listener.position = max(listener.position, high)

    def _fetch(self, line: int, event: Event) -> None:
        listener = self._listener(event)
        ids = {
            self._seen(line, event.time, listener.user, message)
            for message in event.value["messages"]
        }
        low, high = int(event.value["from"], 16), int(event.value["to"], 16)
        listener.fetched.append((low, high, ids))

    def _settle(self, line: int, event: Event) -> None:
        self._listener(event).settled = int(event.value["up_to"], 16)

    def _read(self, line: int, event: Event) -> None:
        began = self._begin(line, event)
        if began is None or event.type is not Type.OK:
            return
        value = event.value
        self.verdict.totals["reads"] += 1
        user, channel = value["user"], value["channel"]
        ids = self._page(line, event.time, user, channel, value["messages"])
        low = int(value["after"], 16) if value.get("after") else -1
        high = int(value["before"], 16) if value.get("before") else _MOST
        for message_id in ids:
            if not low < message_id < high:
                self.verdict.add(
                    Fault.OUT_OF_ORDER, f"{message_id:016x} lies outside the bounds", line
                )
        if not value["complete"]:
            # Less than asked for, and it says so; but what it holds has no holes.
            self.verdict.totals["reads incomplete"] += 1
            low = max(low, ids[0] - 1) if ids else _MOST
        if value["has_more"] and ids:
            if value.get("after"):
                high = min(high, ids[-1] + 1)
            else:
                low = max(low, ids[0] - 1)
        self.reads.append(_Read(line, began.time, user, channel, low, high, set(ids)))

    def _history(self, line: int, event: Event) -> None:
        began = self._begin(line, event)
        if began is None or event.type is not Type.OK:
            return
        user, channel = event.value["user"], event.value["channel"]
        ids = self._page(line, event.time, user, channel, event.value["messages"])
        self.histories.append(_Read(line, began.time, user, channel, -1, _MOST, set(ids)))

    def _page(
        self, line: int, time: int, user: str, channel: str | None, messages: list[dict[str, Any]]
    ) -> list[int]:
        """The ids of a page, which ascend, are of its conversation, and stand there once."""
        ids = [self._seen(line, time, user, message) for message in messages]
        for message in messages:
            if channel is not None and message["channel"] != channel:
                self.verdict.add(
                    Fault.WRONG_PERSON, f"{message['id']} stands in the history of {channel}", line
                )
        for one, next_one in itertools.pairwise(ids):
            if one == next_one:
                self.verdict.add(Fault.DOUBLED, f"{one:016x} stands twice in a page", line)
            elif one > next_one:
                self.verdict.add(
                    Fault.OUT_OF_ORDER, f"{one:016x} stands before {next_one:016x}", line
                )
        return sorted(ids)

    # -- judging, once everything is known --------------------------------------------

    def _judge_refused(self) -> None:
        for message in self.messages.values():
            refused_for_good = message.refused and not message.open_attempts and not message.acked
            if refused_for_good and message.id is not None:
                self.verdict.add(
                    Fault.NEVER_SENT,
                    f"{message.key} was refused, and given out as {message.id:016x}",
                    message.known_line,
                )

    def _accepted_by(self) -> tuple[dict[str, list[_Message]], dict[str, list[_Message]]]:
        """Accepted messages by channel and by user, ascending by id."""
        by_channel: dict[str, list[_Message]] = defaultdict(list)
        by_user: dict[str, list[_Message]] = defaultdict(list)
        for message_id in sorted(self.by_id):
            message = self.by_id[message_id]
            by_channel[message.channel].append(message)
            for user in message.channel.split(","):
                by_user[user].append(message)
        return by_channel, by_user

    def _judge_reads(self) -> None:
        by_channel, by_user = self._accepted_by()
        for read in self.reads:
            candidates = by_user[read.user] if read.channel is None else by_channel[read.channel]
            first = bisect_right(candidates, read.low, key=_id_of)
            last = bisect_left(candidates, read.high, key=_id_of)
            for message in candidates[first:last]:
                if message.known_at < read.began and message.id not in read.ids:
                    self.verdict.add(
                        Fault.STALE_READ,
                        f"{read.user} did not find {message.id:016x}, known since line "
                        f"{message.known_line}",
                        read.line,
                    )

    def _judge_histories(self) -> None:
        by_channel, by_user = self._accepted_by()
        sought: set[int] = set()
        lost: set[int] = set()
        for read in self.histories:
            expected = by_user[read.user] if read.channel is None else by_channel[read.channel]
            for message in expected:
                if message.id is None or message.known_at >= read.began:
                    continue
                sought.add(message.id)
                if message.id not in read.ids and message.id not in lost:
                    lost.add(message.id)
                    how = "acknowledged" if message.acked else "given out"
                    self.verdict.add(
                        Fault.LOST,
                        f"{message.key} {message.id:016x} was {how} (line {message.known_line}) "
                        f"and is not in the history that {read.user} read at the end",
                        read.line,
                    )
        for channel, messages in by_channel.items():
            unsought = sum(message.id not in sought for message in messages)
            if unsought:
                self.verdict.open_ends.append(
                    f"nobody read the history of {channel} after {unsought} of its messages"
                )

    def _judge_listeners(self) -> None:
        _, by_user = self._accepted_by()
        for listener in self.listeners.values():
            if listener.settled is None:
                self.verdict.open_ends.append(f"{listener.name} did not settle")
            if listener.start is None:
                continue
            end = max(listener.position, listener.settled or 0)
            unfetched = 0
            for message in by_user[listener.user]:
                message_id = message.id
                if message_id is None or not listener.start < message_id <= end:
                    continue
                if not _is_for(listener, message) or message_id in listener.received:
                    continue
                unfetched += self._judge_missing(listener, message, message_id)
            if unfetched:
                self.verdict.open_ends.append(
                    f"{listener.name} did not fetch {unfetched} messages of announced gaps"
                )

    def _judge_missing(self, listener: _Listener, message: _Message, message_id: int) -> bool:
        """A message that a listener was not given; whether an unfetched gap covers it."""
        fetched = [ids for low, high, ids in listener.fetched if low < message_id <= high]
        if any(message_id in ids for ids in fetched):
            return False
        if fetched:
            self.verdict.add(
                Fault.LOST,
                f"{listener.name} fetched a gap around {message.key} {message_id:016x} "
                "and did not find it",
                message.known_line,
            )
            return False
        if any(low < message_id <= high for low, high in listener.gaps):
            return True
        self.verdict.add(
            Fault.SILENT_GAP,
            f"{listener.name} never got {message.key} {message_id:016x} "
            f"(known since line {message.known_line})",
            message.known_line,
        )
        return False

    def _count(self) -> None:
        totals = self.verdict.totals
        totals["messages sent"] = sum(
            message.first_invoked is not None for message in self.messages.values()
        )
        totals["messages acknowledged"] = sum(m.acked for m in self.messages.values())
        totals["messages accepted"] = len(self.by_id)
        totals["messages undecided"] = sum(
            m.id is None and not m.refused for m in self.messages.values()
        )


def _is_for(listener: _Listener, message: _Message) -> bool:
    """Nobody gets their own, unless they asked for what another of their devices sent."""
    if message.key.sender != listener.user:
        return True
    return listener.echo and message.device != listener.device


def _id_of(message: _Message) -> int:
    return -1 if message.id is None else message.id


def main(arguments: list[str]) -> int:
    """Print the verdict on the files; the exit status is in the module's text."""
    if not arguments:
        print("usage: python -m tests.fault.kit.checker FILE [FILE …]", file=sys.stderr)
        return 2
    verdict = check_files(*map(Path, arguments))
    print(verdict)
    if not verdict.clean:
        return 1
    return 2 if verdict.open_ends else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
