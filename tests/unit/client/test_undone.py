"""When a request that failed was certainly not carried out, and what comes of it."""

from __future__ import annotations

import socket

import pytest

from chatsvc.client import ApiError, Backoff, ChatApi, Unreachable
from chatsvc.client.undone import is_undone


def refusal(status: int, code: str = "c", *, is_problem: bool = True) -> ApiError:
    return ApiError(status, code, "d", is_problem=is_problem)


@pytest.mark.parametrize(
    "failure",
    [
        *(refusal(status, is_problem=False) for status in (408, 425, 429)),
        *(
            refusal(503, code)
            for code in (
                "adopting", "backlog_full", "busy", "disk_full", "overload", "shutting_down",
            )
        ),
    ],
    ids=str,
)  # fmt: skip
def test_it_was_refused(failure: ApiError) -> None:
    assert is_undone(failure)


@pytest.mark.parametrize(
    "failure",
    [
        refusal(500, "internal_error"),
        refusal(502, "busy"),
        refusal(504),
        refusal(503, "log_unavailable"),
        refusal(503, "of_a_newer_server"),
        refusal(503, "busy", is_problem=False),
        Unreachable("no answer"),
    ],
    ids=str,
)
def test_it_may_have_been_carried_out(failure: ApiError | Unreachable) -> None:
    assert not is_undone(failure)


async def test_where_there_is_no_connection_nothing_was_sent() -> None:
    with socket.socket() as closed:  # bound and not listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        pauses = []

        def draw() -> float:
            pauses.append(0.0)
            return 0.0

        async with ChatApi(url, "t", backoff=Backoff(0.0, 0.0), draw=draw) as api:
            with pytest.raises(Unreachable) as caught:
                await api.groups.create_link("6f" * 16)
    assert is_undone(caught.value)
    assert len(pauses) == 2, "it was tried three times"
