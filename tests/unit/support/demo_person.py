"""Somebody who uses the menu of the terminal client, with a scripted server."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from typing import Any

from demo_cli.menu import Menu
from demo_cli.screen import Screen
from testkit.scripted_server import Peer, ScriptedServer

Step = str | type[BaseException] | Callable[[], Awaitable[str]]


class Person:
    """Types what the test says, one line for each prompt."""

    def __init__(self, *steps: Step) -> None:
        self._steps = list(steps)
        self.prompts: list[str] = []

    async def ask(self, prompt: str) -> str:
        self.prompts.append(prompt)
        step = self._steps.pop(0) if self._steps else EOFError
        if isinstance(step, str):
            return step
        if isinstance(step, type):
            raise step
        return await step()


async def greet(server: ScriptedServer, **more: Any) -> Peer:
    """Accept the socket that 1 opens."""
    return await server.greet(**{"features": ["changes"]} | more)


async def sent(server: ScriptedServer) -> list[Any]:
    """The bodies of the messages that were posted."""
    posted = [
        one for one in server.requests if one.path == "/api/messages" and one.method == "POST"
    ]
    return [json.loads(await request.read()) for request in posted]


async def sit(server: ScriptedServer, person: Person, out: io.StringIO, **more: str | None) -> int:
    token = more.get("token", "t")
    menu = Menu(server.url, token, more.get("user", "alice"), lines=person, screen=Screen(out))
    async with asyncio.timeout(20):
        return await menu.run()
