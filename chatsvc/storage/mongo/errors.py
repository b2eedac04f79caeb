"""What the driver's errors mean: try again, or never.

Only an error that is known to be about one document's content makes a rejection.
Everything else is the server's state, and passes: a code that nobody foresaw delays
messages, and must not throw them out of the collection.
"""

from __future__ import annotations

import re
from typing import Any, Final, TypeGuard

from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError, WriteConcernError

from chatsvc.core.errors import ConfigurationError, StoreUnavailable

DUPLICATE_KEY: Final = 11000

# github.com/mongodb/mongo, src/mongo/base/error_codes.yml
CONTENT: Final = frozenset({
    2,  # BadValue
    9,  # FailedToParse
    14,  # TypeMismatch
    15,  # Overflow
    22,  # InvalidBSON
    52,  # DollarPrefixedFieldName
    53,  # InvalidIdField
    54,  # NotSingleValueField
    55,  # InvalidDBRef
    56,  # EmptyFieldName
    57,  # DottedFieldName
    121,  # DocumentValidationFailure
    171,  # CannotIndexParallelArrays
    10334,  # BSONObjectTooLarge
    17280,  # KeyTooLong
    17419,  # the document would grow too large
    17420,  # the document is too large
})  # fmt: skip


def unavailable(exc: PyMongoError) -> StoreUnavailable:
    """The error to raise instead: its text names classes and codes, never content."""
    if isinstance(exc, BulkWriteError):
        codes = sorted({str(error.get("code")) for error in _all_errors(exc)})
        return StoreUnavailable(f"MongoDB did not take the batch: code {', '.join(codes)}")
    if isinstance(exc, OperationFailure) and exc.code is not None:
        name = (exc.details or {}).get("codeName", type(exc).__name__)
        return StoreUnavailable(f"MongoDB refused: code {exc.code} ({name})")
    return StoreUnavailable(f"MongoDB does not answer: {type(exc).__name__}")


def cause_of(exc: PyMongoError) -> PyMongoError | None:
    """What may be chained: the text of a bulk error holds the documents themselves."""
    return None if isinstance(exc, BulkWriteError) else exc


def is_about_content(exc: PyMongoError) -> TypeGuard[OperationFailure]:
    """Whether a whole command failed for what it carried."""
    return (
        isinstance(exc, OperationFailure)
        and not isinstance(exc, WriteConcernError)
        and exc.code in CONTENT
    )


def bad_uri(uri: str, exc: Exception) -> ConfigurationError:
    """Says what is wrong with ``MONGO_URI`` without a word of its user information."""
    text = str(exc)
    userinfo = uri.partition("://")[2].rpartition("@")[0]
    if any(part and part in text for part in re.split(r"[:@/]", userinfo)):
        text = "user name and password must be percent-encoded (RFC 3986)"
    return ConfigurationError(f"MONGO_URI: cannot be used: {text}")


def _all_errors(exc: BulkWriteError) -> list[dict[str, Any]]:
    details = exc.details or {}
    return [*details.get("writeErrors", ()), *details.get("writeConcernErrors", ())]
