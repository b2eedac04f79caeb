"""The entries about groups, against a scripted server."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from testkit.client_events import until
from testkit.scripted_server import ScriptedServer, change, message
from tests.unit.support.demo_person import Person, greet, sent, sit

ID, OTHER = "6f" * 16, "07" * 16
CHANNEL = f",g:{ID}"


def group(name: str = "Readers", group_id: str = ID, rev: str = "0" * 16) -> dict[str, Any]:
    return {"id": group_id, "channel": f",g:{group_id}", "name": name, "role": "admin", "rev": rev}


def groups(*found: dict[str, Any]) -> dict[str, Any]:
    return {"groups": list(found), "after": None}


def member(user: str) -> dict[str, Any]:
    return {"user": user, "role": "member", "joined": "0" * 16}


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer().serve() as running:
        running.conversations, running.connected = [], {}
        yield running


async def calls(server: ScriptedServer) -> list[tuple[str, str, Any]]:
    """The requests that change a group: method, path, body."""
    found = []
    for one in server.requests:
        if one.path.startswith("/api/groups") and one.method != "GET":
            body = await one.read()
            found.append((one.method, one.path, json.loads(body) if body else None))
    return found


async def shown(server: ScriptedServer, *steps: Any) -> tuple[str, Person]:
    """What is printed after the menu, and who typed."""
    out, person = io.StringIO(), Person(*steps, "7")
    await sit(server, person, out)
    return out.getvalue().partition("15. Make an invite link\n")[2], person


async def test_a_group_is_created_and_talked_in(server: ScriptedServer) -> None:
    server.answer(201, group())
    server.answer(201, message(1))
    server.answer(200, {"messages": [message(1, "Hello!", channel=CHANNEL)]})
    printed, person = await shown(server, "9", "Readers", "bob, carol", "2", "", "Hello!", "3", "")
    ((_, _, created),) = await calls(server)
    assert (created["name"], created["members"]) == ("Readers", ["bob", "carol"])
    ((body),) = await sent(server)
    assert (body["channel"], body["content"], "participants" in body) == (CHANNEL, "Hello!", False)
    assert person.prompts.count("Participants (group Readers): ") == 2
    assert server.requests[-1].query["channel"] == CHANNEL
    assert printed == ("Created.\nSent.\n[Group: Readers]\n2026-11-21 12:00  bob: Hello!\n")


async def test_members_are_added_and_removed_and_the_group_is_renamed_and_left(
    server: ScriptedServer,
) -> None:
    for answer in (
        groups(group()), member("bob"), member("carol"),
        groups(group()), {"id": "0" * 16}, {"id": None},
        groups(group()), group("Writers"),
        groups(group("Writers")), {"id": "0" * 16},
        groups(),
    ):  # fmt: skip
        server.answer(200, answer)
    printed, person = await shown(
        server,
        "10", "", "bob, carol",
        "11", "readers", "bob, nobody",
        "13", "", "Writers",
        "12", "",
        "12",
    )  # fmt: skip
    members = f"/api/groups/{ID}/members"
    assert await calls(server) == [
        ("PUT", f"{members}/bob", None),
        ("PUT", f"{members}/carol", None),
        ("DELETE", f"{members}/bob", None),
        ("DELETE", f"{members}/nobody", None),
        ("PATCH", f"/api/groups/{ID}", {"name": "Writers"}),
        ("DELETE", f"{members}/alice", None),
    ]
    assert [one for one in person.prompts if one != "> "] == [
        "Group (Readers): ", "Users: ", "Group (Readers): ", "Users: ",
        "Group (Readers): ", "New name: ", "Group (Writers): ",
    ]  # fmt: skip
    assert printed == (
        "Added.\nRemoved.\nRenamed.\nYou left Writers.\nYou are in no group; 9 creates one.\n"
    )


async def test_a_group_is_named_or_chosen_by_its_number(server: ScriptedServer) -> None:
    same = group("Readers", OTHER)
    server.conversations = [
        {"channel": "alice,bob", "participants": ["alice", "bob"]},
        {"channel": CHANNEL, "participants": []},
        {"channel": ",g:" + "1" * 32, "participants": []},  # which the user has left
    ]
    for _ in range(3):
        server.answer(200, groups(group(), same))
    server.answer(200, groups(group(), same))
    server.answer(200, member("bob"))
    printed, person = await shown(
        server, "10", "Readers", "10", "Writers", "8", "2", "10", "", "bob"
    )
    assert [path for _, path, _ in await calls(server)] == [f"/api/groups/{OTHER}/members/bob"]
    assert [one for one in person.prompts if one != "> "] == [
        "Group: ", "Group: ", "Conversation: ", "Group (Readers): ", "Users: ",
    ]  # fmt: skip
    assert printed == (
        "Several groups have that name: 8 chooses one of them.\n"
        "Name one of your groups: Readers, Readers.\n"
        "1. group Readers\n2. group Readers\n3. alice, bob\n"
        "Chosen: group Readers. Press Enter for it in 2 and 3.\n"
        "Added.\n"
    )


@pytest.mark.parametrize("typed", ["", "0", "2", "x", "²"])
async def test_what_is_no_number_of_the_list_chooses_nothing(
    server: ScriptedServer, typed: str
) -> None:
    server.answer(200, groups(group()))
    printed, person = await shown(server, "8", typed, "2", "")
    assert printed.startswith("1. group Readers\nLeft as it was.\n")
    assert person.prompts[-2] == "Participants: "


async def test_nothing_is_asked_for_what_is_not_named(server: ScriptedServer) -> None:
    server.answer(200, groups())
    for _ in range(3):
        server.answer(200, groups(group()))
    printed, _ = await shown(server, "8", "9", " ", "10", "", "", "11", "", ",", "13", "", "")
    assert await calls(server) == []
    assert printed == (
        "There are none yet.\nName the group.\n"
        "Name at least one user.\nName at least one user.\nLeft as it was.\n"
    )


async def test_a_link_is_made_and_a_group_is_joined_by_its_code(server: ScriptedServer) -> None:
    server.answer(200, groups(group()))
    server.answer(201, {"code": "5e" * 32, "created_by": "alice"})
    server.answer(200, group("Writers", OTHER))
    server.answer(404, {"code": "no_such_link", "detail": "the code must be that of a link"})
    printed, person = await shown(
        server, "15", "", "14", " c0de ", "2", "", "", "14", "x", "14", ""
    )
    assert await calls(server) == [
        ("POST", f"/api/groups/{ID}/links", None),
        ("POST", "/api/groups/join", {"code": "c0de"}),
        ("POST", "/api/groups/join", {"code": "x"}),
    ]
    assert [one for one in person.prompts if one != "> "] == [
        "Group (Readers): ", "Code: ", "Participants (group Writers): ", "Message: ",
        "Code: ", "Code: ",
    ]  # fmt: skip
    assert printed == (
        f"Whoever has this code may join: {'5e' * 32}\n"
        "You are in Writers.\nNothing to send.\n"
        "That did not work: the code must be that of a link (no_such_link)\nLeft as it was.\n"
    )


async def test_links_and_bans_are_told_and_links_of_ones_own_are_not(
    server: ScriptedServer,
) -> None:
    out = io.StringIO()
    told = {"channel": CHANNEL, "name": "Readers"}

    async def receive() -> str:
        peer = await greet(server)
        await peer.say(change(1, "group", change="links", **told))
        await peer.say(change(2, "group", sender="alice", change="links", **told))
        for number, what, user in [
            (3, "banned", "carol"), (4, "unbanned", "carol"), (5, "banned", "alice"),
        ]:  # fmt: skip
            ban = {"change": what, "users": [user], "channel": CHANNEL}
            await peer.say(change(number, "membership", **ban))
        await until(lambda: "banned alice" in out.getvalue())
        return "2"

    person = Person("1", receive, "", "7")
    server.answer(200, group())
    await sit(server, person, out)
    assert out.getvalue().partition("Connected as alice.\n")[2] == (
        "bob changed the invite links of Readers.\n"
        "bob banned carol from Readers.\nbob unbanned carol from Readers.\n"
        "bob banned alice from Readers.\nName at least one participant.\n"
    )
    assert "Participants: " in person.prompts, "who is banned talks there no longer"


async def test_a_join_is_said_once(server: ScriptedServer) -> None:
    out = io.StringIO()
    record = change(
        1, "membership", sender="alice", channel=CHANNEL, change="joined", users=["alice"]
    )

    async def join() -> str:
        await greet(server)
        return "14"

    async def answer_late(_: Any) -> Any:
        await server._all[-1].say(record)
        elsewhere = {"change": "created", "name": "Writers", "channel": f",g:{OTHER}"}
        await server._all[-1].say(change(2, "group", sender="alice", **elsewhere))
        return web.json_response(group(rev=record["id"]))

    async def wait() -> str:
        await until(lambda: "Writers" in out.getvalue())
        return "7"

    server.answers.append(answer_late)
    server.answer(200, group())
    await sit(server, Person("1", join, "c0de", wait), out)
    printed = out.getvalue().partition("Connected as alice.\n")[2]
    assert sorted(printed.splitlines()) == ["You are in Readers.", "alice created Writers."]


async def test_a_refusal_is_told(server: ScriptedServer) -> None:
    server.answer(200, groups(group()))
    server.answer(403, {"code": "not_an_admin", "detail": "the caller must be an admin"})
    printed, _ = await shown(server, "13", "", "Writers")
    assert printed == "That did not work: the caller must be an admin (not_an_admin)\n"


async def test_changes_and_messages_of_groups_appear_by_name(server: ScriptedServer) -> None:
    out = io.StringIO()
    told = {"channel": CHANNEL, "name": "Readers"}

    async def receive() -> str:
        peer = await greet(server)
        await peer.say(change(1, "group", change="created", users=["bob", "alice"], **told))
        await peer.say(message(2, "hi", channel=CHANNEL, participants=[]))
        await peer.say(change(3, "group", change="updated", **told | {"name": "Writers"}))
        left = {"change": "left", "users": ["bob"], "promoted": "alice"}
        await peer.say(change(4, "membership", channel=CHANNEL, **left))
        await until(lambda: "bob left" in out.getvalue())
        return "2"

    async def removed() -> str:
        gone = {"change": "removed", "users": ["alice"], "channel": CHANNEL}
        await server._all[-1].say(change(5, "membership", sender="carol", **gone))
        await until(lambda: "carol removed" in out.getvalue())
        return "2"

    person = Person("1", receive, KeyboardInterrupt, removed, "", "7")
    await sit(server, person, out)
    assert "Connected as alice.\nbob created Readers with alice.\n[Group: Readers]\nbob: hi\n" in (
        out.getvalue()
    )
    assert (
        "bob renamed Readers to Writers.\nbob left Writers. alice is an admin now.\n"
        "Left as it was.\ncarol removed alice from Writers.\n"
    ) in out.getvalue()
    questions = [one for one in person.prompts if one.startswith("Participants")]
    assert questions == ["Participants (group Writers): ", "Participants: "]


async def test_a_name_that_is_not_known_is_looked_up(server: ScriptedServer) -> None:
    out = io.StringIO()
    server.answer(200, group("Readers"))
    server.answer(403, {"code": "not_a_member", "detail": "d"})

    async def receive() -> str:
        peer = await greet(server)
        await peer.say(message(1, "hi", channel=CHANNEL, participants=[]))
        await peer.say(message(2, "oh", channel=f",g:{OTHER}", participants=[]))
        await until(lambda: "bob: oh" in out.getvalue())
        return "7"

    await sit(server, Person("1", receive), out)
    assert f"[Group: Readers]\nbob: hi\n[Channel: ,g:{OTHER}]\nbob: oh\n" in out.getvalue()


async def test_what_was_done_here_is_said_once_and_elsewhere_too(server: ScriptedServer) -> None:
    out = io.StringIO()
    record = change(1, "group", sender="alice", channel=CHANNEL, change="created", name="Readers")

    async def create() -> str:
        await greet(server)
        return "9"

    async def answer_late(_: Any) -> Any:
        # The record comes before the answer to the request that made it.
        await server._all[-1].say(record)
        elsewhere = {"change": "created", "name": "Writers", "channel": f",g:{OTHER}"}
        await server._all[-1].say(change(2, "group", sender="alice", **elsewhere))
        return web.json_response(group(rev=record["id"]), status=201)

    async def wait() -> str:
        await until(lambda: "Writers" in out.getvalue())
        return "7"

    server.answers.append(answer_late)
    await sit(server, Person("1", create, "Readers", "", wait), out)
    printed = out.getvalue().partition("Connected as alice.\n")[2]
    assert sorted(printed.splitlines()) == ["Created.", "alice created Writers."]
