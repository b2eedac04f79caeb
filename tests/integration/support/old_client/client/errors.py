"""What the client raises.

::

    ClientError
    ├── Refused            the server said no; trying the same again will not help
    │   ├── ApiError       … over HTTP, with the status of the answer
    │   └── SendRefused    … over the socket
    ├── Unreachable        no answer: the connection was lost, or never made
    ├── TokenUnavailable   the function that was to give a token raised
    ├── QueueFull          as many sends wait as may wait
    ├── GaveUp             the client will not reconnect any more
    └── ClientClosed       the client was closed, by its user

An :class:`ApiError` of status 5xx is the exception to the second line: it is raised
after the tries are used up, and may pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with a request: ``pointer`` is a JSON pointer (RFC 6901)."""

    pointer: str = ""
    code: str = ""
    detail: str = ""
    limit: int | None = None


class ClientError(Exception):
    """The root of everything that the client raises on purpose."""


class Refused(ClientError):
    """The server said no. ``code`` is stable; ``detail`` is for people.

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

    ``retry_after`` is in seconds, where the server named it.
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
    ) -> None:
        super().__init__(code, detail, errors=errors, first_id=first_id)
        self.status = status
        self.retry_after = retry_after


class SendRefused(Refused):
    """A send over the socket that the server will not take."""


class Unreachable(ClientError):
    """No answer. Whether the request was carried out is not known."""


class TokenUnavailable(ClientError):
    """The function that was to give a token raised; its error is the ``__cause__``."""


class QueueFull(ClientError):
    """As many sends wait for the server as may wait; this one was not taken."""


class GaveUp(ClientError):
    """The client will not reconnect any more: ``code`` and ``reason`` of the last close."""

    def __init__(self, code: int, reason: str, why: str) -> None:
        super().__init__(f"{why} (last close: {code} {reason})".replace(" )", ")"))
        self.code = code
        self.reason = reason
        self.why = why


class ClientClosed(ClientError):
    """The client was closed before this was done."""
