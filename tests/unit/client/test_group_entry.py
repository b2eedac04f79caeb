"""The calls about invite links and bans: what is requested, what is read, what is tried again."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chatsvc.client import (
    ApiError,
    ChatApi,
    Group,
    GroupBan,
    GroupInvitation,
    InviteLink,
    Unreachable,
)
from testkit.scripted_server import ScriptedServer

ID, CODE = "6f" * 16, "5e" * 32
GROUP = {"id": ID, "channel": f",g:{ID}", "name": "Readers", "role": "member"}
LINK = {
    "code": CODE,
    "created_by": "alice",
    "expires_at": "2026-11-27T15:42:12Z",
    "uses_left": 10,
}
PATH = f"/api/groups/{ID}"


async def asked(server: ScriptedServer) -> list[tuple[str, str, Any]]:
    """Method, path as it was sent, and body of each request."""
    found = []
    for one in server.requests:
        body = await one.read()
        found.append((one.method, one.raw_path, json.loads(body) if body else None))
    return found


async def test_links_are_created_listed_used_and_revoked(
    server: ScriptedServer, api: ChatApi
) -> None:
    bare = {"code": CODE, "created_by": "bob", "expires_at": None, "uses_left": None}
    for status, answer in [(201, LINK), (201, bare), (200, {"links": [LINK, bare]})]:
        server.answer(status, answer)
    server.answer(200, GROUP)
    server.answer(200, {})
    first = await api.groups.create_link(ID, expires_in=86_400, max_uses=10)
    assert first == InviteLink(**LINK)  # type: ignore[arg-type]
    second = await api.groups.create_link(ID)
    assert second == InviteLink(code=CODE, created_by="bob", expires_at=None, uses_left=None)
    assert await api.groups.links(ID) == [first, second]
    assert await api.groups.join(CODE) == Group(**GROUP)
    await api.groups.revoke_link(ID, "a/b")
    assert await asked(server) == [
        ("POST", f"{PATH}/links", {"expires_in": 86_400, "max_uses": 10}),
        ("POST", f"{PATH}/links", None),
        ("GET", f"{PATH}/links", None),
        ("POST", "/api/groups/join", {"code": CODE}),
        ("DELETE", f"{PATH}/links/a%2Fb", None),
    ]


async def test_users_are_banned_for_a_time_or_for_good_and_let_in_again(
    server: ScriptedServer, api: ChatApi
) -> None:
    server.answer(200, {"user": "ä b", "expires_at": None})
    server.answer(200, {"user": "bob", "expires_at": "2026-11-27T15:42:12Z"})
    server.answer(200, {"user": "bob"})
    assert await api.groups.ban(ID, "ä b") == GroupBan(user="ä b", expires_at=None)
    ban = await api.groups.ban(ID, "bob", expires_in=60)
    assert ban == GroupBan(user="bob", expires_at="2026-11-27T15:42:12Z")
    await api.groups.unban(ID, "bob")
    assert await asked(server) == [
        ("PUT", f"{PATH}/bans/%C3%A4%20b", None),
        ("PUT", f"{PATH}/bans/bob", {"expires_in": 60}),
        ("DELETE", f"{PATH}/bans/bob", None),
    ]


async def test_users_are_invited_and_answer(server: ScriptedServer, api: ChatApi) -> None:
    named = {"id": ID, "channel": f",g:{ID}", "name": "Readers", "avatar": "book"}
    server.answer(200, {"user": "bob"})
    server.answer(200, {"invitations": [named, {"of": "a newer server"}]})
    server.answer(200, {"user": "bob"})
    await api.groups.invite(ID, "bob")
    assert await api.groups.invitations() == [GroupInvitation(**named)]
    await api.groups.end_invitation(ID, "bob")
    assert await asked(server) == [
        ("PUT", f"{PATH}/invitations/bob", None),
        ("GET", "/api/groups/invitations", None),
        ("DELETE", f"{PATH}/invitations/bob", None),
    ]


async def test_what_a_newer_server_says_is_read_as_far_as_it_is_known(
    server: ScriptedServer, api: ChatApi
) -> None:
    server.answer(200, {"links": [{"of": "another form"}, LINK | {"uses_left": "many", "more": 1}]})
    (link,) = await api.groups.links(ID)
    assert (link.code, link.uses_left, link.expires_at) == (CODE, None, LINK["expires_at"])


@pytest.mark.parametrize(
    "call",
    [
        lambda api: api.groups.create_link(ID),
        lambda api: api.groups.links(ID),
        lambda api: api.groups.join(CODE),
        lambda api: api.groups.ban(ID, "bob"),
    ],
    ids=["create_link", "links", "join", "ban"],
)
async def test_an_answer_of_another_form_is_an_error(
    server: ScriptedServer, api: ChatApi, call: Callable[[ChatApi], Awaitable[Any]]
) -> None:
    server.answer(200, [])
    with pytest.raises(ApiError, match="unreadable_answer"):
        await call(api)


@pytest.mark.parametrize(
    "call",
    [
        lambda api: api.groups.create_link(ID, expires_in=0),
        lambda api: api.groups.create_link(ID, max_uses=0),
        lambda api: api.groups.ban(ID, "bob", expires_in=0),
        lambda api: api.groups.ban(ID, "\ud83d"),
        lambda api: api.groups.join("\ud83d"),
    ],
    ids=["expires_in", "max_uses", "ban", "user", "code"],
)
async def test_what_cannot_be_meant_is_not_sent(
    server: ScriptedServer, api: ChatApi, call: Callable[[ChatApi], Awaitable[Any]]
) -> None:
    with pytest.raises(ValueError):
        await call(api)
    assert server.requests == []


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (lambda api: api.groups.links(ID), {"links": []}),
        (lambda api: api.groups.revoke_link(ID, CODE), {}),
        (lambda api: api.groups.join(CODE), GROUP),
        (lambda api: api.groups.ban(ID, "bob"), {"user": "bob", "expires_at": None}),
        (lambda api: api.groups.unban(ID, "bob"), {"user": "bob"}),
    ],
    ids=["links", "revoke_link", "join", "ban", "unban"],
)
async def test_a_lost_answer_is_tried_again(
    server: ScriptedServer,
    api: ChatApi,
    call: Callable[[ChatApi], Awaitable[Any]],
    answer: dict[str, Any],
) -> None:
    server.hang_up()
    server.answer(503, {"code": "log_unavailable"}, Retry_After="0")
    server.answer(200, answer)
    await call(api)
    assert len(server.requests) == 3


async def test_a_link_is_asked_for_once_where_its_answer_is_lost(
    server: ScriptedServer, api: ChatApi
) -> None:
    server.hang_up()
    with pytest.raises(Unreachable):
        await api.groups.create_link(ID)
    assert len(server.requests) == 1


async def test_a_link_is_asked_for_again_where_none_was_made(
    server: ScriptedServer, api: ChatApi
) -> None:
    server.answer(429, {"code": "too_many_requests"}, Retry_After="0")
    server.answer(503, {"code": "busy"}, Retry_After="0")
    server.answer(201, LINK)
    assert (await api.groups.create_link(ID)).code == CODE
    assert len(server.requests) == 3
