"""Requests that are answered by a problem document."""

from __future__ import annotations

from typing import Any

from tests.unit.support.http_service import Answer, Client

MEMBERS = {"type", "title", "status", "code", "detail", "request_id", "errors"}
JSON = {"Content-Type": "application/json"}


def check_problem(answer: Answer, status: int, code: str) -> dict[str, Any]:
    """The one shape of every error."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json
    assert set(problem) >= MEMBERS
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    return problem


async def post(client: Client, body: bytes, headers: dict[str, str] | None = None) -> Answer:
    return await client.call("POST", "/api/messages", data=body, headers=JSON | (headers or {}))
