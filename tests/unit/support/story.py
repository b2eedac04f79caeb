"""Recordings for the checker, written by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tests.fault.kit.checker import Fault, Verdict, check

START = "0000000000000000"


class Story:
    """Writes a recording by hand, one tick a line."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.calls = 0

    def event(self, process: str, kind: str, op: str, call: int = 0, **value: Any) -> None:
        event = {"process": process, "type": kind, "op": op, "time": len(self.lines) + 1}
        self.lines.append(msgspec.json.encode({**event, "value": value, "call": call}))

    def begin(self, op: str, **value: Any) -> Callable[..., None]:
        self.calls += 1
        call = self.calls
        self.event("p", "invoke", op, call, **value)

        def end(kind: str = "ok", **more: Any) -> None:
            self.event("p", kind, op, call, **{**value, **more})

        return end

    def send(self, name: str, channel: str = "a,b", sender: str = "a", **more: Any) -> Any:
        return self.begin("send", **message(None, name, channel, sender), **more)

    def sent(self, number: int, name: str, channel: str = "a,b", sender: str = "a") -> None:
        self.send(name, channel, sender)(id=ident(number), duplicate=False)

    def connect(
        self, user: str = "b", *, since: int | None = None, at: int = 0, **more: Any
    ) -> None:
        value = {
            "user": user,
            "listener": f"l:{user}",
            "connection": "c",
            "device": "phone",
            "echo": False,
            "since": None if since is None else f"e.{ident(since)}",
            "recovered": None,
            "position": ident(at),
        }
        self.event("l", "ok", "connect", **{**value, **more})

    def receive(self, number: int, name: str, *, user: str = "b", **message_of: Any) -> None:
        self.event(
            "l", "ok", "receive", listener=f"l:{user}", **message(number, name, **message_of)
        )

    def gap(self, low: int, high: int) -> None:
        self.event("l", "ok", "gap", listener="l:b", **{"from": ident(low), "to": ident(high)})

    def fetch(self, low: int, high: int, *messages: dict[str, Any]) -> None:
        bounds = {"from": ident(low), "to": ident(high)}
        self.event("l", "ok", "fetch", listener="l:b", messages=messages, **bounds)

    def settle(self, up_to: int, user: str = "b") -> None:
        self.event("l", "ok", "settle", listener=f"l:{user}", up_to=ident(up_to))

    def read(
        self, *messages: dict[str, Any], user: str = "b", channel: str | None = "a,b", **more: Any
    ) -> None:
        asked = {"user": user, "channel": channel, "after": None, "before": None, **more}
        end = self.begin("read", **asked)
        end(messages=messages, **{"has_more": False, "complete": True, **more})

    def history(
        self, *messages: dict[str, Any], user: str = "b", channel: str | None = "a,b"
    ) -> None:
        self.begin("history", user=user, channel=channel)(messages=messages)

    def judge(self) -> Verdict:
        return check(self.lines)


def ident(number: int) -> str:
    return f"{number:016x}"


def message(
    number: int | None, name: str, channel: str = "a,b", sender: str = "a", content: str = ""
) -> dict[str, Any]:
    """A message of this name; without a number, as it is sent."""
    known = {
        "sender": sender,
        "client_id": name,
        "channel": channel,
        "content": content or f"text of {name}",
    }
    return known if number is None else {"id": ident(number), **known}


def only(verdict: Verdict, fault: Fault, times: int = 1) -> None:
    found = {kind: count for kind, count in verdict.counts.items() if count}
    assert found == {fault: times}, str(verdict)
    assert len(verdict.evidence[fault]) == times


def clean(verdict: Verdict, *, decided: bool = True) -> None:
    assert verdict.clean, str(verdict)
    assert bool(verdict.open_ends) is not decided, str(verdict)
