"""A running service for the tests of a module, and services of a test's own."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testkit.process import Process, running
from testkit.talking import SETTINGS, url_of

Serve = Callable[..., tuple[Process, str]]
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Shared by a module: its tests speak as users of their own."""
    with running(tmp_path_factory.mktemp("service"), "serve", **SETTINGS) as process:
        yield process


@pytest.fixture(scope="module")
def url(service: Process) -> str:
    return url_of(service)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts services with settings of the test's own, in its folder."""
    with contextlib.ExitStack() as stack:

        def start(**settings: str) -> tuple[Process, str]:
            process = stack.enter_context(running(tmp_path, "serve", **{**SETTINGS, **settings}))
            return process, url_of(process)

        yield start


@pytest.fixture
def names() -> tuple[str, str, str]:
    """Three people that no other test knows."""
    number = next(_numbers)
    return f"alice{number}", f"bob{number}", f"carol{number}"


@pytest.fixture(params=["sqlite", "mongodb"])
def store_settings(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of each store in turn, for a service in this process."""
    if request.param == "sqlite":
        return {}
    return {
        "STORE": "mongodb",
        "MONGO_URI": request.getfixturevalue("mongo_uri"),
        "MONGO_DB": request.getfixturevalue("mongo_db"),
    }
