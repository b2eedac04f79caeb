"""The service keeps every promise of the protocol; a server that breaks one is caught."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chatsvc_conformance.check import Outcome
from chatsvc_conformance.checks import ALL
from chatsvc_conformance.runner import connected_api, run, select_checks, users_for
from testkit.process import ROOT, environment, running
from testkit.talking import SECRET, url_of
from tests.e2e.support.broken_promises import BROKEN, BROKEN_HEARTBEAT, Broken
from tests.e2e.support.faulty_proxy import Fault, faulty

pytestmark = pytest.mark.e2e

BEATS = ("socket.heartbeat", "socket.heartbeat-missed", "position.heard")
QUICK = 3.0
"""Seconds after which a broken server is not waited for any more."""


@contextmanager
def serving(folder: Path, **variables: str) -> Iterator[str]:
    given = {"JWT_SECRET": SECRET, "PORT": "0", "LOG_FORMAT": "json", "STORE": "sqlite"}
    with running(folder, "serve", **(given | variables)) as process:
        yield url_of(process)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("service")) as url:
        yield url


@pytest.fixture(scope="module")
def beating_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("beating"), HEARTBEAT_SECONDS="1") as url:
        yield url


async def outcomes(url: str, *names: str, timeout: float = 30.0) -> dict[str, Outcome]:
    async with connected_api(url, timeout) as api:
        users = await users_for(api, secret=SECRET.encode())
        return {
            outcome.name: outcome
            for outcome in await run(api, users, select_checks(names), timeout=timeout)
        }


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chatsvc_conformance", *arguments],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_service_conforms(url: str) -> None:
    done = command(url, "--secret", SECRET, "--json", "--timeout", "30")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    results = {check["name"]: check["result"] for check in report["checks"]}
    assert len(results) == len(ALL)
    assert {name for name, result in results.items() if result != "pass"} == set(BEATS)
    assert (report["failed"], report["skipped"]) == (0, len(BEATS))


async def test_the_service_conforms_over_mongodb(
    tmp_path_factory: pytest.TempPathFactory, mongo_uri: str, mongo_db: str
) -> None:
    folder = tmp_path_factory.mktemp("mongodb")
    with serving(folder, STORE="mongodb", MONGO_URI=mongo_uri, MONGO_DB=mongo_db) as url:
        found = await outcomes(url)
    assert {name: one.reason for name, one in found.items() if one.result == "fail"} == {}


async def test_the_service_conforms_with_other_bounds(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Bounds are settings; the checks take those in force from the server's documents."""
    with serving(
        tmp_path_factory.mktemp("bounds"),
        MAX_PARTICIPANTS="12",
        MAX_USER_ID="100",
        MAX_CONTENT="700",
        MAX_BODY_BYTES="400000",
    ) as url:
        found = await outcomes(url)
    assert {name: one.reason for name, one in found.items() if one.result == "fail"} == {}
    assert found["refuse.body-too-large"].result == "skipped"


async def test_the_service_conforms_in_its_heartbeat(beating_url: str) -> None:
    found = await outcomes(beating_url, *BEATS)
    assert {name: one.result for name, one in found.items()} == dict.fromkeys(BEATS, "pass")


async def test_a_proxy_that_breaks_nothing_conforms(url: str) -> None:
    async with faulty(url, Fault()) as proxied:
        found = await outcomes(proxied)
    failed = {name: one.reason for name, one in found.items() if one.result == "fail"}
    assert failed == {}


@pytest.mark.parametrize("broken", [pytest.param(b, id=name) for name, b in BROKEN.items()])
async def test_a_broken_promise_is_caught(url: str, broken: Broken) -> None:
    async with faulty(url, broken.fault) as proxied:
        found = await outcomes(proxied, *broken.caught_by, timeout=QUICK)
    missed = [name for name, one in found.items() if one.result != "fail"]
    assert missed == []
    assert all(one.reason for one in found.values())


@pytest.mark.parametrize(
    "broken", [pytest.param(b, id=name) for name, b in BROKEN_HEARTBEAT.items()]
)
async def test_a_broken_heartbeat_is_caught(beating_url: str, broken: Broken) -> None:
    async with faulty(beating_url, broken.fault) as proxied:
        found = await outcomes(proxied, *broken.caught_by, timeout=QUICK)
    assert [one.result for one in found.values()] == ["fail"]


def test_every_check_was_seen_to_fail() -> None:
    caught = {
        name
        for table in (BROKEN, BROKEN_HEARTBEAT)
        for broken in table.values()
        for name in broken.caught_by
    }
    assert caught == {check.name for check in ALL}
