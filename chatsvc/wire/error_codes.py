"""Every ``code`` of an error, in one table.

A code is part of a problem document (RFC 9457) and of its ``errors``, of an ``error``
frame, and, for a browser's refused handshake, of the close reason. The list in
``docs/protocol.md``, ``/openapi.json`` and ``/asyncapi.json`` are made from this table;
``tests/architecture/test_error_codes.py`` checks that the program raises these codes, with
these statuses, and no others.

These are the codes of the service itself; a feature declares its own beside its operations
(``Feature.error_codes``), and the documents list both. A new code is one row. After it run
``python -m scripts.error_codes_docs``.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple


class Action(enum.Enum):
    """What a client does about an error, in the words of the documents."""

    FIX = "fix the request"
    TOKEN = "get a fresh token"
    NOTHING = "do not repeat it"
    NEW_CLIENT_ID = "use a new `client_id` for a new message"
    WAIT = "repeat it after `retry_after` seconds, with the same `client_id`"
    LATER = "repeat it after a back-off, with the same `client_id`"


class ErrorCode(NamedTuple):
    """One code.

    ``status`` is the HTTP status of the problem document; an ``error`` frame carries the
    code without it. ``meaning`` is a sentence of Markdown.
    """

    code: str
    status: int
    action: Action
    meaning: str

    @property
    def retry_after(self) -> bool:
        """Whether ``Retry-After`` and, in a frame, ``retry_after`` name the wait."""
        return self.action is Action.WAIT


_FIX, _TOKEN, _NOTHING, _WAIT = Action.FIX, Action.TOKEN, Action.NOTHING, Action.WAIT

ERROR_CODES: Final[tuple[ErrorCode, ...]] = (
    ErrorCode("bad_body", 400, _FIX, "The body's chunks must be framed as in HTTP/1.1."),
    ErrorCode("bad_handshake", 400, _FIX, "`Sec-WebSocket-Key` must be 16 bytes in base64."),
    ErrorCode("bad_request", 400, _FIX, "The request is wrong in a way without a code of its own."),
    ErrorCode("malformed", 400, _FIX, "The request cannot be read."),
    ErrorCode("malformed_json", 400, _FIX, "The body, or the frame, is not JSON."),
    ErrorCode(
        "not_http",
        400,
        _FIX,
        "The bytes are not a request of HTTP/1.1, or its target is no path of this server.",
    ),
    ErrorCode("not_utf8", 400, _FIX, "The body, the path or the query string is not UTF-8."),
    ErrorCode("token_expired", 401, _TOKEN, "The token has expired."),
    ErrorCode("token_invalid", 401, _TOKEN, "The token is not accepted; `detail` says why."),
    ErrorCode("token_missing", 401, _TOKEN, "There must be a token."),
    ErrorCode("token_scheme", 401, _FIX, "`Authorization` must be of the scheme `Bearer`."),
    ErrorCode("forbidden", 403, _NOTHING, "The token is valid, but does not permit this."),
    ErrorCode("foreign_page", 403, _NOTHING, "A page of another origin must not request this."),
    ErrorCode(
        "not_a_member",
        403,
        _NOTHING,
        "The caller must be a member of the group; unknown groups get the same answer.",
    ),
    ErrorCode(
        "not_a_participant",
        403,
        _NOTHING,
        "The caller must be a participant; unknown conversations get the same answer.",
    ),
    ErrorCode("not_local", 403, _NOTHING, "The request must come from the server's own machine."),
    ErrorCode("not_found", 404, _NOTHING, "There is no such path, or no such message of yours."),
    ErrorCode("method_not_allowed", 405, _FIX, "The method must be one that `Allow` names."),
    ErrorCode("request_timeout", 408, Action.LATER, "The head or the body did not arrive in time."),
    ErrorCode(
        "client_id_conflict",
        409,
        Action.NEW_CLIENT_ID,
        "The `client_id` was used for other content; `id` is the first message's.",
    ),
    ErrorCode("body_too_large", 413, _FIX, "The body must have at most `limit` bytes."),
    ErrorCode("uri_too_long", 414, _FIX, "The request line is too long."),
    ErrorCode("unsupported_content_encoding", 415, _FIX, "A body must not be compressed."),
    ErrorCode("unsupported_media_type", 415, _FIX, "`Content-Type` must be `application/json`."),
    ErrorCode("expectation_failed", 417, _FIX, "`Expect` must be `100-continue`."),
    ErrorCode("bad_client_id", 422, _FIX, "A `client_id` must be printable ASCII, 1 to `limit`."),
    ErrorCode("bad_device", 422, _FIX, "A device must be letters, digits, `_` and `-`, 1 to 64."),
    ErrorCode("bad_id", 422, _FIX, "A message id must be 16 lower-case hex digits."),
    ErrorCode("bad_kind", 422, _FIX, "A kind must be 1 to 32 of `[a-z_]`, a letter first."),
    ErrorCode("bad_value", 422, _FIX, "The value must be one of those that are allowed."),
    ErrorCode("comma", 422, _FIX, "A user id must not contain a comma."),
    ErrorCode("control_character", 422, _FIX, "Ids and names must not contain control characters."),
    ErrorCode("invalid", 422, _FIX, "A value is wrong in a way without a code of its own."),
    ErrorCode("lone_surrogate", 422, _FIX, "A text must be valid Unicode."),
    ErrorCode("missing", 422, _FIX, "A required field must be given."),
    ErrorCode("not_nfc", 422, _FIX, "A user id must be in Unicode normalization form NFC."),
    ErrorCode("not_sorted", 422, _FIX, "A channel key must join its ids sorted, each once."),
    ErrorCode("nul", 422, _FIX, "`content` must not contain the character NUL."),
    ErrorCode("repeated", 422, _FIX, "A parameter or header must not be given twice."),
    ErrorCode("too_deep", 422, _FIX, "`metadata` must not nest deeper than `limit`."),
    ErrorCode("too_few", 422, _FIX, "A list must have at least `limit` entries."),
    ErrorCode("too_large", 422, _FIX, "A number must be at most `limit`."),
    ErrorCode("too_long", 422, _FIX, "A text must be at most `limit` long."),
    ErrorCode("too_many", 422, _FIX, "A list must have at most `limit` entries."),
    ErrorCode("too_short", 422, _FIX, "A text must be at least `limit` long."),
    ErrorCode("too_small", 422, _FIX, "A number must be at least `limit`."),
    ErrorCode("unknown_field", 422, _FIX, "There is no field or parameter of this name."),
    ErrorCode("unknown_parameter", 422, _FIX, "There is no parameter of this name on `/ws`."),
    ErrorCode("white_space", 422, _FIX, "A user id must not start or end with white space."),
    ErrorCode("wrong_type", 422, _FIX, "The value must be of the type that `detail` names."),
    ErrorCode("upgrade_required", 426, _FIX, "`/ws` takes WebSocket handshakes of version 13."),
    ErrorCode(
        "sender_backlog_full", 429, _WAIT, "Too many bytes of the sender are not stored yet."
    ),
    ErrorCode(
        "too_many_connections", 429, _WAIT, "The address or the user has too many connections."
    ),
    ErrorCode("too_many_conversations", 429, _WAIT, "The sender began too many within an hour."),
    ErrorCode("too_many_requests", 429, _WAIT, "The caller exceeds a rate."),
    ErrorCode("headers_too_large", 431, _FIX, "The head, or a header of it, is too large."),
    ErrorCode("internal_error", 500, Action.LATER, "A server error; its log names the cause."),
    ErrorCode(
        "adopting",
        503,
        _WAIT,
        "Who is a member of what is being read from the database, after a restore.",
    ),
    ErrorCode("backlog_full", 503, _WAIT, "Too many bytes wait to be stored."),
    ErrorCode("busy", 503, _WAIT, "What the request goes by is being changed by too many others."),
    ErrorCode("disk_full", 503, _WAIT, "The disk of the log is nearly full."),
    ErrorCode("history_busy", 503, _WAIT, "Too many reads wait for the database."),
    ErrorCode("log_busy", 503, _WAIT, "Another process holds the log's file."),
    ErrorCode("log_file_missing", 503, _WAIT, "The log's file was removed or replaced."),
    ErrorCode("log_unavailable", 503, _WAIT, "No message can be accepted now."),
    ErrorCode("overload", 503, _WAIT, "The server has its maximum of connections."),
    ErrorCode("shutting_down", 503, _WAIT, "The server is being stopped."),
    ErrorCode("store_file_missing", 503, _WAIT, "The embedded store's file was removed."),
    ErrorCode(
        "store_unavailable", 503, _WAIT, "The answer is in the database alone: it is unavailable."
    ),
    ErrorCode("unavailable", 503, _WAIT, "The request cannot be answered now."),
    ErrorCode("http_version_not_supported", 505, _FIX, "The version of HTTP must be 1.1 or 1.0."),
)
"""The table, by status, then by name."""

FRAME_STATUSES: Final = frozenset({400, 401, 403, 409, 422, 429, 500, 503})
"""The statuses whose codes an ``error`` frame can carry."""


def combine(*tables: Iterable[ErrorCode]) -> tuple[ErrorCode, ...]:
    """Return the rows of all tables, by status, then by name.

    Raises:
        ValueError: two rows have the same code.
    """
    rows = sorted((row for table in tables for row in table), key=lambda row: row[1::-1])
    twice = [name for name, count in Counter(row.code for row in rows).items() if count > 1]
    if twice:
        raise ValueError(f"a code must have one row: {', '.join(twice)}")
    return tuple(rows)


def codes_of(rows: Iterable[ErrorCode], *statuses: int) -> tuple[ErrorCode, ...]:
    """Return the rows of these statuses."""
    return tuple(row for row in rows if row.status in statuses)


def frame_codes(rows: Iterable[ErrorCode]) -> tuple[ErrorCode, ...]:
    """Return the rows that an ``error`` frame can carry."""
    return codes_of(rows, *FRAME_STATUSES)
