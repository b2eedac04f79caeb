"""``chatsvc healthcheck``: 0 or 1, for containers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from chatsvc.cli import main

Captured = pytest.CaptureFixture[str]
Serve = Callable[[int], tuple[int, list[str]]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that answers everything with one status; gives port and paths asked."""
    servers: list[HTTPServer] = []

    def start(status: int) -> tuple[int, list[str]]:
        paths: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                paths.append(self.path)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Not to standard error."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server.server_port, paths

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_it_asks_this_machine_at_the_configured_port(
    serve: Serve, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, paths = serve(200)
    monkeypatch.setenv("PORT", str(port))
    for host in ("0.0.0.0", "127.0.0.1", "localhost"):
        monkeypatch.setenv("HOST", host)
        assert main(["healthcheck"]) == 0
    assert paths == ["/health/live"] * 3
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("answering", ["127.0.0.1", "::1"])
def test_of_all_addresses_either_loopback_address_will_do(
    answering: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOST", "::")
    monkeypatch.setenv("PORT", "8080")
    asked: list[str] = []

    def error_of(url: str) -> str | None:
        asked.append(url)
        return None if answering in url else "does not answer"

    monkeypatch.setattr("chatsvc.cli.healthcheck._error_of", error_of)
    assert main(["healthcheck"]) == 0
    assert asked[0] == "http://127.0.0.1:8080"
    assert set(asked) <= {"http://127.0.0.1:8080", "http://[::1]:8080"}
    assert capsys.readouterr() == ("", "")


def test_or_the_url_it_is_given(serve: Serve) -> None:
    port, paths = serve(200)
    assert main(["healthcheck", "--url", f"http://127.0.0.1:{port}/chat/"]) == 0
    assert paths == ["/chat/health/live"]


def test_a_service_that_is_not_well(serve: Serve, capsys: Captured) -> None:
    port, _ = serve(503)
    assert main(["healthcheck", "--url", f"http://127.0.0.1:{port}"]) == 1
    assert "answers 503" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "ftp://127.0.0.1", "127.0.0.1:8080", "http://", "http://a:b"]
)
def test_no_service_at_all(url: str, capsys: Captured) -> None:
    assert main(["healthcheck", "--url", url]) == 1
    assert capsys.readouterr().err.startswith(f"chatsvc: {url} does not answer: ")


def test_a_port_that_is_none(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "http")
    assert main(["healthcheck"]) == 1
    assert "PORT" in capsys.readouterr().err


def test_other_settings_are_not_its_business(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    port, _ = serve(200)
    monkeypatch.setenv("PORT", str(port))
    monkeypatch.setenv("MAX_CONTENT", "lots")
    assert main(["healthcheck"]) == 0


def test_a_service_that_hangs(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatsvc.cli.healthcheck._TIMEOUT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert main(["healthcheck", "--url", f"http://127.0.0.1:{silent.getsockname()[1]}"]) == 1
    assert "timed out" in capsys.readouterr().err
