"""The OpenAPI document against a running service: requests made from it, good and bad.

Every check of schemathesis is on, but for one on some operations: that what the schema
allows is accepted. JSON Schema cannot say that user ids are in NFC and have no white
space at their ends, that a name is not white space alone, that metadata has a bound in
bytes and depth, nor that at most one of ``before``, ``after`` and ``around`` is given;
there a 422 is right.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from testkit.process import environment, running
from testkit.talking import SECRET, token, url_of

EXAMPLES: Final = 30
LIMIT_SECONDS: Final = 110.0
CONFIGURATION: Final = """
[[operations]]
include-operation-id = [
    "send_message",
    "get_conversation",
    "list_messages",
    "list_changes",
    "count_connections",
    "development_token",
    "create_group",
    "update_group",
    "put_member",
    "remove_member",
]
checks.positive_data_acceptance.enabled = false
"""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    variables = {"JWT_SECRET": SECRET, "PORT": "0", "LOG_FORMAT": "json", "DEV_LOGIN": "loopback"}
    with running(tmp_path, "serve", **variables) as process:
        yield url_of(process)
        assert "Traceback" not in process.err
        assert not re.search(r'"event":"(request_failed|unhandled_exception)"', process.err)
        assert process.stop() == 0


@pytest.mark.slow
def test_nothing_is_found(url: str, tmp_path: Path) -> None:
    tmp_path.joinpath("schemathesis.toml").write_text(CONFIGURATION)
    options = (
        *("--header", f"Authorization: Bearer {token('alice')}"),
        *("--max-examples", str(EXAMPLES), "--generation-deterministic", "--no-color"),
        *("--continue-on-failure", "--warnings", "off"),
    )
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", *options],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "28 selected / 28 total" in done.stdout
    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated
    assert int(generated[1]) > 300
