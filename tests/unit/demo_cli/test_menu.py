from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from demo_cli.exits import Exit
from demo_cli.menu import Menu
from demo_cli.screen import Screen
from tests.support.client_events import until
from tests.support.scripted_server import ScriptedServer, message

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


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer().serve() as running:
        yield running


async def sit(server: ScriptedServer, person: Person, out: io.StringIO, **more: str | None) -> int:
    token = more.get("token", "t")
    menu = Menu(server.url, token, more.get("user", "alice"), lines=person, screen=Screen(out))
    async with asyncio.timeout(20):
        return await menu.run()


async def test_it_asks_who_it_is_until_it_knows_and_shows_the_menu(server: ScriptedServer) -> None:
    out, person = io.StringIO(), Person("", "alice", "what", "7")
    assert await sit(server, person, out, user=None) == Exit.OK
    assert person.prompts == ["Your user id: ", "Your user id: ", "> ", "> "]
    assert out.getvalue().count("1 connect\n2 send message\n3 read history\n") == 2
    assert "7 exit" in out.getvalue()


async def test_what_cannot_be_a_user_id_is_told_and_asked_for_again(server: ScriptedServer) -> None:
    out, person = io.StringIO(), Person("alice, bob", "alice", "7")
    assert await sit(server, person, out, user=None) == Exit.OK
    assert "That cannot be a user id: a user id holds no comma" in out.getvalue()
    assert person.prompts == ["Your user id: ", "Your user id: ", "> "]


@pytest.mark.parametrize("end", [EOFError, KeyboardInterrupt])
async def test_leaving_by_key(server: ScriptedServer, end: type[BaseException]) -> None:
    assert await sit(server, Person(end), io.StringIO(), user=None) == Exit.OK
    assert await sit(server, Person(end), io.StringIO()) == Exit.OK


async def test_sending_without_a_connection(server: ScriptedServer) -> None:
    server.answer(201, message(1))
    server.answer(201, message(2))
    out, person = io.StringIO(), Person("2", "bob", "hi", "2", "", "again\n", "2", "", " ", "7")
    await sit(server, person, out)
    bodies = [json.loads(await request.read()) for request in server.requests]
    assert [body["content"] for body in bodies] == ["hi", "again"]
    assert all(body["participants"] == ["bob", "alice"] for body in bodies)
    assert person.prompts[4] == "Participants (alice, bob): "
    assert out.getvalue().count("Sent.") == 2
    assert "Nothing to send." in out.getvalue()


async def test_a_refusal_is_told_and_the_menu_goes_on(server: ScriptedServer) -> None:
    server.answer(422, {"code": "too_long", "detail": "too long"})
    out = io.StringIO()
    await sit(server, Person("2", "bob", "hi", "2", KeyboardInterrupt, "7"), out)
    assert "That did not work: too long (too_long)" in out.getvalue()
    assert "Left as it was." in out.getvalue()


async def test_connected_lost_and_connected_again(server: ScriptedServer) -> None:
    out = io.StringIO()

    async def play() -> str:
        peer = await server.greet()
        await peer.say(message(1, "hi"))
        await until(lambda: "bob: hi" in out.getvalue())
        await peer.close(1012, "restart;retry_after_ms=1")
        peer = await server.greet(at=1, recovered=True)
        await until(lambda: "Connected again as alice." in out.getvalue())
        return "2"

    async def answer() -> str:
        peer = server._all[-1]

        async def acknowledge() -> None:
            await peer.ack(2, await peer.hear())

        acknowledging.append(asyncio.create_task(acknowledge()))
        return "hello"

    acknowledging: list[asyncio.Task[None]] = []
    await sit(server, Person("1", play, "bob", answer, "1", "6", "6", "7"), out)
    await acknowledging[0]
    shown = out.getvalue()
    assert "Connected as alice.\n[Channel: alice, bob]\nbob: hi\nThe connection was lost." in shown
    assert "Connected again as alice.\nSent.\nThere is a connection already" in shown
    assert "Disconnected.\nThere is no connection" in shown


async def test_a_server_that_sends_it_away(server: ScriptedServer) -> None:
    out = io.StringIO()

    async def banned() -> str:
        await (await server.greet()).close(4201, "banned")
        await until(lambda: "Disconnected: the server asks not to come back" in out.getvalue())
        return "6"

    await sit(server, Person("1", banned, "7"), out)
    assert out.getvalue().endswith("There is no connection; 1 makes one.\n")


async def test_reading_and_looking(server: ScriptedServer) -> None:
    server.history = [message(1, "one")]
    one = {"channel": "alice,bob", "participants": ["alice", "bob"], "last_message": message(1)}
    out = io.StringIO()

    async def conversations() -> str:
        server.answer(200, {"conversations": [one], "has_more": True, "complete": False})
        return "4"

    async def no_conversations() -> str:
        server.answer(200, {"conversations": [], "has_more": False})
        return "4"

    async def who() -> str:
        server.answer(200, {"connections": {"alice": 2, "bob": 0, "carol": 1}})
        return "5"

    async def empty() -> str:
        server.history = []
        return "3"

    person = Person("3", "bob", empty, "", conversations, no_conversations, who, "alice,bob", "7")
    await sit(server, person, out)
    shown = out.getvalue()
    assert "[Channel: alice, bob]\n2026-11-21 12:00  bob: one\n" in shown
    assert "Nothing was said yet." in shown
    assert "These are the newest 20." in shown
    assert "The store is away" in shown
    assert "There are none yet." in shown
    assert "alice: connected, 2 times\nbob: not connected\ncarol: connected, 1 time\n" in shown


async def test_no_login_is_told_at_once(server: ScriptedServer) -> None:
    out = io.StringIO()
    await sit(server, Person("1", "7"), out, token=None)
    assert "has no development login" in out.getvalue()
    assert server.connections == 0
