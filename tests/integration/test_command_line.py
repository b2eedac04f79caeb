"""The command line as a person uses it: real processes, real files, real ports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chatsvc.core.ids import format_id
from chatsvc.core.record import pack
from chatsvc.storage.ports.dead_letters import DeadLetter
from chatsvc.storage.sqlite.store import SqliteStore
from testkit.process import (
    LIMIT_SECONDS,
    ROOT,
    Process,
    command,
    environment,
    running,
)
from testkit.records import record

SECRET = "0123456789abcdef0123456789abcdef"
LISTENS = r"listens on (http://\S+)"
STARTED = r'"event":"started","url":"(http://[^"]+)"'


def request(url: str, token: str, body: object = None) -> dict[str, Any]:
    """A call with a token; a body makes it a POST."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    asked = urllib.request.Request(url, data, headers)
    with urllib.request.urlopen(asked, timeout=30) as answer:
        found: dict[str, Any] = json.loads(answer.read())
        return found


def one_line(done: subprocess.CompletedProcess[str], *, status: int = 2) -> str:
    """It ended with this status, and said why in one line."""
    assert done.returncode == status, done
    assert done.stderr.startswith("chatsvc: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""
    return done.stderr


# chatsvc dev


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


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = one_line(command(tmp_path, "dev", "--port", str(port)))
    assert f"PORT: {port}" in line
    assert "--port " in line


# chatsvc serve


def serving(folder: Path, *argv: str, **variables: str) -> Any:
    settings = {"JWT_SECRET": SECRET, "PORT": "0", "LOG_FORMAT": "json", **variables}
    return running(folder, "serve", *argv, **settings)


def events(process: Process) -> list[dict[str, Any]]:
    return [json.loads(line) for line in process.err.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_serves_until_it_is_told_to_stop(tmp_path: Path, number: int) -> None:
    if signal.getsignal(number) is signal.SIG_IGN and number == signal.SIGHUP:
        pytest.skip("this runs under nohup, and so does what it starts")
    with serving(tmp_path) as process:
        url = process.wait_for(STARTED, err=True)[1]
        assert command(tmp_path, "healthcheck", "--url", url).returncode == 0
        assert process.stop(number) == 0
        assert process.out == ""
        assert [event["event"] for event in events(process)][-1] == "stopped"
        assert command(tmp_path, "healthcheck", "--url", url).returncode == 1


@pytest.mark.parametrize("host", ["::", "[::]"])
def test_all_addresses_of_both_families_are_served_and_the_health_check_finds_it(
    tmp_path: Path, host: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    with serving(tmp_path, HOST=host, PORT=port) as process:
        assert process.wait_for(STARTED, err=True)[1] == f"http://[::1]:{port}"
        for address in ("127.0.0.1", "[::1]"):
            # Answered to this machine alone: an IPv4 address is one in either form.
            with urllib.request.urlopen(f"http://{address}:{port}/metrics", timeout=30) as answer:
                assert answer.status == 200
        checked = command(tmp_path, "healthcheck", HOST=host, PORT=port)
        assert (checked.returncode, checked.stderr) == (0, "")
        assert process.stop() == 0
        assert command(tmp_path, "healthcheck", HOST=host, PORT=port).returncode == 1


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST"])
def test_localhost_is_this_machine_alone(tmp_path: Path, host: str) -> None:
    with serving(tmp_path, HOST=host, DEV_LOGIN="loopback") as process:
        url = process.wait_for(STARTED, err=True)[1]
        assert url.startswith(f"http://{host}:")
        port = url.rpartition(":")[2]
        assert request(f"{url}/api/dev/token", "", {"user": "alice"})["token"]
        assert command(tmp_path, "healthcheck", HOST=host, PORT=port).returncode == 0


def test_without_a_key_it_does_not_start(tmp_path: Path) -> None:
    line = one_line(command(tmp_path, "serve", PORT="0"))
    assert "JWT_SECRET" in line
    assert "chatsvc dev" in line


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"JWT_SECRET": "short-hunter2"}, "JWT_SECRET: a secret must have at least 32 bytes"),
        ({"PORT": "many"}, "PORT: 'many' must be a whole number"),
        ({"STORE": "mongodb", "MONGO_URI": "http://chat:hunter2@db"}, "MONGO_URI"),
        ({"STORE": "mongodb", "MONGO_URI": "mongodb://chat:hunter2@db:x"}, "MONGO_URI"),
        ({"HOST": "192.0.2.1"}, "HOST"),
        ({"DATA_DIR": "/dev/null/x"}, "DATA_DIR"),
        ({"DEV_LOGIN": "loopback", "HOST": "0.0.0.0"}, "DEV_LOGIN"),
    ],
)
def test_what_cannot_be_used_is_one_line_that_names_it(
    tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    done = command(tmp_path, "serve", **{"JWT_SECRET": SECRET, "PORT": "0", **variables})
    line = one_line(done)
    assert said in line
    assert "hunter2" not in line


def test_the_second_in_a_folder_names_the_first(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        first.wait_for(STARTED, err=True)
        line = one_line(command(tmp_path, "serve", JWT_SECRET=SECRET, PORT="0"))
    assert f"process {first.pid};" in line


def test_a_log_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        first.wait_for(STARTED, err=True)
        assert first.stop() == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "log.db")) as log:
        log.execute("PRAGMA user_version=99")
    line = one_line(command(tmp_path, "serve", JWT_SECRET=SECRET, PORT="0"))
    assert "version 99" in line


