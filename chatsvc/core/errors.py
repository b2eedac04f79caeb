"""Every error that chatsvc raises on purpose, and how to handle each.

::

    ChatError
    ├── RequestError            caused by the caller; reported to it, changes nothing
    │   ├── Malformed           not HTTP, not JSON, not UTF-8            (400)
    │   ├── Unauthorized        no token, or one that is not accepted    (401)
    │   ├── Forbidden           a valid token without this permission    (403)
    │   ├── NotFound                                                     (404)
    │   ├── Conflict            the same client_id, another content      (409)
    │   ├── TooLarge            a body beyond its bound                  (413)
    │   ├── UnsupportedMedia    a body that is not JSON                  (415)
    │   ├── Invalid             a value that breaks a rule               (422)
    │   └── TooManyRequests     retry after ``retry_after`` seconds      (429)
    ├── Unavailable             a temporary problem here: try again      (503)
    │   ├── LogUnavailable      nothing can be accepted now
    │   ├── StoreUnavailable    the database does not answer now
    │   ├── HistoryBusy         too many reads are waiting for the database
    │   └── Busy                what is to be decided on is changed by others all the time
    ├── Stale                   decided on what is no longer so: decide again
    ├── LogDamaged              the log on disk differs from what was written
    ├── VersionTooNew           persisted by a newer program than this one
    └── ConfigurationError      a setting that cannot be used; ends the program with 2

``server/errors.py`` maps the first two groups to problem documents (RFC 9457) and
error frames. Vendor errors (motor, sqlite3) never leave their adapter: they are
translated to one of these where they occur.
"""

from __future__ import annotations

from typing import NamedTuple


class ChatError(Exception):
    """The base class of everything raised on purpose."""


class FieldError(NamedTuple):
    """One thing that is wrong with one field of a request.

    ``pointer`` is a JSON pointer (RFC 6901) into the body, or ``/name`` of a query
    parameter, path parameter or header; ``code`` is stable and machine-readable;
    ``limit`` is the bound that was exceeded, if there is one.
    """

    pointer: str
    code: str
    detail: str
    limit: int | None = None


class RequestError(ChatError):
    """An error that the caller caused. ``code`` is stable; ``detail`` is for people.

    Args:
        detail: one sentence that names the field and states the rule.
        code: stable, snake_case; defaults to the class's own.
        field_errors: what is wrong, one entry per field.
        retry_after: seconds to wait before trying again, if waiting helps.
        extra: further members of the problem document (RFC 9457 §3.2).
    """

    code = "bad_request"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        field_errors: tuple[FieldError, ...] = (),
        retry_after: float | None = None,
        extra: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code
        self.field_errors = field_errors
        self.retry_after = retry_after
        self.extra = extra or {}


class Malformed(RequestError):
    """Not HTTP, not JSON or not UTF-8."""

    code = "malformed"


class Unauthorized(RequestError):
    """There is no token, or it is not accepted; the detail names the claim."""

    code = "token_invalid"


class TokenExpired(Unauthorized):
    """The token has expired. A client gets a fresh one and tries again."""

    code = "token_expired"


class Forbidden(RequestError):
    """The token is valid but does not permit this. Unknown conversations get the same answer."""

    code = "forbidden"


def not_a_participant(pointer: str) -> Forbidden:
    """Return the one answer about conversations of others, which may exist or not."""
    code, detail = "not_a_participant", "you must be a participant of the conversation"
    return Forbidden(detail, code=code, field_errors=(FieldError(pointer, code, detail),))


class NotFound(RequestError):
    """There is no such resource, or the caller must not learn that there is."""

    code = "not_found"


class Conflict(RequestError):
    """The ``client_id`` was used for other content.

    ``extra["id"]`` is the first message's id, unless that has none yet.
    """

    code = "client_id_conflict"


class TooLarge(RequestError):
    """The body exceeds its bound."""

    code = "body_too_large"


class UnsupportedMedia(RequestError):
    """The body is not declared to be JSON."""

    code = "unsupported_media_type"


class Invalid(RequestError):
    """A value exceeds its bound, has the wrong type or breaks a rule."""

    code = "invalid"

    @classmethod
    def at(cls, pointer: str, code: str, detail: str, limit: int | None = None) -> Invalid:
        """Return the error for one field."""
        return cls(detail, code=code, field_errors=(FieldError(pointer, code, detail, limit),))


class TooManyRequests(RequestError):
    """The caller exceeds a rate; ``retry_after``, in seconds, says when to try again."""

    code = "too_many_requests"

    def __init__(self, detail: str, *, code: str | None = None, retry_after: float = 1.0) -> None:
        super().__init__(detail, code=code, retry_after=retry_after)


class Unavailable(ChatError):
    """A temporary problem of the service. ``retry_after`` is a hint in seconds."""

    code = "unavailable"

    def __init__(self, detail: str, *, code: str | None = None, retry_after: float = 1.0) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code
        self.retry_after = retry_after


class LogUnavailable(Unavailable):
    """Nothing can be accepted now: backlog or disk at its bound, or shutting down."""

    code = "log_unavailable"


class StoreUnavailable(Unavailable):
    """The database does not answer now, or not with the durability asked for."""

    code = "store_unavailable"


class HistoryBusy(Unavailable):
    """Too many reads of history are waiting, in total or of this user."""

    code = "history_busy"


class Busy(Unavailable):
    """What a request goes by was changed by others each time it was decided, or too many wait."""

    code = "busy"


class Stale(ChatError):
    """A decision went by what is no longer so: the record ``by`` has changed it since.

    Where the log does not know what was touched, ``by`` is the position up to which it does not.
    Not for clients: whoever decided does so again (``log/deciding.py``).
    """

    def __init__(self, by: int) -> None:
        super().__init__(f"record {by:016x} changed what the decision went by")
        self.by = by


class LogDamaged(ChatError):
    """The log on disk differs from what was written. The text names the place and the remedy."""


class VersionTooNew(ChatError):
    """The data was written by a newer program; this one must not change it."""


def version_too_new(what: str, found: int, current: int) -> VersionTooNew:
    """Return the error of a file or a store, named by ``what``, of a version above ``current``."""
    return VersionTooNew(
        f"{what} has version {found}; this program knows up to {current}: "
        "run the version that wrote it, or a newer one"
    )


class ConfigurationError(ChatError):
    """A setting cannot be used. The text is one line and names the variable."""
