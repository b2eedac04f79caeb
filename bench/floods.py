"""Floods of one user: as many requests as its connections carry, and their outcome.

Used by ``python -m bench hostile-store`` for figures and by ``tests/hostile`` for bounds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from bench.http_load import request
from bench.sockets import frame_size, handshake, text_frame
from testkit.blocks import Tasks

_CODE = re.compile(rb'"code":"(\w+)"')
_RETRY = re.compile(rb'"retry_after":([0-9.]+)|retry-after: *(\d+)', re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PIPELINED = 64


class Flood(Tasks):
    """Connections of one user that send again as soon as they are answered.

    ``answers`` counts answers by ``ok`` or the error code; ``retry_after`` are the waits of
    refusals, in seconds. It ends with the block.
    """

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port
        self.answers: Counter[str] = Counter()
        self.retry_after: list[float] = []

    def over_http(self, requests: Iterator[bytes], connections: int) -> None:
        """Start: each connection sends its next request when the previous one is answered."""
        for _ in range(connections):
            self.start(self._ask(requests))

    def over_sockets(self, sends: Iterator[bytes], connections: int, token: str) -> None:
        """Start: each socket keeps some sends unanswered; ``sends`` are payloads of frames."""
        for _ in range(connections):
            self.start(self._talk(sends, token))

    def _note(self, data: bytes, *, fine: bool) -> None:
        code = _CODE.search(data)
        self.answers["ok" if fine or code is None else code[1].decode()] += 1
        if not fine and (wait := _RETRY.search(data)) is not None:
            self.retry_after.append(float(wait[1] or wait[2]))

    async def _ask(self, requests: Iterator[bytes]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)
        with contextlib.closing(writer):
            for data in requests:
                writer.write(data)
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                body = await reader.readexactly(int(length[1]) if length else 0)
                self._note(head + body, fine=head[9:12] in (b"200", b"201"))

    async def _talk(self, sends: Iterator[bytes], token: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        with contextlib.closing(writer):
            writer.write(handshake("/ws", {"Authorization": f"Bearer {token}"}))
            await reader.readuntil(b"\r\n\r\n")
            rest = b""
            for data in sends_ahead(sends):
                writer.write(data)
                answered = 0
                while answered < _PIPELINED:
                    rest += await reader.read(1 << 16) or _hung_up()
                    at = 0
                    while (size := frame_size(rest, at)) and len(rest) >= at + size:
                        frame = rest[at : at + size]
                        at += size
                        if b'"type":"ack"' in frame or b'"type":"error"' in frame:
                            answered += 1
                            self._note(frame, fine=b'"type":"ack"' in frame)
                    rest = rest[at:]


def sends_ahead(sends: Iterator[bytes]) -> Iterator[bytes]:
    """Write ``count`` frames at once."""
    while True:
        yield b"".join(text_frame(next(sends)) for _ in range(_PIPELINED))


def _hung_up() -> bytes:
    raise EOFError


def sends_to_many(sender: str, sets: int, people: int, content: str) -> Iterator[bytes]:
    """Yield payloads of ``send`` frames from ``sender`` to that many conversations, in turn."""
    payloads = [
        json.dumps(
            {
                "type": "send",
                "participants": [sender, *(f"of {group} {n:03}" for n in range(people))],
                "content": content,
            }
        ).encode()
        for group in range(sets)
    ]
    for number in count():
        yield payloads[number % sets]


def sends_to_new(sender: str, token: str) -> Iterator[bytes]:
    """Yield requests that each start a conversation."""
    bearer = {"Authorization": f"Bearer {token}"}
    for number in count():
        body = json.dumps({"participants": [sender, f"new {number}"], "content": "Hello!"})
        yield request("POST", "/api/messages", bearer, body.encode())


def listings(token: str, limit: int = 100) -> Iterator[bytes]:
    """Yield requests for the first page of conversations."""
    page = request("GET", f"/api/conversations?limit={limit}", {"Authorization": f"Bearer {token}"})
    while True:
        yield page


@contextlib.contextmanager
def write_lock(database: Path) -> Iterator[None]:
    """Hold the write lock of a SQLite file, as another process would."""
    db = sqlite3.connect(database, isolation_level=None, timeout=10)
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")
    finally:
        db.close()


def wal_bytes(database: Path) -> int:
    """Return the size of the write-ahead log of a SQLite file."""
    wal = database.with_name(f"{database.name}-wal")
    return wal.stat().st_size if wal.exists() else 0


def share(part: int, *others: int) -> float:
    """Percent."""
    whole = part + sum(others)
    return 100 * part / whole if whole else 0.0


def requests_of(token: str, paths: Sequence[str]) -> list[bytes]:
    """GETs."""
    return [request("GET", path, {"Authorization": f"Bearer {token}"}) for path in paths]
