"""Calls over HTTP, and what came back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from yarl import URL

from chatsvc_conformance.expect import Failed, expect, same, shown

PROBLEM: Final = "application/problem+json"
_PROBLEM_MEMBERS: Final = {
    "type": str,
    "title": str,
    "status": int,
    "code": str,
    "detail": str,
    "request_id": str,
    "errors": list,
}


class Answer:
    """A response, read to its end. ``called`` is method and path, for the reader of a report."""

    def __init__(self, called: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.called = called
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        """The body's value.

        Raises:
            Failed: it is not JSON in UTF-8.
        """
        try:
            return json.loads(self.body.decode())
        except ValueError:
            raise Failed(f"{self.called} must be answered with JSON: {self.body[:80]!r}") from None

    def expect(self, *statuses: int) -> Any:
        """The JSON of an answer with one of these statuses.

        Raises:
            Failed: it has another.
        """
        if self.status not in statuses:
            wanted = " or ".join(map(str, statuses))
            text = self.body.decode(errors="replace")
            raise Failed(f"{self.called}: status {self.status} must be {wanted}: {shown(text)}")
        return self.json()

    def problem(self, *statuses: int) -> dict[str, Any]:
        """The problem document (RFC 9457) of an answer with one of these statuses.

        Raises:
            Failed: another status, or not a problem document as the protocol has it.
        """
        document = self.expect(*statuses)
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip()
        same(kind, PROBLEM, f"{self.called}: Content-Type")
        expect(isinstance(document, dict), f"{self.called}: a problem must be an object")
        for name, wanted in _PROBLEM_MEMBERS.items():
            got = document.get(name)
            expect(
                isinstance(got, wanted) and not isinstance(got, bool),
                f"{self.called}: {name!r} of the problem is {shown(got)} and must be of type "
                f"{wanted.__name__}",
            )
        same(document["status"], self.status, f"{self.called}: the problem's status")
        expect(document["code"], f"{self.called}: code of the problem must not be empty")
        same(
            self.headers.get("X-Request-Id"),
            document["request_id"],
            f"{self.called}: X-Request-Id beside request_id",
        )
        self._check_retry_after()
        for error in document["errors"]:
            expect(
                isinstance(error, dict)
                and all(isinstance(error.get(m), str) for m in ("pointer", "code", "detail"))
                and isinstance(error.get("limit", 0), int),
                f"{self.called}: errors must have pointer, code, detail: {shown(error)}",
            )
        result: dict[str, Any] = document
        return result

    def _check_retry_after(self) -> None:
        seconds = self.headers.get("Retry-After")
        if self.status in (429, 503):
            good = seconds is not None and seconds.isdecimal() and int(seconds) >= 1
            expect(good, f"{self.called}: Retry-After must be whole seconds: {shown(seconds)}")
        else:
            expect(seconds is None, f"{self.called}: a {self.status} must not have Retry-After")


class Api:
    """The server's HTTP interface.

    Args:
        base: its URL; a path in it goes before every path here.
    """

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.session = session
        self.base = base.rstrip("/")

    def url(self, path: str, query: Mapping[str, str] | None = None) -> URL:
        """The whole URL of a path."""
        url = URL(self.base + path)
        return url.update_query(query) if query else url

    def path_of(self, reference: str, path: str) -> str:
        """The path, below the server's URL, that a URI reference leads to.

        RFC 9110 §10.2.2.

        Args:
            reference: absolute or relative, as in ``Location``.
            path: of the call that was answered.

        Raises:
            Failed: it leads elsewhere.
        """
        base = str(self.url("/"))
        found = str(self.url(path).join(URL(reference)))
        if not found.startswith(base):
            raise Failed(f"{reference!r} in the answer of {path} must lead below {base}")
        return "/" + found.removeprefix(base)

    async def call(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        data: bytes | None = None,
    ) -> Answer:
        """One request. ``json`` goes out as JSON in UTF-8, ``data`` as it is.

        Raises:
            Failed: there was no answer.
        """
        sent = dict(headers or {})
        if token is not None:
            sent.setdefault("Authorization", f"Bearer {token}")
        if json is not None:
            data = encoded(json)
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        called = f"{method} {path}"
        try:
            async with self.session.request(
                method, self.url(path, query), headers=sent, data=data, allow_redirects=False
            ) as response:
                body = await response.read()
                return Answer(called, response.status, response.headers.copy(), body)
        except TimeoutError:
            raise Failed(f"{called} must be answered in time: there was no answer") from None
        except aiohttp.ClientError as exc:
            raise Failed(f"{called}: {type(exc).__name__} {exc}") from None


def encoded(value: Any) -> bytes:
    """JSON in UTF-8, each character as itself."""
    return json.dumps(value, ensure_ascii=False).encode()
