"""Outputs that nobody reads: the service goes on, answers, and ends when it is told to."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from chatsvc.auth.minting import mint
from testkit.process import environment

LIMIT = 60.0
SECRET = "0123456789abcdef0123456789abcdef"
LONG_USER = "\N{LINEAR B SYLLABLE B008 A}" * 128
"""A user id that makes a line of the log long: the queue is full after fewer of them."""


class Unread:
    """A service whose outputs are pipes; what it writes is read only when a test does so."""

    def __init__(self, folder: Path, *argv: str, **variables: str) -> None:
        self.out, out = os.pipe()
        self.err, err = os.pipe()
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "chatsvc", *argv],
            cwd=folder,
            env=environment(JWT_SECRET=SECRET, PORT="0", LOG_FORMAT="json", **variables),
            stdout=out,
            stderr=err,
        )
        os.close(out)
        os.close(err)

    def url(self, descriptor: int, pattern: bytes) -> str:
        """Read until the address is in what it writes."""
        data = b""
        deadline = time.monotonic() + LIMIT
        while not (match := re.search(pattern, data)):
            piece = os.read(descriptor, 4096)
            assert piece, f"it ended: {data!r}"
            assert time.monotonic() < deadline
            data += piece
        return match[1].decode()

    def close(self) -> None:
        self.popen.kill()
        self.popen.wait()
        os.close(self.out)
        os.close(self.err)


@pytest.fixture
def unread(tmp_path: Path) -> Iterator[Unread]:
    service = Unread(tmp_path, "serve", LOG_LEVEL="info")
    yield service
    service.close()


def connect(url: str) -> http.client.HTTPConnection:
    address = urlsplit(url)
    assert address.hostname is not None
    return http.client.HTTPConnection(address.hostname, address.port, timeout=LIMIT)


def ask(connection: http.client.HTTPConnection, path: str, user: str) -> bytes:
    token = mint(SECRET.encode(), user, 600)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, body
    return body


def lost(connection: http.client.HTTPConnection) -> float:
    match = re.search(
        rb"^chatsvc_log_lines_lost_total (\S+)$", ask(connection, "/metrics", "m"), re.M
    )
    assert match
    return float(match[1])


def test_standard_error_that_nobody_reads_stops_nothing(unread: Unread) -> None:
    """The pipe holds 304 lines of a request; the queue behind it some thousands."""
    url = unread.url(unread.err, rb'"event":"started","url":"(http://[^"]+)"')
    connection = connect(url)
    asked = 0
    deadline = time.monotonic() + LIMIT
    while not (asked % 500 == 0 and asked and lost(connection)):
        ask(connection, "/api/conversations", LONG_USER)
        asked += 1
        assert time.monotonic() < deadline, f"no line was dropped after {asked} requests"
    assert json.loads(ask(connection, "/health/live", "m")) == {"status": "ok"}
    # It is read again: what was queued comes, and a line that says what is missing.
    seen = b""
    while b'"event":"log_lines_lost"' not in seen:
        seen = seen[-100:] + os.read(unread.err, 65536)
    assert ask(connection, "/health/live", "m")
    connection.close()
    unread.popen.send_signal(signal.SIGTERM)
    while os.read(unread.err, 65536):
        continue
    assert unread.popen.wait(LIMIT) == 0


def test_it_ends_while_standard_error_is_not_read(unread: Unread) -> None:
    url = unread.url(unread.err, rb'"event":"started","url":"(http://[^"]+)"')
    connection = connect(url)
    for _ in range(600):
        ask(connection, "/api/conversations", "alice")
    connection.close()
    unread.popen.send_signal(signal.SIGTERM)
    assert unread.popen.wait(LIMIT) == 0


def test_dev_is_stopped_by_neither_of_its_outputs(tmp_path: Path) -> None:
    """Its introduction goes into a pipe that is full from the start."""
    folder = tmp_path / "service"
    folder.mkdir()
    (tmp_path / "full").write_text(
        "import os, sys\n"
        "os.set_blocking(1, False)\n"
        "try:\n"
        "    while True: os.write(1, b'x' * 512)\n"
        "except BlockingIOError: pass\n"
        "os.set_blocking(1, True)\n"
        "command = [sys.executable, '-m', 'chatsvc', 'dev', '--port', sys.argv[1]]\n"
        "os.execv(sys.executable, command)\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "full"), str(port)],
        cwd=folder, env=environment(), stdout=writing, stderr=writing,
    )  # fmt: skip
    os.close(writing)
    try:
        deadline = time.monotonic() + LIMIT
        while True:
            try:
                with contextlib.closing(connect(f"http://127.0.0.1:{port}")) as connection:
                    connection.request("GET", "/health/ready")
                    if connection.getresponse().status == 200:
                        break
            except OSError:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reading)