def test_variables_that_nearly_match_are_warned_of(tmp_path: Path) -> None:
    with serving(tmp_path, MONGODB_URI="mongodb://chat:hunter2@db", JWT_KEY="x") as process:
        process.wait_for(STARTED, err=True)
        warned = [event for event in events(process) if event["event"] == "variable_not_read"]
        assert [(event["found"], event["meant"]) for event in warned] == [
            ("JWT_KEY", "JWT_SECRET"),
            ("MONGODB_URI", "MONGO_URI"),
        ]
        assert "hunter2" not in process.err


def test_a_login_that_is_open_to_all_is_warned_of(tmp_path: Path) -> None:
    with serving(tmp_path, DEV_LOGIN="anywhere") as process:
        process.wait_for('"level":"warning","event":"dev_login_anywhere"', err=True)


def modes(folder: Path) -> dict[str, str]:
    return {path.name: f"{path.stat().st_mode & 0o777:o}" for path in folder.iterdir()}


def test_its_files_are_the_owners_whatever_the_folder_and_the_umask(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o755)
    before = os.umask(0o022)
    try:
        with serving(tmp_path, DEV_LOGIN="loopback") as process:
            url = process.wait_for(STARTED, err=True)[1]
            token = str(request(f"{url}/api/dev/token", "", {"user": "alice"})["token"])
            request(f"{url}/api/messages", token, {"participants": ["alice"], "content": "x"})
            made = modes(data)
            warned = [event for event in events(process) if event["level"] == "warning"]
            assert process.stop() == 0
    finally:
        os.umask(before)
    assert set(made) >= {"log.db", "log.db-wal", "log.db-shm", "store.db", "lock", "dev-secret"}
    assert set(made.values()) == {"600"}, made
    (open_to_others,) = (e for e in warned if e["event"] == "data_dir_open_to_others")
    assert (open_to_others["path"], open_to_others["mode"]) == (str(data), "0755")


def test_files_of_an_older_version_are_closed_to_others(tmp_path: Path) -> None:
    with serving(tmp_path) as process:
        process.wait_for(STARTED, err=True)
        assert process.stop() == 0
    for path in (tmp_path / "data").iterdir():
        path.chmod(0o644)
    with serving(tmp_path) as process:
        process.wait_for(STARTED, err=True)
        assert set(modes(tmp_path / "data").values()) == {"600"}
        closed = {
            Path(event["path"]).name
            for event in events(process)
            if event["event"] == "data_file_was_open_to_others"
        }
        assert closed >= {"log.db", "store.db", "lock"}


@pytest.mark.parametrize("argv", [["dev", "--port", "0"], ["token", "alice"], ["serve"]])
def test_a_secret_that_others_put_there_is_refused(tmp_path: Path, argv: list[str]) -> None:
    """Whoever knows it makes tokens for any user."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (tmp_path / "theirs").write_text("known to somebody else, and long enough\n")
    (data / "dev-secret").symlink_to(tmp_path / "theirs")
    variables = {"DEV_LOGIN": "loopback", "PORT": "0"} if argv == ["serve"] else {}
    assert "dev-secret must not be a symbolic link" in one_line(
        command(tmp_path, *argv, **variables)
    )


def test_with_its_standard_streams_closed_it_writes_into_no_file(tmp_path: Path) -> None:
    """The first file that is opened would get descriptor 2, and the log lines with it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        ["sh", "-c", 'exec "$0" -m chatsvc serve 0<&- 1>&- 2>&-', sys.executable],
        cwd=tmp_path, env=environment(JWT_SECRET=SECRET, PORT=str(port), LOG_LEVEL="debug"),
    )  # fmt: skip
    try:
        deadline = time.monotonic() + LIMIT_SECONDS
        url = f"http://127.0.0.1:{port}"
        while command(tmp_path, "healthcheck", "--url", url).returncode != 0:
            assert process.poll() is None
            assert time.monotonic() < deadline
        for name in ("0", "1", "2"):
            assert os.readlink(f"/proc/{process.pid}/fd/{name}") == "/dev/null"
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
    assert command(tmp_path, "log", "verify").stdout == "good: 0 records\n"


