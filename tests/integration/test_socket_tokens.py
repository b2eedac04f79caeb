"""Tokens over the life of a socket."""

from __future__ import annotations

import asyncio
import time

import pytest

from testkit.talking import mint, talk, token
from tests.integration.conftest import Serve


async def test_a_fresh_token_goes_on_where_the_old_one_ends(serve: Serve) -> None:
    _, url = serve(HEARTBEAT_SECONDS="1")
    async with talk(url, "ann", ttl=3) as one:
        fresh = token("ann", 600)
        await one.put({"type": "auth", "ref": "t", "token": fresh})
        answer = await one.next("auth_expiring")
        assert answer["type"] == "auth_ok"
        assert answer["ref"] == "t"
        assert answer["expires_at"] > one.hello["expires_at"] + 500
        while time.time() < one.hello["expires_at"] + 0.5:
            await one.put({"type": "ping"})
            assert (await one.next("auth_expiring", "cursor"))["type"] == "pong"
            await asyncio.sleep(0.05)
        assert (await one.say("ben"))["type"] == "ack"


async def test_at_its_end_the_socket_is_closed_with_4002(serve: Serve) -> None:
    _, url = serve()
    async with talk(url, "ann", ttl=2) as one:
        code, _ = await one.closed()
        assert code == 4002
        assert time.time() >= one.hello["expires_at"] - 0.1, "but for the timer's grain"


async def test_it_is_warned_of_once_when_a_quarter_of_it_is_left(serve: Serve) -> None:
    _, url = serve(HEARTBEAT_SECONDS="1")
    async with talk(url, "ann", ttl=8) as one:
        told = await one.next("cursor")
        assert told["type"] == "auth_expiring"
        left = one.hello["expires_at"] - time.time()
        assert 0 <= told["in_seconds"] <= 2
        assert left <= 2.1, "not before, but for the timer's grain"
        found = []
        while time.time() < one.hello["expires_at"] - 0.5:
            found += await one.ping()
            await asyncio.sleep(0.05)
        assert found == []


async def test_a_renewed_token_is_not_warned_of_at_once(url: str) -> None:
    """A login that takes a second would be asked every second."""
    async with talk(url, "ann", ttl=55) as one:
        for _ in range(5):
            await one.put({"type": "auth", "token": token("ann", 55)})
            assert (await one.next())["type"] == "auth_ok"
            assert await one.ping() == []


async def test_another_users_token_closes_with_4003(url: str) -> None:
    async with talk(url, "ann") as one:
        await one.put({"type": "auth", "token": token("ben")})
        assert (await one.closed())[0] == 4003


@pytest.mark.parametrize(
    ("which", "code"), [("expired", "token_expired"), ("forged", "token_invalid")]
)
async def test_a_bad_token_is_an_error_and_changes_nothing(url: str, which: str, code: str) -> None:
    bad = token("ann", -3600) if which == "expired" else mint(b"x" * 32, "ann", 600)
    async with talk(url, "ann") as one:
        await one.put({"type": "auth", "ref": "bad", "token": bad})
        error = await one.next()
        assert (error["type"], error["code"], error["ref"]) == ("error", code, "bad")
        assert bad not in error["detail"]
        assert (await one.say("ben"))["type"] == "ack"
