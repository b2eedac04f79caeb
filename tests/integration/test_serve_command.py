"""``chatsvc serve``: it starts, says what it does, or says in one line why not."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import sqlite3
import urllib.request
from pathlib import Path

import pytest

from testkit.process import ROOT, command
from testkit.talking import SECRET, url_of
from tests.integration.support.commands import events, one_line, request, serving


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = one_line(command(tmp_path, "dev", "--port", str(port)))
    assert f"PORT: {port}" in line
    assert "--port " in line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_serves_until_it_is_told_to_stop(tmp_path: Path, number: int) -> None:
    if signal.getsignal(number) is signal.SIG_IGN and number == signal.SIGHUP:
        pytest.skip("this runs under nohup, and so does what it starts")
    with serving(tmp_path) as process:
        url = url_of(process)
        assert command(tmp_path, "healthcheck", "--url", url).returncode == 0
        assert process.stop(number) == 0
        assert process.out == ""
        assert [event["event"] for event in events(process)][-1] == "stopped"
        assert command(tmp_path, "healthcheck", "--url", url).returncode == 1


def test_a_signal_during_a_start_ends_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a database that never answers
        uri = f"mongodb://127.0.0.1:{silent.getsockname()[1]}"
        with serving(tmp_path, MONGO_URI=uri) as process:
            silent.settimeout(60)
            with silent.accept()[0]:
                assert process.stop() == 0
            assert [event["event"] for event in events(process)] == ["stopped_while_starting"]


@pytest.mark.parametrize("host", ["::", "[::]"])
def test_all_addresses_of_both_families_are_served_and_the_health_check_finds_it(
    tmp_path: Path, host: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    with serving(tmp_path, HOST=host, PORT=port) as process:
        assert url_of(process) == f"http://[::1]:{port}"
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
        url = url_of(process)
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
        url_of(first)
        line = one_line(command(tmp_path, "serve", JWT_SECRET=SECRET, PORT="0"))
    assert f"process {first.pid};" in line


def test_a_log_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        url_of(first)
        assert first.stop() == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "log.db")) as log:
        log.execute("PRAGMA user_version=99")
    line = one_line(command(tmp_path, "serve", JWT_SECRET=SECRET, PORT="0"))
    assert "version 99" in line


def test_variables_that_nearly_match_are_warned_of(tmp_path: Path) -> None:
    with serving(tmp_path, MONGODB_URI="mongodb://chat:hunter2@db", JWT_KEY="x") as process:
        url_of(process)
        warned = [event for event in events(process) if event["event"] == "variable_not_read"]
        assert [(event["found"], event["meant"]) for event in warned] == [
            ("JWT_KEY", "JWT_SECRET"),
            ("MONGODB_URI", "MONGO_URI"),
        ]
        assert "hunter2" not in process.err


def test_a_login_that_is_open_to_all_is_warned_of(tmp_path: Path) -> None:
    with serving(tmp_path, DEV_LOGIN="anywhere") as process:
        process.wait_for('"level":"warning","event":"dev_login_anywhere"', err=True)


def test_no_log_line_holds_content_or_a_token(tmp_path: Path) -> None:
    variables = {"LOG_LEVEL": "debug", "DEV_LOGIN": "loopback"}
    with serving(tmp_path, **variables) as process:
        url = url_of(process)
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
        url = url_of(process)
        with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
            text = answer.read().decode()
    kinds = dict(re.findall(r"^# TYPE (chatsvc_\w+) (\w+)$", text, flags=re.MULTILINE))
    served = {name: kind for name, kind in kinds.items() if not name.endswith("_created")}
    guide = (ROOT / "docs" / "operations.md").read_text()
    assert dict(re.findall(r"^\| `(chatsvc_\w+)` \| (\w+) \|", guide, re.MULTILINE)) == served
