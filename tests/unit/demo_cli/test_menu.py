from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator

import pytest

from demo_cli.exits import Exit
from demo_cli.menu import Menu
from demo_cli.screen import Screen
from testkit.client_events import until
from testkit.scripted_server import ScriptedServer, message
from tests.unit.support.demo_person import Person, greet, sent, sit


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer().serve() as running:
        yield running


async def test_it_asks_who_it_is_until_it_knows_and_shows_the_menu(server: ScriptedServer) -> None:
    out, person = io.StringIO(), Person("", "alice", "what", "7")
    assert await sit(server, person, out, user=None) == Exit.OK
    assert person.prompts == ["Enter your user ID: ", "Enter your user ID: ", "> ", "> "]
    assert out.getvalue().count("1. Connect to WebSocket\n2. Send message\n3. Read history\n") == 2
    assert "7. Exit" in out.getvalue()


async def test_what_cannot_be_a_user_id_is_told_and_asked_for_again(server: ScriptedServer) -> None:
    out, person = io.StringIO(), Person("alice, bob", "alice", "7")
    assert await sit(server, person, out, user=None) == Exit.OK
    assert "That cannot be a user ID: a user id must not contain a comma" in out.getvalue()
    assert person.prompts == ["Enter your user ID: ", "Enter your user ID: ", "> "]


@pytest.mark.parametrize("end", [EOFError, KeyboardInterrupt])
async def test_leaving_by_key(server: ScriptedServer, end: type[BaseException]) -> None:
    assert await sit(server, Person(end), io.StringIO(), user=None) == Exit.OK
    assert await sit(server, Person(end), io.StringIO()) == Exit.OK


async def test_sending_without_a_connection(server: ScriptedServer) -> None:
    server.connected, server.conversations = {"bob": 1}, []
    server.answer(201, message(1))
    server.answer(201, message(2))
    out, person = io.StringIO(), Person("2", "bob", "hi", "2", "", "again\n", "2", "", " ", "7")
    await sit(server, person, out)
    bodies = await sent(server)
    assert [body["content"] for body in bodies] == ["hi", "again"]
    assert all(body["participants"] == ["bob", "alice"] for body in bodies)
    assert person.prompts[4] == "Participants (alice, bob): "
    assert out.getvalue().count("Sent.\n") == 2
    assert "Nothing to send." in out.getvalue()


@pytest.mark.parametrize(
    ("typed", "connected", "shown"),
    [
        ("bob", {"bob": 2}, "Sent.\n"),
        ("bob, carol", {"carol": 1}, "Sent.\n"),
        ("bob", {"alice": 1}, "Sent. No other participant is connected: it is in the history.\n"),
        ("alice", {"alice": 1}, "Sent. You are the only participant.\n"),
        ("bob", None, "Sent.\n"),  # the server does not say who is connected
    ],
)
async def test_a_message_to_nobody_is_told_apart(
    server: ScriptedServer, typed: str, connected: dict[str, int] | None, shown: str
) -> None:
    server.connected, server.conversations = connected, []
    server.answer(201, message(1))
    server.answer(403, {"code": "forbidden", "detail": "not for you"})
    out = io.StringIO()
    await sit(server, Person("2", typed, "hi", "7"), out)
    assert out.getvalue().endswith(f"15. Make an invite link\n{shown}")


def asked_for(server: ScriptedServer) -> list[str]:
    """The participants of the pages that were asked for."""
    return [one.query["participants"] for one in server.requests if "participants" in one.query]


async def test_enter_is_for_the_newest_conversation_where_there_was_none_here(
    server: ScriptedServer,
) -> None:
    server.conversations = [{"channel": "alice,dora", "participants": ["alice", "dora"]}]
    person = Person("3", "", "3", "bob", "3", "", "7")
    await sit(server, person, io.StringIO())
    assert person.prompts[1::2][:3] == [
        "Participants (alice, dora): ",
        "Participants (alice, dora): ",
        "Participants (alice, bob): ",
    ]
    assert asked_for(server) == ["alice,dora", "bob,alice", "bob,alice"]


