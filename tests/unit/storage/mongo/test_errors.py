"""The driver's errors are told apart, and say nothing that they must not."""

from __future__ import annotations

import pytest
from pymongo import errors

from chatsvc.core.errors import ConfigurationError
from chatsvc.storage.mongo.errors import bad_uri, cause_of, is_about_content, unavailable
from chatsvc.storage.mongo.store import MongoStore


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://alice:hunter2/secret@localhost:27017",
        "mongodb://alice:hunter2@secret@localhost",
        "mongodb://alice:hunter2@localhost:notaport",
        "mongodb://alice:hunter2@localhost:99999999",
        "mongodb://alice:hunter2@",
        "mongodb://alice:hun%zzter2@localhost",
        "http://alice:hunter2@localhost",
        "",
    ],
)
@pytest.mark.filterwarnings("ignore:Unknown option:UserWarning")
async def test_a_bad_uri_is_named_by_its_variable_and_never_shown(uri: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        MongoStore(uri, "chat", "messages")
    text = str(refused.value)
    assert text.startswith("MONGO_URI: ")
    assert "\n" not in text
    assert "hunter2" not in text
    assert "secret" not in text
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("part", ["alice", "hunter2", "a", "secret"])
def test_no_part_of_the_user_information_is_shown(part: str) -> None:
    refused = bad_uri(
        "mongodb://alice:hunter2://a/secret@localhost", ValueError(f"Port <{part}> !")
    )
    assert str(refused) == (
        "MONGO_URI: cannot be used: user name and password must be percent-encoded (RFC 3986)"
    )


@pytest.mark.parametrize(
    "uri", ["mongodb://alice:hunter2@host:x", "mongodb://host:x", "host:x", ""]
)
def test_what_is_wrong_with_a_uri_is_shown(uri: str) -> None:
    refused = bad_uri(uri, ValueError("Port must be an integer, for example 27017"))
    assert str(refused).endswith(": cannot be used: Port must be an integer, for example 27017")


async def test_a_bad_database_name_is_named_by_its_variable() -> None:
    with pytest.raises(ConfigurationError, match=r"^MONGO_DB: "):
        MongoStore("mongodb://localhost", "a b.c", "messages")


async def test_a_bad_collection_name_is_named_by_its_variable() -> None:
    for name in ("$messages", "", "a..b"):
        with pytest.raises(ConfigurationError, match=r"^MONGO_COLLECTION: "):
            MongoStore("mongodb://localhost", "chat", name)


def test_a_bulk_error_is_told_by_its_codes_and_never_chained() -> None:
    exc = errors.BulkWriteError(
        {
            "writeErrors": [{"index": 0, "code": 11000, "op": {"content": "private"}}],
            "writeConcernErrors": [{"code": 64}],
        }
    )
    told = unavailable(exc)
    assert str(told) == "MongoDB did not take the batch: code 11000, 64"
    assert cause_of(exc) is None


def test_other_errors_are_told_by_class_or_code() -> None:
    refused = errors.OperationFailure("private", 13, {"codeName": "Unauthorized"})
    assert str(unavailable(refused)) == "MongoDB refused: code 13 (Unauthorized)"
    gone = errors.AutoReconnect("private")
    assert str(unavailable(gone)) == "MongoDB does not answer: AutoReconnect"
    assert cause_of(gone) is gone


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (errors.OperationFailure("x", 10334), True),
        (errors.OperationFailure("x", 22), True),
        (errors.OperationFailure("x", 189), False),
        (errors.OperationFailure("x", 13), False),
        (errors.OperationFailure("x", None), False),
        (errors.WriteConcernError("x", 2), False),
        (errors.WTimeoutError("x", 64), False),
        (errors.NotPrimaryError("x"), False),
        (errors.NetworkTimeout("x"), False),
    ],
)
def test_only_known_codes_are_about_content(exc: errors.PyMongoError, expected: bool) -> None:
    assert is_about_content(exc) is expected
