"""What a refused handshake means: as which close code it is decided about."""

from __future__ import annotations

from typing import Any, cast

import aiohttp
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from chatsvc.client import ChatApi
from chatsvc.client.context import Closed
from chatsvc.client.handshake import open_socket, refused_handshake
from chatsvc.client.kinds import MESSAGES_ONLY, ChosenKinds, chosen_kinds
from chatsvc.client.policy import ReconnectPolicy

PROBLEM = {"Content-Type": "application/problem+json"}
BEARER = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
BASIC = {"WWW-Authenticate": 'Basic realm="a bearer of news"'}


def closed(
    status: int, headers: dict[str, str] | None = None, kinds: ChosenKinds = MESSAGES_ONLY
) -> Closed:
    empty: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
    request = aiohttp.RequestInfo(URL("http://h/ws"), "GET", empty, URL("http://h/ws"))
    error = aiohttp.ClientResponseError(request, (), status=status, headers=headers)  # type: ignore[arg-type]
    return refused_handshake(error, kinds)


async def test_how_a_socket_is_opened() -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    class Session:
        async def ws_connect(self, url: str, **given: Any) -> Any:
            asked.append((url, given))

    session = cast("aiohttp.ClientSession", Session())
    api = ChatApi("https://h/chat", "another", session=session, headers={"X-Tenant": "7"})
    await open_socket(api, "secret", {"since": "e1.5", "device": None, "echo": "true"})
    assert asked == [
        (
            "https://h/chat/ws",
            {
                "params": {"since": "e1.5", "echo": "true"},
                "headers": {"X-Tenant": "7", "Authorization": "Bearer secret"},
                "timeout": aiohttp.ClientWSTimeout(ws_close=1.0),
                "protocols": ("chatsvc.v1",),
                "max_msg_size": 16_777_216,
                "decode_text": False,
                "ssl": True,
            },
        )
    ]


@pytest.mark.parametrize(
    ("headers", "reason", "certain"),
    [
        (PROBLEM, "no reason given", True),
        (BEARER, 'Bearer error="invalid_token"', True),
        (PROBLEM | BEARER, 'Bearer error="invalid_token"', True),
        ({"WWW-Authenticate": "bearer"}, "bearer", True),
        (BASIC, 'Basic realm="a bearer of news"', False),
        ({"Content-Type": "text/html"}, "no reason given", False),
        (None, "no reason given", False),
    ],
)
def test_a_401_is_a_refused_token_with_the_servers_reason(
    headers: dict[str, str] | None, reason: str, certain: bool
) -> None:
    told = f"the token was refused: {reason}"
    assert closed(401, headers) == Closed(4001, told, certain=certain)


@pytest.mark.parametrize(("headers", "certain"), [(PROBLEM, True), (BEARER, True), (BASIC, False)])
def test_a_403_is_a_refusal(headers: dict[str, str], certain: bool) -> None:
    assert closed(403, headers) == Closed(4003, "refused", certain=certain)


@pytest.mark.parametrize("status", [429, 502, 503])
def test_a_time_to_wait_is_kept_as_the_server_says_it(status: int) -> None:
    answer = closed(status, {"Retry-After": "2.5"})
    assert answer == Closed(1013, f"http_{status};retry_after_ms=2500")
    decision = ReconnectPolicy(draw=lambda: 0.0).closed(answer.code, answer.reason)
    assert decision.wait == 2.5


def test_a_time_too_long_for_a_close_reason_is_cut() -> None:
    assert closed(503, {"Retry-After": "1e12"}).reason == "http_503;retry_after_ms=999999000"


@pytest.mark.parametrize("status", [302, 404, 500, 503])
def test_any_other_answer_is_no_connection(status: int) -> None:
    told = f"cannot connect: the server answered {status}"
    assert closed(status) == Closed(1006, told)
    assert closed(status, {"Retry-After": "tomorrow"}) == Closed(1006, told)


@pytest.mark.parametrize("kinds", [["edit", "message"], ["edit"], "all"])
def test_a_server_that_does_not_know_kinds_is_named_as_the_reason(kinds: Any) -> None:
    chosen = chosen_kinds(kinds)
    refused = "the server refuses the handshake: 422"
    told = f"{refused}; to ask for kinds, it must have the feature changes"
    assert closed(422, PROBLEM, chosen) == Closed(1006, told, final=True)
    assert closed(422, PROBLEM) == Closed(1006, refused, final=True)
    assert closed(404, PROBLEM, chosen).reason == "the server refuses the handshake: 404"
    assert not closed(422, {"Content-Type": "text/html"}, chosen).final, "a proxy's own"
