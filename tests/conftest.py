"""What all tests share: a MongoDB, where there is one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from testkit import mongod
from testkit.missing import skip_outside_ci

# A machine that is busy with something else is no fault of what is tested.
settings.register_profile("chatsvc", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("chatsvc")

pytest.register_assert_rewrite("tests.contract.support.stored")


@pytest.fixture(scope="session")
def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A MongoDB that the whole run shares: take a database by ``mongo_db``."""
    given = mongod.given_uri()
    executable = mongod.program()
    if given is not None:
        yield given
    elif executable is not None:
        with mongod.running(executable, tmp_path_factory.mktemp("mongod")) as server:
            yield server.uri
    else:
        skip_outside_ci(mongod.NO_MONGODB)


@pytest.fixture
def mongo_db(mongo_uri: str) -> Iterator[str]:
    """The name of a database of the test's own."""
    with mongod.scratch_database(mongo_uri) as name:
        yield name


@pytest.fixture
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mongod.MongoServer]:
    """A server that the test may stop, kill and pause."""
    executable = mongod.program()
    if executable is None:
        pytest.skip("no MongoDB that can be stopped: set MONGOD, or put mongod on the PATH")
    with mongod.running(executable, tmp_path_factory.mktemp("mongod")) as server:
        yield server


@pytest.fixture(autouse=True)
def _only_with_mongodb_itself(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("real_mongodb") is None:
        return
    if not mongod.is_mongodb_itself(request.getfixturevalue("mongo_uri")):
        pytest.skip("only MongoDB itself can show this; the server here is another")
