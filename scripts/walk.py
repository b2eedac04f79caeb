"""Print the files that one message walks through, in the order in which a reader meets them.

    python -m scripts.walk

Serves in this process, sends one message to warm up, and then traces one POST: to its 201, to
the socket of another user, and into the embedded store. A file is named at its first function;
``jumps back`` counts how often the walk comes back to a file that it had left. Tasks that also
run while no message comes, such as the heartbeat, are left out.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import aiohttp
import structlog

from chatsvc.app.lifecycle import Service
from chatsvc.auth.minting import mint
from chatsvc.features.messages.service import AllowAll
from chatsvc.settings.table import load

SECRET = "a-secret-for-the-walk-of-32-bytes"
SECONDS = 1.5
"""Longer than what runs once a second takes to come again."""
ROOT = f"{Path(__file__).resolve().parent.parent}/chatsvc/"
Call = tuple[str, str]
"""A file, and the name of a function in it."""
ASIDE = ("logs.py", "line_writer.py", "app/metrics.py", "server/observability/metrics.py")
"""Log lines and metrics: on the way of everything, and of no interest to a reader."""


class Walk:
    """The calls of one message, by part: to the 201, to a socket, to the store.

    Delivery begins before the 201 is written: what its modules call is told apart by them.
    """

    def __init__(self) -> None:
        self.calls: dict[str, list[Call]] = {"201": [], "socket": [], "store": []}
        self.periodic: set[Call] = set()
        """The outermost functions of the tasks that ran before the message was sent."""
        self.sent = False
        self.stored = False
        self.answered = False

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        name = frame.f_code.co_filename
        if event != "call" or not name.startswith(ROOT):
            return
        if not self.sent:
            self.periodic.add(_outermost(frame))
            return
        place, function = _call(frame)
        if place not in ASIDE and _outermost(frame) not in self.periodic:
            self.calls[self._part(place, frame)].append((place, function))
            self.answered |= (place, function) == ("server/http/responses.py", "write_eof")

    def _part(self, place: str, frame: FrameType) -> str:
        if place.startswith("storage/") or self.stored:
            return "store"
        above: FrameType | None = frame
        while above is not None:
            if "/delivery/" in above.f_code.co_filename:
                return "socket"
            above = above.f_back
        return "socket" if self.answered and not place.startswith("server/http/") else "201"

    def report(self) -> None:
        """Print each part."""
        for part, calls in self.calls.items():
            order = list(dict.fromkeys(place for place, _ in calls))
            visits = [
                place for at, (place, _) in enumerate(calls) if not at or calls[at - 1][0] != place
            ]
            print(f"to the {part}: {len(order)} files, {len(visits) - len(order)} jumps back")
            for place in order:
                names = list(dict.fromkeys(name for where, name in calls if where == place))
                print(f"  {place}: {', '.join(names)}")


def _call(frame: FrameType) -> Call:
    return frame.f_code.co_filename.removeprefix(ROOT), frame.f_code.co_name


def _outermost(frame: FrameType) -> Call:
    """Return the function of ours that everything else was called from."""
    found, above = frame, frame.f_back
    while above is not None:
        if above.f_code.co_filename.startswith(ROOT):
            found = above
        above = above.f_back
    return _call(found)


async def main() -> None:
    """Trace one message."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {"DATA_DIR": folder, "JWT_SECRET": SECRET, "PORT": "0"}
        service = Service(load(environment | {"LOG_LEVEL": "error"}), AllowAll())
        running = await service.start()
        try:
            await _trace(running.url)
        finally:
            await service.stop()


async def _trace(url: str) -> None:
    def headers(user: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {mint(SECRET.encode(), user, 600)}"}

    alice, body = headers("alice"), {"participants": ["alice", "bob"], "content": "hello"}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/ws", headers=headers("bob")) as socket,
    ):
        await socket.receive()

        async def send() -> None:
            async with session.post(f"{url}/api/messages", json=body, headers=alice) as answer:
                assert answer.status == 201, await answer.text()
            await socket.receive()

        walk = Walk()
        await send()
        await asyncio.sleep(SECONDS)  # what the start and this message still do
        threading.setprofile(walk)
        sys.setprofile(walk)
        await asyncio.sleep(SECONDS)
        walk.sent = True
        await send()
        walk.stored = True
        await asyncio.sleep(SECONDS)
        sys.setprofile(None)
        threading.setprofile(None)
    walk.report()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asyncio.run(main())
