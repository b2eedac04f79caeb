"""What is answered by an error, and what breaks a connection."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from chatsvc_conformance.framing import client_frame
from testkit.raw_socket import RawSocket
from testkit.talking import SOON, talk
from tests.integration.support.histories import history

BAD: list[tuple[dict[str, Any] | str, str]] = [
    ("not json", "malformed_json"),
    (
        '{"type":"send","participants":["ME"],"content":"x","metadata":{"k":'
        + "[" * 50_000 + "]" * 50_000 + "}}",
        "malformed_json",
    ),
    ('{"type":"send","ref":"bad","participants":["a"],"content":"\\ud800"}', ""),
    ({"type": "nonsense", "ref": "bad"}, ""),
    ({"ref": "bad"}, ""),
    ({"type": "send", "ref": "bad", "participants": [], "content": "x"}, "too_few"),
    ({"type": "send", "ref": "bad", "participants": ["a,b"], "content": "x"}, "comma"),
    ({"type": "send", "ref": "bad", "participants": ["ME"] * 257, "content": "x"}, "too_many"),
    ({"type": "send", "ref": "bad", "participants": ["x", "y"], "content": "x"}, ""),
    ({"type": "send", "ref": "bad", "participants": ["ME"], "content": ""}, "too_short"),
    ({"type": "send", "ref": "bad", "participants": ["ME"], "content": "x" * 16_001}, "too_long"),
    ({"type": "send", "ref": "bad", "participants": ["ME"], "content": "a\0b"}, "nul"),
    ({"type": "send", "ref": "bad", "participants": ["ME"], "content": 5}, ""),
    ({"type": "send", "ref": "bad", "participants": ["ME"], "content": "x", "extra": 1}, ""),
    (
        {"type": "send", "ref": "bad", "participants": ["ME"], "content": "x", "client_id": "é"},
        "bad_client_id",
    ),
    (
        {
            "type": "send", "ref": "bad", "participants": ["ME"], "content": "x",
            "metadata": {"k": "x" * 5000},
        },
        "too_long",
    ),
    ({"type": "send", "ref": "r" * 65, "participants": ["ME"], "content": "x"}, "too_long"),
    ({"type": "ping", "ref": ""}, "too_short"),
    ({"type": "auth", "ref": "bad", "token": "no"}, "token_invalid"),
    ({"type": "hello", "ref": "bad"}, ""),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(BAD)))
async def test_a_bad_frame_is_answered_and_the_connection_lives(
    url: str, names: tuple[str, str, str], case: int
) -> None:
    alice, bob, _ = names
    frame, code = BAD[case]
    text = frame if isinstance(frame, str) else json.dumps(frame)
    async with talk(url, alice) as a:
        await a.ws.send(text.replace('"ME"', f'"{alice}"'))
        error = await a.next()
        assert error["type"] == "error"
        assert error["detail"]
        if code:
            assert error["code"] == code
        if '"bad"' in text:
            assert error.get("ref") == "bad" or "ud800" in text
        assert (await a.say(bob))["type"] == "ack"


# Named, because the bytes are masked anew in each process, and workers must agree on the names.
ENDS: dict[str, tuple[bytes, int]] = {
    "a binary message": (client_frame(2, b"binary"), 1003),
    "text that is not UTF-8": (client_frame(1, b"caf\xe9"), 1007),
    "not UTF-8 over fragments": (
        client_frame(1, b"\xf0\x9f", fin=False) + client_frame(0, b"x"),
        1007,
    ),
    "longer than the bound": (b"\x81\xff" + (262_145).to_bytes(8, "big"), 1009),
    "fragments longer than the bound": (
        client_frame(1, b"x" * 200_000, fin=False) + client_frame(0, b"x" * 62_145),
        1009,
    ),
    "unmasked": (client_frame(1, b"x", masked=False), 1002),
    "a ping of 126 bytes": (client_frame(9, b"x" * 126), 1002),
    "a ping in fragments": (client_frame(9, b"x", fin=False), 1002),
    "an unknown opcode": (client_frame(3), 1002),
    "a reserved bit": (b"\xc1\x80\0\0\0\0", 1002),
    "a continuation of nothing": (client_frame(0, b"x"), 1002),
    "a message within a message": (client_frame(1, b"x", fin=False) + client_frame(1, b"y"), 1002),
    "a close of one byte": (client_frame(8, b"\x03"), 1002),
    "a close code that may not be sent": (client_frame(8, b"\x03\xed"), 1002),
    "a close reason that is not UTF-8": (client_frame(8, b"\x03\xe8\xff"), 1007),
    "a close without a code": (client_frame(8), 1000),
    "a close with a code of its own": (client_frame(8, b"\x0f\xa0bye"), 4000),
}


@pytest.mark.parametrize("case", ENDS)
async def test_what_ends_a_connection_and_with_which_code(
    url: str, names: tuple[str, str, str], case: str
) -> None:
    data, code = ENDS[case]
    raw = await RawSocket.upgraded(url, names[0])
    assert (await raw.json())["type"] == "hello"
    raw.write(data)
    if code == 1003:
        raw.write(client_frame(8, b"\x03\xe8"))
    assert await raw.ended() == code
    await raw.end()


async def test_the_code_arrives_though_the_client_goes_on_sending(
    url: str, names: tuple[str, str, str]
) -> None:
    raw = await RawSocket.upgraded(url, names[0])
    assert (await raw.json())["type"] == "hello"
    raw.write(b"\x81\xff" + (10_000_000).to_bytes(8, "big") + b"mask")
    for _ in range(50):
        raw.write(b"x" * 100_000)
    assert await raw.ended() == 1009
    await raw.end()


async def test_what_came_before_the_break_was_taken(url: str, names: tuple[str, str, str]) -> None:
    alice, bob, _ = names
    send = {"type": "send", "ref": "1", "participants": [alice, bob], "content": "still good"}
    raw = await RawSocket.upgraded(url, alice)
    raw.write(client_frame(1, json.dumps(send).encode()) + client_frame(2, b"bad"))
    assert (await raw.json())["type"] == "hello"
    async with asyncio.timeout(SOON):
        while [one["content"] for one in await history(url, bob, alice, bob)] != ["still good"]:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
    await raw.end()
