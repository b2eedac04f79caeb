"""``chatsvc dev`` as a person uses it, and ``chatsvc token`` beside it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

from testkit.process import command, environment, running
from testkit.talking import SECRET
from tests.integration.support.commands import LISTENS, one_line, request


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl to paste commands into")
def test_dev_says_where_everything_is_and_its_commands_work_as_they_stand(tmp_path: Path) -> None:
    with running(tmp_path, "dev", "--port", "0") as dev:
        dev.wait_for("Ctrl-C")
        assert f"log:   {tmp_path / 'data' / 'log.db'}" in dev.out
        assert f"store: {tmp_path / 'data' / 'store.db'}" in dev.out
        commands = [line for line in dev.out.splitlines() if line.startswith(("export ", "curl "))]
        assert len(commands) == 3
        done = subprocess.run(
            ["sh", "-ec", "\n".join(commands)],
            env=environment(), capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        sent, history = (json.loads(line) for line in done.stdout.splitlines())
        assert history["messages"] == [sent]
        assert sent["content"] == "Hello!"
        assert dev.err == ""
        assert dev.stop(signal.SIGINT) == 0


def test_dev_stays_on_this_machine_whatever_the_environment_says(tmp_path: Path) -> None:
    with running(tmp_path, "dev", "--port", "0", HOST="0.0.0.0") as dev:
        assert dev.wait_for(LISTENS)[1].startswith("http://127.0.0.1:")


def test_dev_does_not_open_its_login_to_others(tmp_path: Path) -> None:
    done = command(tmp_path, "dev", "--port", "0", "--host", "0.0.0.0")
    assert "DEV_LOGIN: must not be loopback while other machines can reach HOST ('0.0.0.0')" in (
        one_line(done)
    )


def test_dev_logs_calmly(tmp_path: Path) -> None:
    with running(tmp_path, "dev", "--port", "0") as dev:
        url = dev.wait_for(LISTENS)[1]
        token = dev.wait_for(r"TOKEN=(\S+)")[1]
        request(f"{url}/api/messages", token, {"participants": ["alice"], "content": "x"})
        assert dev.stop() == 0
        assert dev.err == ""


def test_dev_lets_pages_of_this_machine_call_beside_those_that_are_named(tmp_path: Path) -> None:
    app = "https://app.example.org"
    with running(tmp_path, "dev", "--port", "0", CORS_ORIGINS=app) as dev:
        url = dev.wait_for(LISTENS)[1]
        for origin, allowed in (
            ("http://localhost:5173", True),
            ("http://[::1]:3000", True),
            (app, True),
            ("https://evil.example.org", False),
        ):
            asked = urllib.request.Request(f"{url}/health", headers={"Origin": origin})
            with urllib.request.urlopen(asked, timeout=30) as answer:
                found = answer.headers["Access-Control-Allow-Origin"]
                assert found == (origin if allowed else None)
        assert dev.stop() == 0


def test_an_env_file_is_below_the_environment(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LOG_LEVEL=error\nDEV_LOGIN=off\nJWT_SECRET=" + SECRET)
    argv = ("dev", "--port", "0", "--env-file", ".env")
    with running(tmp_path, *argv, DEV_LOGIN="loopback") as dev:
        assert dev.wait_for(r"TOKEN=(\S+)")
    with running(tmp_path, *argv) as dev:
        dev.wait_for("The development login is off")


def test_a_token_from_the_same_folder_is_good(tmp_path: Path) -> None:
    with running(tmp_path, "dev", "--port", "0") as dev:
        url = dev.wait_for(LISTENS)[1]
        minted = command(tmp_path, "token", "bob", "--ttl", "5m")
        assert minted.returncode == 0, minted
        sent = request(
            f"{url}/api/messages",
            minted.stdout.strip(),
            {"participants": ["bob", "carol"], "content": "hi"},
        )
        assert sent["sender"] == "bob"
