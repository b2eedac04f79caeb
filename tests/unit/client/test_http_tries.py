"""What a call asks of its session, and when it asks again: with a session of the test's own."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from chatsvc.client import ApiError, Backoff, ChatApi, TokenUnavailable, Unreachable

URL = "http://h/chat"


class Session:
    """Gives the answers that a test lined up; notes what was asked."""

    def __init__(self, *answers: int | tuple[int, dict[str, str]] | Exception) -> None:
        self.answers = deque(answers)
        self.asked: list[tuple[str, str]] = []
        self.given: list[dict[str, Any]] = []
        self.closed = False

    @asynccontextmanager
    async def request(self, method: str, url: object, **given: Any) -> AsyncIterator[Any]:
        self.asked.append((method, str(url)))
        self.given.append(given)
        others = asyncio.Event()
        asyncio.get_running_loop().call_soon(others.set)
        await others.wait()  # other calls go on meanwhile
        answer = self.answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        status, headers = answer if isinstance(answer, tuple) else (answer, {})

        async def read() -> bytes:
            return b'{"connections":{}}' if status < 300 else b"<html>"

        yield SimpleNamespace(status=status, headers=headers, read=read)

    @property
    def tokens(self) -> list[str]:
        return [given["headers"]["Authorization"] for given in self.given]

    async def close(self) -> None:
        self.closed = True


def api_of(session: Session, token: Any = "t", **more: Any) -> ChatApi:
    more.setdefault("backoff", Backoff(first=1.0, maximum=4.0))
    more.setdefault("draw", lambda: 0.5)
    return ChatApi(URL, token, session=cast("aiohttp.ClientSession", session), **more)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, none of which takes any time."""
    made: list[float] = []

    async def pause(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr("chatsvc.client.http.asyncio.sleep", pause)
    return made


async def test_what_is_asked_for() -> None:
    session = Session(200, 200)
    await api_of(session).connections(["bob"])
    assert session.asked == [("POST", "http://h/chat/api/connections")]
    (given,) = session.given
    assert json.loads(given.pop("data")) == {"users": ["bob"]}
    assert given == {
        "params": {},
        "headers": {"Authorization": "Bearer t", "Content-Type": "application/json"},
        "timeout": aiohttp.ClientTimeout(total=30.0, sock_connect=10.0),
        "ssl": True,
        "allow_redirects": False,
        "raise_for_status": False,
    }


async def test_without_a_body_there_is_no_type_of_one() -> None:
    session = Session(404)
    with pytest.raises(ApiError):
        await api_of(session, device="tv", headers={"X-Tenant": "7"}).history(limit=3)
    (given,) = session.given
    assert given["data"] is None
    assert given["params"] == {"limit": "3"}
    assert given["headers"] == {
        "Authorization": "Bearer t", "Chatsvc-Device": "tv", "X-Tenant": "7",
    }  # fmt: skip


@pytest.mark.parametrize(("seconds", "to_connect"), [(5.0, 5.0), (60.0, 10.0)])
async def test_the_time_of_one_try(seconds: float, to_connect: float) -> None:
    session = Session(200)
    await api_of(session, timeout=seconds).connections([])
    timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=to_connect)
    assert session.given[0]["timeout"] == timeout


async def test_the_pauses_between_tries_double_with_jitter(pauses: list[float]) -> None:
    session = Session(502, aiohttp.ServerDisconnectedError(), 502)
    with pytest.raises(ApiError):
        await api_of(session).connections([])
    assert len(session.asked) == 3
    assert pauses == [0.5, 1.0]


async def test_the_server_says_how_long_to_wait(pauses: list[float]) -> None:
    session = Session((503, {"Retry-After": "60"}), (429, {"Retry-After": "0"}), 200)
    await api_of(session).connections([])
    assert pauses == [63.0, 1.0]


