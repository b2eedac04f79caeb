"""Who may call an operation, and what the document says about it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chatsvc.api.access import ANYBODY, USER, Access
from chatsvc.api.feature import Feature
from chatsvc.api.operation import Operation, Reply
from chatsvc.server.http.application import ServerOptions, build_application
from testkit.authenticator import FakeAuthenticator, named_by_token
from tests.unit.support.http_service import HttpService, running


class Nothing(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """No parameter."""


class Told(msgspec.Struct, kw_only=True):
    """Who asked."""

    user: str | None


async def tell(caller: Any, request: Nothing) -> Reply:
    return Reply(200, Told(user=None if caller is None else caller.user))


def service(access: Access) -> HttpService:
    told = HttpService()
    operation = Operation(
        name="tell", method="GET", path="/api/tell", summary="Tell", tag="told", access=access,
        request=Nothing, responses={200: ("Told.", Told)}, handler=tell,
    )  # fmt: skip
    told.application = build_application(
        features=[Feature(name="told", operations=(operation,))],
        commands=told.commands,
        authenticator=FakeAuthenticator(named_by_token),
        limits=told.limits,
        health_report=lambda: told.health,
        metrics=told.metrics,
        options=ServerOptions(version="0"),
    )
    return told


@pytest.mark.parametrize(
    ("access", "nobody", "alice", "documented"),
    [
        (ANYBODY, 200, 200, set()),
        (USER, 401, 200, {"401"}),
        (Access(roles=frozenset({"admin"})), 401, 403, {"401", "403"}),
        (Access(scopes=frozenset({"files:read"})), 401, 403, {"401", "403"}),
    ],
    ids=["anybody", "user", "role", "scope"],
)
async def test_who_may_call_and_which_refusals_are_documented(
    access: Access, nobody: int, alice: int, documented: set[str]
) -> None:
    async with running(service(access)) as client:
        assert (await client.call("GET", "/api/tell", user=None)).status == nobody
        assert (await client.call("GET", "/api/tell")).status == alice
        document = (await client.call("GET", "/openapi.json")).json
    operation = document["paths"]["/api/tell"]["get"]
    assert set(operation["responses"]) & {"401", "403"} == documented
    assert bool(operation["security"]) == ("401" in documented)
    for status in documented:
        assert status in document["components"]["responses"]


async def test_a_scope_that_is_missing_is_named() -> None:
    async with running(service(Access(scopes=frozenset({"files:read"})))) as client:
        answer = await client.call("GET", "/api/tell")
    assert answer.json["detail"] == "the token must have the scope files:read"
