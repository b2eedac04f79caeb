"""Whether a request that failed was certainly not carried out."""

from __future__ import annotations

from typing import Final

import aiohttp

from chatsvc.client.errors import PASSING, ApiError, Unreachable

_REFUSED_BEFORE: Final = frozenset(
    {"adopting", "backlog_full", "busy", "disk_full", "overload", "shutting_down"}
)
"""Codes of 503 with which the server has changed nothing. ``log_unavailable`` is none of them:
it is also answered where the log cannot tell whether it kept a record."""


def is_undone(failure: ApiError | Unreachable) -> bool:
    """Whether the server certainly did not carry out the request.

    So it is where there was no connection to send it on, where the status says that it was
    not looked at (408, 425, 429), and where the server itself refused it for now. Other
    answers of 5xx may come from a proxy that lost the server's answer.

    Args:
        failure: what the request came to; the error of aiohttp is among its causes.
    """
    if isinstance(failure, ApiError):
        refused = failure.status == 503 and failure.is_problem and failure.code in _REFUSED_BEFORE
        return refused or failure.status in PASSING
    cause = failure.__cause__
    while cause is not None and not isinstance(cause, aiohttp.ClientConnectorError):
        cause = cause.__cause__
    return cause is not None
