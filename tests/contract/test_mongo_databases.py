"""Tests make databases of their own, and drop those alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from testkit import mongod


def test_only_the_tests_own_database_is_dropped(mongo_uri: str, mongo_db: str) -> None:
    with mongod.client(mongo_uri) as client:
        client[mongo_db]["bystander"].insert_one({"_id": 1})
        before = set(client.list_database_names())
        with mongod.scratch_database(mongo_uri) as name:
            assert name not in before
            client[name]["things"].insert_one({"_id": 1})
            assert name in client.list_database_names()
        # Others may run meanwhile, with databases of other names.
        after = set(client.list_database_names())
        assert name not in after
        assert mongo_db in after
        assert client[mongo_db]["bystander"].count_documents({}) == 1


def test_it_is_dropped_after_a_failure_too(mongo_uri: str) -> None:
    with pytest.raises(ZeroDivisionError), mongod.scratch_database(mongo_uri) as name:
        with mongod.client(mongo_uri) as client:
            client[name]["things"].insert_one({"_id": 1})
        raise ZeroDivisionError
    with mongod.client(mongo_uri) as client:
        assert name not in client.list_database_names()


def test_names_are_random(mongo_uri: str) -> None:
    with mongod.scratch_database(mongo_uri) as one, mongod.scratch_database(mongo_uri) as another:
        assert one != another
        assert one.startswith("chatsvc_test_")


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="did not start"):
        mongod.MongoServer("/bin/false", tmp_path).start()