def test_no_log_line_holds_content_or_a_token(tmp_path: Path) -> None:
    variables = {"LOG_LEVEL": "debug", "DEV_LOGIN": "loopback"}
    with serving(tmp_path, **variables) as process:
        url = process.wait_for(STARTED, err=True)[1]
        token = str(request(f"{url}/api/dev/token", "", {"user": "alice"})["token"])
        message = {"participants": ["alice", "bob"], "content": "for no log", "client_id": "c-1"}
        sent = request(f"{url}/api/messages", token, message)
        request(f"{url}/api/messages/get?participants=alice,bob", token)
        process.wait_for('"route":"/api/messages/get"', err=True)
        assert process.stop() == 0
        lines = events(process)
        assert "for no log" not in process.err
        assert token not in process.err
        assert token.split(".")[2] not in process.err
        (line,) = (one for one in lines if one.get("status") == 201)
        assert (line["user"], line["message_id"]) == ("alice", sent["id"])
        assert line["request_id"]


def test_the_operations_guide_lists_every_metric_and_no_other(tmp_path: Path) -> None:
    with serving(tmp_path) as process:
        url = process.wait_for(STARTED, err=True)[1]
        with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
            text = answer.read().decode()
    kinds = dict(re.findall(r"^# TYPE (chatsvc_\w+) (\w+)$", text, flags=re.MULTILINE))
    served = {name: kind for name, kind in kinds.items() if not name.endswith("_created")}
    guide = (ROOT / "docs" / "operations.md").read_text()
    assert dict(re.findall(r"^\| `(chatsvc_\w+)` \| (\w+) \|", guide, re.MULTILINE)) == served


def test_migrating_wants_the_service_stopped_and_checking_does_not(tmp_path: Path) -> None:
    """As docs/versioning.md says."""
    with serving(tmp_path) as process:
        process.wait_for(STARTED, err=True)
        checked = command(tmp_path, "migrate", "--check")
        assert (checked.returncode, checked.stderr) == (0, "")
        assert f"in use by process {process.pid};" in one_line(command(tmp_path, "migrate"))
        assert process.stop() == 0
    assert command(tmp_path, "migrate").returncode == 0


# chatsvc dead-letters


def test_dead_letters_beside_the_running_service(tmp_path: Path) -> None:
    """What was put aside is listed, replayed and then in history, without a restart."""
    refused, stored = record(1, "refused long ago"), record(2, "stored long ago")
    path = tmp_path / "data" / "store.db"
    asyncio.run(with_store(path, lambda store: store.write([stored])))
    with serving(tmp_path, DEV_LOGIN="loopback") as process:
        url = process.wait_for(STARTED, err=True)[1]
        token = str(request(f"{url}/api/dev/token", "", {"user": "alice"})["token"])
        message = {"participants": ["alice", "bob"], "content": "new"}
        sent = request(f"{url}/api/messages", token, message)
        letter = DeadLetter(refused.id, "test", "by a test", 0, pack(refused))
        asyncio.run(with_store(path, lambda store: store.dead_letters.put([letter])))
        listed = command(tmp_path, "dead-letters", "list")
        assert listed.returncode == 0, listed
        assert listed.stdout.startswith(f"{format_id(refused.id)}  ")
        history = f"{url}/api/messages/get?participants=alice,bob"
        assert request(history, token)["messages"] == [json.loads(stored.body), sent]
        replayed = command(tmp_path, "dead-letters", "replay", "--all")
        assert replayed.returncode == 0, replayed
        assert replayed.stdout == f"{format_id(refused.id)}  stored\n"
        assert command(tmp_path, "dead-letters", "list").stdout == ""
        everything = [json.loads(refused.body), json.loads(stored.body), sent]
        assert request(history, token)["messages"] == everything


async def with_store(path: Path, work: Callable[[SqliteStore], Awaitable[object]]) -> None:
    """Do something with the file, which the service may have open too."""
    store = SqliteStore(path)
    await store.open()
    try:
        await work(store)
    finally:
        await store.close()