async def test_enter_is_for_the_conversation_that_the_last_message_came_in(
    server: ScriptedServer,
) -> None:
    server.conversations = []
    out = io.StringIO()

    async def receive() -> str:
        peer = await greet(server)
        await peer.say(message(1, "hi"))
        await until(lambda: "bob: hi" in out.getvalue())
        return "3"

    async def receive_another_while_asked() -> str:
        more = message(2, "oh", sender="carol", participants=["alice", "carol"])
        await server._all[-1].say(more | {"channel": "alice,carol"})
        await until(lambda: "carol: oh" in out.getvalue())
        return ""

    person = Person("1", receive, receive_another_while_asked, "3", "", "7")
    await sit(server, person, out)
    # What the question says is what Enter means, and then the conversation of one's own.
    assert person.prompts[2:5:2] == ["Participants (alice, bob): "] * 2
    assert asked_for(server) == ["alice,bob", "alice,bob"]


async def test_nobody_at_all_is_asked_for_again(server: ScriptedServer) -> None:
    out = io.StringIO()
    await sit(server, Person("2", "", "3", " , ", "7"), out)
    assert out.getvalue().count("Name at least one participant.") == 2
    assert await sent(server) == []


@pytest.mark.parametrize(
    ("typed", "answer", "participants"),
    [
        ("alice bob", "", ["alice", "bob"]),
        ("bob  carol, dora", "Yes", ["bob", "carol", "dora", "alice"]),
        ("anna maria", "n", ["anna maria", "alice"]),
        ("bob, anna maria", "NO", ["bob", "anna maria", "alice"]),
    ],
)
async def test_a_space_instead_of_a_comma_is_asked_about(
    server: ScriptedServer, typed: str, answer: str, participants: list[str]
) -> None:
    server.connected, server.conversations = {}, []
    server.answer(201, message(1))
    server.answer(201, message(2))
    person = Person("2", typed, answer, "hi", "2", typed, "again", "7")
    await sit(server, person, io.StringIO())
    question = person.prompts[2]
    assert question.startswith("User IDs are joined by commas. Do you mean ")
    assert question.endswith("? [Y/n]: ")
    bodies = await sent(server)
    assert bodies[0]["participants"] == participants


async def test_names_with_spaces_that_are_known_are_not_asked_about(
    server: ScriptedServer,
) -> None:
    server.connected, server.conversations = {}, []
    for number in (1, 2):
        server.answer(201, message(number))
    person = Person("2", "bob, anna maria", "n", "hi", "2", "anna maria", "hi", "7")
    await sit(server, person, io.StringIO(), user="me too")
    assert [body["participants"] for body in await sent(server)] == [
        ["bob", "anna maria", "me too"],
        ["anna maria", "me too"],
    ]


async def test_an_output_that_nobody_reads_ends_it(server: ScriptedServer) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            if "Connected" in text:
                raise BrokenPipeError
            return super().write(text)

    async def connected() -> str:
        await greet(server)
        await until(lambda: menu._failure is not None)
        return "what"

    menu = Menu(server.url, "t", "alice", lines=Person("1", connected), screen=Screen(Closed()))
    async with asyncio.timeout(20):
        with pytest.raises(BrokenPipeError):
            await menu.run()


async def test_a_refusal_is_told_and_the_menu_goes_on(server: ScriptedServer) -> None:
    server.conversations = []
    server.answer(422, {"code": "too_long", "detail": "too long"})
    out = io.StringIO()
    await sit(server, Person("2", "bob", "hi", "2", KeyboardInterrupt, "7"), out)
    assert "That did not work: too long (too_long)" in out.getvalue()
    assert "Left as it was." in out.getvalue()


async def test_connected_lost_and_connected_again(server: ScriptedServer) -> None:
    out = io.StringIO()

    async def play() -> str:
        peer = await greet(server)
        await peer.say(message(1, "hi"))
        await until(lambda: "bob: hi" in out.getvalue())
        await peer.close(1012, "restart;retry_after_ms=1")
        peer = await greet(server, at=1, recovered=True)
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
        await (await greet(server)).close(4201, "banned")
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
    assert "There are no messages yet." in shown
    assert "These are the newest 20." in shown
    assert "The database is away" in shown
    assert "There are none yet." in shown
    assert "alice: connected, 2 times\nbob: not connected\ncarol: connected, 1 time\n" in shown


async def test_no_login_is_told_at_once(server: ScriptedServer) -> None:
    out = io.StringIO()
    await sit(server, Person("1", "7"), out, token=None)
    assert "has no development login" in out.getvalue()
    assert server.connections == 0
