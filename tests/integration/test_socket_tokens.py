"""Tokens over the life of a socket."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.integration.conftest import Serve
from tests.support.talking import mint, talk, token


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


async def test_a_minute_before_the_end_it_is_told_once(serve: Serve) -> None:
    _, url = serve(HEARTBEAT_SECONDS="1")
    async with talk(url, "ann", ttl=62) as one:
        told = await one.next()
        assert told["type"] == "auth_expiring"
        assert 57 <= told["in_seconds"] <= 60
        assert one.hello["expires_at"] - time.time() <= 60.5
        until = time.monotonic() + 1
        while time.monotonic() < until:
            assert await one.ping() == []
            await asyncio.sleep(0.05)


async def test_a_short_token_is_told_of_its_end_at_once(url: str) -> None:
    async with talk(url, "ann", ttl=30) as one:
        told = await one.next()
        assert told["type"] == "auth_expiring"
        assert 25 <= told["in_seconds"] <= 30


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
