from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chatsvc.client import ChatApi, ChatClient, TokenUnavailable
from chatsvc.client import tokens as module
from chatsvc.client.tokens import TokenSource


class Clock:
    """Moves when something sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.pauses: list[float] = []
        monkeypatch.setattr(module.asyncio, "sleep", self._sleep)
        monkeypatch.setattr(module, "REFRESH_SECONDS", 5.0)

    def __call__(self) -> float:
        return self.now

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


async def test_the_first_refresh_is_at_once_and_the_next_have_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    given = iter("abcdef")
    source = TokenSource(lambda: next(given), clock=clock)
    assert await source.get() == await source.get() == "a"
    source.forget("a")
    assert await source.get() == "b"
    assert clock.pauses == []
    clock.now += 2
    source.forget("b")
    assert await source.get() == "c"
    assert clock.pauses == [3.0]
    clock.now += 4.5
    source.forget("c")
    assert await source.get() == "d"
    assert clock.pauses == [3.0, 0.5]
    clock.now += 5
    source.forget("d")
    assert await source.get() == "e"
    assert clock.pauses == [3.0, 0.5]


async def test_only_the_token_that_was_refused_is_forgotten() -> None:
    given = iter("ab")
    source = TokenSource(lambda: next(given))
    assert await source.get() == "a"
    source.forget("an older one")
    assert await source.get() == "a"
    source.forget()
    assert await source.get() == "b"


async def test_two_who_need_one_ask_once() -> None:
    asked = 0

    async def token() -> str:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return "t"

    source = TokenSource(token)
    assert await asyncio.gather(source.get(), source.get()) == ["t", "t"]
    assert asked == 1


@pytest.mark.parametrize("token", ["", "two words", "line\n", "tab\t", "ä", "\x00"])
async def test_what_no_header_can_hold_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        ChatClient("http://127.0.0.1:1", token)
    with pytest.raises(ValueError, match="printable ASCII"):
        ChatApi("http://127.0.0.1:1", token)
    with pytest.raises(TokenUnavailable, match="printable ASCII"):
        await TokenSource(lambda: token).get()


@pytest.mark.parametrize("token", [None, b"bytes", 5])
async def test_what_is_no_text_is_refused(token: Any) -> None:
    with pytest.raises(TokenUnavailable, match="must be a str"):
        await TokenSource(lambda: token).get()


async def test_a_function_that_never_returns_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FETCH_SECONDS", 0.001)

    async def token() -> str:
        await asyncio.Event().wait()
        return "never"

    source = TokenSource(token)
    with pytest.raises(TokenUnavailable):
        await source.get()


async def test_cancelling_who_asks_is_no_failure_of_the_function() -> None:
    asked = asyncio.Event()

    async def token() -> str:
        asked.set()
        await asyncio.Event().wait()
        return "never"

    asking = asyncio.create_task(TokenSource(token).get())
    await asked.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
