"""Files that a command creates belong to their owner alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from testkit.process import LIMIT_SECONDS, command, environment
from testkit.talking import SECRET, url_of
from tests.integration.support.commands import events, one_line, request, serving


def modes(folder: Path) -> dict[str, str]:
    return {path.name: f"{path.stat().st_mode & 0o777:o}" for path in folder.iterdir()}


def test_its_files_are_the_owners_whatever_the_folder_and_the_umask(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o755)
    before = os.umask(0o022)
    try:
        with serving(tmp_path, DEV_LOGIN="loopback") as process:
            url = url_of(process)
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
        url_of(process)
        assert process.stop() == 0
    for path in (tmp_path / "data").iterdir():
        path.chmod(0o644)
    with serving(tmp_path) as process:
        url_of(process)
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
