"""Errors that the client raises.

::

    ClientError
    ├── Refused            the server refused it; trying the same again will not help
    │   ├── ApiError       … over HTTP, with the status of the answer
    │   └── SendRefused    … over the socket
    ├── Unreachable        no answer: the connection was lost, or never made
    ├── TokenUnavailable   the function for tokens gave none
    ├── QueueFull          as many sends wait as may wait
    ├── GaveUp             the client will not reconnect any more
    └── ClientClosed       the client was closed, by its user

An :class:`ApiError` that is :attr:`~ApiError.passing` is the exception to the second
line: it is raised when the tries are used up, and the same may succeed later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

PASSING: Final = frozenset({408, 425, 429})
"""Client errors that say nothing against the request (RFC 9110, RFC 8470, RFC 6585)."""


def is_final(status: int) -> bool:
    """Whether an answer of the server refuses the request itself, and not its token."""
    return 400 <= status < 500 and status != 401 and status not in PASSING


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with a request: ``pointer`` is a JSON pointer (RFC 6901)."""

    pointer: str = ""
    code: str = ""
    detail: str = ""
    limit: int | None = None


class ClientError(Exception):
    """The root of everything that the client raises on purpose."""


class Refused(ClientError):
    """The server refused it. ``code`` is stable; ``detail`` is for people.

    ``first_id`` is the id of the message that has this ``client_id`` already, where
    that is the reason.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        first_id: str | None = None,
    ) -> None:
        super().__init__(f"{detail} ({code})")
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.first_id = first_id


class ApiError(Refused):
    """A problem document (RFC 9457), or another answer that is not a success.

    ``retry_after`` is in seconds, where the server named it. ``is_problem`` is false where
    the answer is not the server's own form of an error: a proxy's page, as a rule.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: Sequence[FieldError] = (),
        *,
        retry_after: float | None = None,
        first_id: str | None = None,
        is_problem: bool = False,
    ) -> None:
        super().__init__(code, detail, errors=errors, first_id=first_id)
        self.status = status
        self.retry_after = retry_after
        self.is_problem = is_problem

    @property
    def passing(self) -> bool:
        """Whether the status says that the same may succeed later: 408, 425, 429, 5xx."""
        return self.status >= 500 or self.status in PASSING

    @property
    def final(self) -> bool:
        """Whether the server itself refused it, and not for its token or for now.

        By the status, whatever the code: a newer server has codes that are not known.
        """
        return self.is_problem and is_final(self.status)


class SendRefused(Refused):
    """A send over the socket that the server will not take."""


class Unreachable(ClientError):
    """No answer. Whether the request was carried out is not known."""


class TokenUnavailable(ClientError):
    """The function for tokens gave none; where it raised, its error is the ``__cause__``."""


class QueueFull(ClientError):
    """As many sends wait for the server as may wait; this one was not accepted."""


class GaveUp(ClientError):
    """The client will not reconnect any more: ``code`` and ``reason`` of the last close."""

    def __init__(self, code: int, reason: str, why: str) -> None:
        last = f"{code} {reason}" if reason else f"{code}"
        super().__init__(f"{why} (last close: {last})")
        self.code = code
        self.reason = reason
        self.why = why


class ClientClosed(ClientError):
    """The client was closed before this was done."""
