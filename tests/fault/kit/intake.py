"""Takes a recording in, line by line, and judges what a line alone can show."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from typing import Any

from tests.fault.kit.known import MOST_ID, Key, Known, Listener, Message, Read, may_get
from tests.fault.kit.recorder import Event, Type
from tests.fault.kit.verdict import Fault, Verdict


class Intake:
    """Fed every event in order of time."""

    def __init__(self, known: Known, verdict: Verdict) -> None:
        self.known = known
        self.verdict = verdict
        self.begun: dict[tuple[str, int], tuple[int, Event]] = {}
        self.acks: list[tuple[int, int]] = []  # (time, highest id acknowledged until then)
        self.handlers = {
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

    def take(self, line: int, event: Event) -> None:
        """One event. Raises ``ValueError`` for one that ends what never began."""
        handler = self.handlers.get(event.op)
        if handler is not None:
            handler(line, event)

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
        key = Key(value["sender"], value["client_id"])
        if began is None:
            self.verdict.totals["sends tried"] += 1
            message = self.known.messages.get(key)
            if message is None:
                message = Message(
                    key, value["channel"], value["content"], value.get("device", ""), event.time
                )
                self.known.messages[key] = message
            message.open_attempts += 1
            return
        message = self.known.messages[key]
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

    def _judge_ack_order(self, line: int, event: Event, message: Message) -> None:
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

    def _accepted(self, line: int, time: int, message: Message, message_id: int) -> None:
        if message.id is None:
            message.id, message.known_at, message.known_line = message_id, time, line
            other = self.known.by_id.setdefault(message_id, message)
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
        key = Key(seen["sender"], seen["client_id"])
        message = self.known.messages.get(key)
        message_id = int(seen["id"], 16)
        if message is None:
            self.verdict.add(Fault.NEVER_SENT, f"{user} was given {key} {seen['id']}", line)
            self.known.messages[key] = message = Message(key, seen["channel"], seen["content"])
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

    def _listener(self, event: Event) -> Listener:
        name = event.value["listener"]
        try:
            return self.known.listeners[name]
        except KeyError:
            raise ValueError(f"listener {name} was never connected") from None

    def _connect(self, line: int, event: Event) -> None:
        value = event.value
        listener = self.known.listeners.setdefault(
            value["listener"],
            Listener(value["listener"], value["user"], value["device"], value["echo"]),
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
        if not may_get(listener, self.known.messages[Key(value["sender"], value["client_id"])]):
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
        high = int(value["before"], 16) if value.get("before") else MOST_ID
        for message_id in ids:
            if not low < message_id < high:
                self.verdict.add(
                    Fault.OUT_OF_ORDER, f"{message_id:016x} lies outside the bounds", line
                )
        if not value["complete"]:
            # Less than asked for, and it says so; but what it holds has no holes.
            self.verdict.totals["reads incomplete"] += 1
            low = max(low, ids[0] - 1) if ids else MOST_ID
        if value["has_more"] and ids:
            if value.get("after"):
                high = min(high, ids[-1] + 1)
            else:
                low = max(low, ids[0] - 1)
        self.known.reads.append(Read(line, began.time, user, channel, low, high, set(ids)))

    def _history(self, line: int, event: Event) -> None:
        began = self._begin(line, event)
        if began is None or event.type is not Type.OK:
            return
        user, channel = event.value["user"], event.value["channel"]
        ids = self._page(line, event.time, user, channel, event.value["messages"])
        self.known.histories.append(Read(line, began.time, user, channel, -1, MOST_ID, set(ids)))

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