async def test_more_than_a_minute_is_for_the_caller_to_wait(pauses: list[float]) -> None:
    session = Session((503, {"Retry-After": "60.5"}))
    with pytest.raises(ApiError) as caught:
        await api_of(session).connections([])
    assert caught.value.retry_after == 60.5
    assert pauses == []


async def test_a_time_to_wait_is_not_kept_for_the_next_failure(pauses: list[float]) -> None:
    session = Session((503, {"Retry-After": "10"}), aiohttp.ClientError("lost"), 200)
    await api_of(session).connections([])
    assert pauses == [10.5, 1.0]


async def test_a_try_that_takes_too_long_is_the_last(pauses: list[float]) -> None:
    session = Session(aiohttp.ServerTimeoutError())
    with pytest.raises(Unreachable, match=r"^POST /api/connections: no answer in time$") as caught:
        await api_of(session).connections([])
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert pauses == []


async def test_a_lost_connection_is_told_with_its_cause(pauses: list[float]) -> None:
    lost = [aiohttp.ServerDisconnectedError(f"lost {number}") for number in range(3)]
    with pytest.raises(Unreachable, match=r"^POST /api/connections: lost 2$") as caught:
        await api_of(Session(*lost)).connections([])
    assert caught.value.__cause__ is lost[2]


@pytest.mark.parametrize("status", [300, 301, 304, 399])
async def test_nothing_but_a_success_is_one(status: int) -> None:
    with pytest.raises(ApiError) as caught:
        await api_of(Session(status)).connections([])
    assert (caught.value.status, caught.value.code) == (status, f"http_{status}")


async def test_a_fresh_token_is_no_failure(pauses: list[float]) -> None:
    given = iter("abc")
    session = Session(401, 502, 502, 200)
    await api_of(session, lambda: next(given)).connections([])
    assert session.tokens == ["Bearer a", "Bearer b", "Bearer b", "Bearer b"]
    assert pauses == [0.5, 1.0]


async def test_a_call_asks_for_one_fresh_token(pauses: list[float]) -> None:
    given = iter("abc")
    session = Session(401, 502, 401)
    with pytest.raises(ApiError) as caught:
        await api_of(session, lambda: next(given)).connections([])
    assert caught.value.status == 401
    assert session.tokens == ["Bearer a", "Bearer b", "Bearer b"]


@pytest.mark.parametrize(("status", "token"), [(401, "t"), (402, lambda: "t"), (403, lambda: "t")])
async def test_where_another_token_cannot_help_none_is_asked_for(status: int, token: Any) -> None:
    session = Session(status)
    with pytest.raises(ApiError):
        await api_of(session, token).connections([])
    assert len(session.asked) == 1


async def test_only_the_token_that_was_refused_is_replaced() -> None:
    """Two calls at once, refused with the same token, ask for one fresh one."""
    given = iter("abc")
    api = api_of(session := Session(401, 401, 200, 200), lambda: next(given))
    await asyncio.gather(api.connections([]), api.connections([]))
    assert session.tokens == ["Bearer a", "Bearer a", "Bearer b", "Bearer b"]


async def test_no_token_is_no_call() -> None:
    def token() -> str:
        raise OSError("the login is away")

    session = Session()
    with pytest.raises(TokenUnavailable, match="the login is away"):
        await api_of(session, token).connections([])
    assert session.asked == []


async def test_the_time_of_every_answer_is_taken() -> None:
    api = api_of(Session((404, {"Date": "Wed, 04 May 2016 03:02:01 GMT"})))
    with pytest.raises(ApiError):
        await api.connections([])
    assert api.clock.now_ms() // 1000 == 1_462_330_921


async def test_a_session_of_its_own_is_closed_and_one_that_was_given_is_not() -> None:
    session = Session()
    async with api_of(session) as api:
        assert api.session is cast("aiohttp.ClientSession", session)
    assert not session.closed
    api = ChatApi(URL, "t")
    async with api:
        own = api.session
        assert not own.closed
    assert own.closed
    with pytest.raises(RuntimeError, match="entered first"):
        _ = api.session
    async with api:
        assert api.session is not own
