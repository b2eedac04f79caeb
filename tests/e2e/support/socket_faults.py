"""What a broken server does to frames and handshakes of sockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chatsvc.wire import frames
from chatsvc_conformance.framing import RawFrame, client_frame
from tests.e2e.support.faulty_proxy import Fault, Frame, Link, Message, Proxy

_MAX: Final = (1 << 64) - 1


def changed_frames(kind: str, change: Callable[[Frame], Frame | None]) -> Fault:
    """Change frames of a type; ``None`` leaves one out."""

    def frame(link: Link, told: Frame) -> list[Frame]:
        if told["type"] != kind:
            return [told]
        changed = change(told)
        return [] if changed is None else [changed]

    return Fault(frame=frame)


def every_second_message(link: Link, told: Frame) -> list[Frame]:
    if told["type"] != "message":
        return [told]
    count = link.memory["count"] = link.memory.get("count", 0) + 1
    return [told] if count % 2 else []


def in_pairs_backwards(link: Link, told: Frame) -> list[Frame]:
    if told["type"] != "message":
        return [told]
    held: Frame | None = link.memory.pop("held", None)
    if held is not None:
        return [told, held]
    link.memory["held"] = told
    return []


def twice(link: Link, told: Frame) -> list[Frame]:
    return [told, told] if told["type"] == "message" else [told]


def nothing_missed(link: Link, told: Frame) -> list[Frame]:
    """What comes before ``caught_up`` is lost."""
    if told["type"] == "caught_up":
        link.memory["live"] = True
    resuming = "since=" in link.target and "live" not in link.memory
    return [] if resuming and told["type"] == "message" else [told]


def broadcast(proxy: Proxy, request: Message, answer: Message) -> None:
    """Whoever is connected hears everything."""
    if request.start.startswith("POST /api/messages ") and answer.status == 201:
        for link in proxy.links:
            link.say(answer.json)


def errors_close(frame: RawFrame) -> bytes:
    if b'"type":"error"' in frame.payload:
        return frames.encode_close(1008)
    return frames.encode(frame.opcode, frame.payload)


def no_pongs(frame: RawFrame) -> bytes:
    return b"" if frame.opcode == frames.PONG else frames.encode(frame.opcode, frame.payload)


def no_pings(frame: RawFrame) -> bytes:
    return b"" if frame.opcode == frames.PING else frames.encode(frame.opcode, frame.payload)


def masked(frame: RawFrame) -> bytes:
    return client_frame(frame.opcode, frame.payload)


def fresh_ref(told: Frame) -> Frame:
    return told | {"ref": "another"}


def elsewhere(told: Frame) -> Frame:
    return told | {"cursor": f"{told['epoch']}.{'f' * 16}"}


def only_participants_sent(frame: Frame) -> None:
    if "participants" in frame:
        frame.pop("channel", None)


def gap_too_small(told: Frame) -> Frame:
    return told | {"from": told["to"]}


def ack_ids_descend(told: Frame) -> Frame:
    return told | {"id": f"{_MAX - int(told['id'], 16):016x}"}


def without_protocol(proxy: Proxy, request: Message, answer: Message) -> None:
    answer.drop("Sec-WebSocket-Protocol")


def wrong_accept(proxy: Proxy, request: Message, answer: Message) -> None:
    if answer.status == 101:
        answer.set("Sec-WebSocket-Accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")
