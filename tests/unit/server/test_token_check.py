"""A token is checked in bounded time, whoever asks: HTTP, a handshake, an ``auth`` frame."""

from __future__ import annotations

import asyncio

import pytest

from chatsvc.auth.principal import Principal
from chatsvc.core.errors import Unavailable
from chatsvc.server import token_check
from chatsvc.server.http.application import ServerOptions, build_application
from chatsvc.server.token_check import check_token
from testkit.authenticator import FakeAuthenticator
from tests.unit.support.http_service import HttpService, running

ALICE = Principal("alice", 4_102_444_800)


class Silent:
    """Asks a service that does not answer."""

    def known(self, token: str) -> Principal | None:
        return None

    async def authenticate(self, token: str) -> Principal:
        await asyncio.Event().wait()
        raise AssertionError


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_check, "TOKEN_SECONDS", 0.02)


async def test_an_answer_in_time_is_the_user() -> None:
    assert await check_token(FakeAuthenticator(lambda token: ALICE), "t") is ALICE


@pytest.mark.usefixtures("soon")
async def test_one_that_does_not_come_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"could not be checked within 0\.02 seconds\Z"):
        await check_token(Silent(), "t")


async def test_a_time_out_of_the_service_itself_is_its_own() -> None:
    def fails(token: str) -> Principal:
        raise TimeoutError("the identity provider")

    with pytest.raises(TimeoutError, match="the identity provider"):
        await check_token(FakeAuthenticator(fails), "t")


@pytest.mark.usefixtures("soon")
async def test_a_request_whose_token_cannot_be_checked_is_503() -> None:
    service = HttpService()
    service.application = build_application(
        features=service.features,
        commands=service.commands,
        authenticator=Silent(),
        limits=service.limits,
        health_report=lambda: service.health,
        metrics=service.metrics,
        options=ServerOptions(version="0"),
    )
    async with running(service) as client:
        answer = await client.call("GET", "/api/conversations")
    assert (answer.status, answer.json["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "1"
