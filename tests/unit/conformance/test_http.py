"""Where a reference in an answer leads, and what a problem document must have."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from chatsvc_conformance.expect import Failed
from chatsvc_conformance.http import PROBLEM, Answer, Api

NO_SESSION = cast(Any, None)


@pytest.mark.parametrize("base", ["http://x", "http://x:80/", "https://x.org/chat", "http://X/a/b"])
@pytest.mark.parametrize("absolute", [True, False])
def test_a_reference_becomes_a_path(base: str, absolute: bool) -> None:
    api = Api(NO_SESSION, base)
    where = api.url("/api/messages/7")
    reference = str(where) if absolute else where.raw_path
    assert api.path_of(reference, "/api/messages") == "/api/messages/7"
    assert api.path_of("messages/7", "/api/messages") == "/api/messages/7"


@pytest.mark.parametrize(
    "reference",
    ["/api/messages/7", "http://x.org/chat/7", "https://y.org/chat/7", "//y.org/chat/7"],
)
def test_one_that_leads_elsewhere_is_a_failure(reference: str) -> None:
    with pytest.raises(Failed, match=r"must lead below https://x\.org/chat/"):
        Api(NO_SESSION, "https://x.org/chat").path_of(reference, "/api/messages")


def problem(status: int, **headers: str) -> Answer:
    document = {
        "type": "about:blank",
        "title": "Title",
        "status": status,
        "code": "a_code",
        "detail": "a detail",
        "request_id": "r",
        "errors": [],
    }
    fields = {"Content-Type": PROBLEM, "X-Request-Id": "r"} | headers
    return Answer("GET /", status, fields, msgspec.json.encode(document))


@pytest.mark.parametrize("status", [429, 503])
def test_whoever_is_asked_to_wait_must_be_told_how_long(status: int) -> None:
    problem(status, **{"Retry-After": "1"}).problem(status)
    for headers in ({}, {"Retry-After": "0"}, {"Retry-After": "1.5"}, {"Retry-After": "soon"}):
        with pytest.raises(Failed, match="Retry-After"):
            problem(status, **headers).problem(status)


def test_nobody_else_may_be() -> None:
    problem(404).problem(404)
    with pytest.raises(Failed, match="Retry-After"):
        problem(404, **{"Retry-After": "1"}).problem(404)
