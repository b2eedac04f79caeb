"""Debian's nginx, configured with the blocks of docs/operations.md as they stand there."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatsvc_conformance.checks import ALL
from testkit.missing import skip_outside_ci
from testkit.process import ROOT, Process, environment, running
from testkit.talking import url_of
from tests.e2e.support import nginx
from tests.e2e.support.nginx import Nginx

pytestmark = pytest.mark.e2e

SECRET = "0123456789abcdef0123456789abcdef"
PREFIX = "/chat"


@pytest.fixture(scope="module")
def program() -> str:
    found = nginx.program()
    if found is None:
        skip_outside_ci(nginx.NO_NGINX)
    return found


@pytest.fixture(scope="module")
def service(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Pings often, so that the checks of the heartbeat are run too."""
    given = {"JWT_SECRET": SECRET, "PORT": "0", "LOG_FORMAT": "json", "HEARTBEAT_SECONDS": "1"}
    with running(tmp_path_factory.mktemp("service"), "serve", **given) as process:
        yield process


@pytest.fixture(params=["", PREFIX], ids=["root", "prefix"])
def proxy(
    request: pytest.FixtureRequest, program: str, service: Process, tmp_path: Path
) -> Iterator[tuple[Nginx, str]]:
    """nginx, and the address of the service behind it."""
    server, prefix = nginx.blocks()
    block = nginx.with_prefix(server, prefix) if request.param else server
    with nginx.running(program, tmp_path / "nginx", block, url_of(service)) as running_one:
        yield running_one, running_one.url + request.param


def test_the_documented_nginx_conforms(proxy: tuple[Nginx, str]) -> None:
    server, url = proxy
    options = ["--secret", SECRET, "--json", "--timeout", "30"]
    done = subprocess.run(
        [sys.executable, "-m", "chatsvc_conformance", url, *options],
        env=environment(SSL_CERT_FILE=str(server.authority)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    bad = {one["name"]: one["reason"] for one in report["checks"] if one["result"] != "pass"}
    assert bad == {}
    assert report["passed"] == len(ALL)


def get(server: Nginx, url: str) -> tuple[int, Any, Any]:
    """Status, header fields and JSON of an error."""
    context = ssl.create_default_context(cafile=str(server.authority))
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(url, timeout=20, context=context)
    with raised.value as answer:
        return answer.status, answer.headers, json.load(answer)


def test_a_service_that_is_away_is_a_problem_that_says_when_to_come_back(
    program: str, tmp_path: Path
) -> None:
    nobody = "http://127.0.0.1:9"  # discard: nothing listens there
    with nginx.running(program, tmp_path / "nginx", nginx.blocks()[0], nobody) as server:
        status, headers, problem = get(server, f"{server.url}/api/messages")
    assert (status, problem["status"], problem["code"]) == (503, 503, "unavailable")
    assert headers["Retry-After"] == "1"
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["X-Request-Id"] == problem["request_id"]


def test_the_services_own_errors_are_passed_on(proxy: tuple[Nginx, str]) -> None:
    server, url = proxy
    status, headers, problem = get(server, f"{url}/api/messages")
    assert (status, problem["code"]) == (401, "token_missing")
    assert "Retry-After" not in headers


def test_metrics_are_not_for_those_outside(proxy: tuple[Nginx, str]) -> None:
    server, url = proxy
    context = ssl.create_default_context(cafile=str(server.authority))
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(f"{url}/metrics", timeout=20, context=context)
    with raised.value as answer:
        assert answer.status == 403
