"""A real browser: pages of an application of another origin."""

from __future__ import annotations

import asyncio
import http.server
import json
import re
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from testkit.restartable import Service
from testkit.waiting import until
from tests.e2e.support.browser import Page

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("browser")]

README = Path(__file__).resolve().parents[2] / "README.md"
SECRET = "a secret of the application's own, long enough"

# [code, reason, whether the closing handshake was done], once a socket is closed.
CLOSED = """new Promise((done) => {
  const closing = new WebSocket(%s, ["chatsvc.v1", "bearer." + %s]);
  closing.onclose = (event) => done([event.code, event.reason, event.wasClean]);
})"""

# [status, Location, body] of a send, or what fetch says where the browser refuses.
SEND = """fetch(%s, {
  method: "POST",
  headers: { "Authorization": "Bearer " + %s, "Content-Type": "application/json" },
  body: JSON.stringify({ participants: ["alice", "bob"], content: %s }),
}).then(
  async (answer) => [answer.status, answer.headers.get("Location"), await answer.json()],
  (refusal) => refusal.name,
)"""


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'<!doctype html><html lang="en"><title>An application</title>'
        if scripts := self.server.pages.get(self.path):  # type: ignore[attr-defined]
            body += "".join(f"<script>{script}</script>" for script in scripts).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing to standard error."""


class Application(http.server.ThreadingHTTPServer):
    """Somebody's web site. ``pages`` holds the scripts of a path; other paths have none."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, list[str]] = {}
        self.origin = f"http://127.0.0.1:{self.server_port}"


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    with Application() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def service(
    devtools: str, application: Application, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Lets the application's pages call; after ``devtools``, so that a skip costs nothing."""
    running = Service(
        tmp_path_factory.mktemp("service"),
        "serve",
        JWT_SECRET=SECRET,
        CORS_ORIGINS=application.origin,
    )
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def closed_service(devtools: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Lets no page of another origin call."""
    running = Service(tmp_path_factory.mktemp("closed"), "serve", JWT_SECRET=SECRET)
    running.start()
    yield running
    running.stop()


def token(user: str, *, seconds: int = 600, secret: str = SECRET) -> str:
    return jwt.encode({"id": user, "exp": int(time.time()) + seconds}, secret, "HS256")


def ask(url: str, user: str, body: object = None) -> dict[str, object]:
    """From outside any browser."""
    headers = {"Authorization": f"Bearer {token(user)}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=20) as answer:
        decoded: dict[str, object] = json.load(answer)
        return decoded


def closing(service: Service, bearer: str) -> str:
    return CLOSED % (json.dumps(service.url.replace("http", "ws", 1) + "/ws"), json.dumps(bearer))


def sending(service: Service, content: str) -> str:
    address = f"{service.url}/api/messages"
    return SEND % (json.dumps(address), json.dumps(token("alice")), json.dumps(content))


def history(service: Service) -> list[dict[str, object]]:
    page = ask(f"{service.url}/api/messages/get?participants=alice,bob", "alice")
    found = page["messages"]
    assert isinstance(found, list)
    return found


def readme_script(service: Service) -> str:
    """The README's lines for a browser after the login, which is the application's own."""
    blocks = re.findall(r"^```js\n(.*?)^```$", README.read_text("utf-8"), re.M | re.S)
    (script,) = [str(block) for block in blocks if "new WebSocket(" in block]
    return f"const url = {json.dumps(service.url)};\n{script[script.index('const socket') :]}"


async def test_a_page_of_the_application_talks_as_the_readme_shows(
    service: Service, application: Application, page: Page
) -> None:
    given = f"const token = {json.dumps(token('bob'))};"
    application.pages["/chat"] = [given, readme_script(service)]
    await page.open(f"{application.origin}/chat")
    hello = await page.frame("hello")
    assert hello["user"] == "bob"
    assert await page.run("socket.protocol") == "chatsvc.v1"

    message = {"participants": ["alice", "bob"], "content": "Shall we?"}
    await asyncio.to_thread(ask, f"{service.url}/api/messages", "alice", message)
    await page.hear("alice,bob", "alice", "Shall we?")

    ack = await page.frame("ack")
    (sent,) = [one for one in history(service) if one["id"] == ack["id"]]
    assert (sent["sender"], sent["content"]) == ("bob", "Hello from a browser!")
    await page.hear("sent", ack["id"])
    await page.run("send(['alice', 'bob'], 'Let us: 🙂')")
    await until(lambda: "Let us: 🙂" in [one["content"] for one in history(service)])
    assert ["alice,bob", "bob", "Let us: 🙂"] not in page.console
    assert page.problems == []


async def test_a_page_of_the_application_calls_the_http_interface(
    service: Service, application: Application, page: Page
) -> None:
    await page.open(f"{application.origin}/")
    status, location, message = await page.run(sending(service, "over HTTP"))
    assert status == 201
    assert location == f"/api/messages/{message['id']}"
    assert message in history(service)
    assert page.problems == []


async def test_a_page_of_an_origin_that_is_not_named_cannot_call(
    service: Service, application: Application, page: Page
) -> None:
    """Another name of the same machine is another origin."""
    await page.open(f"http://localhost:{application.server_port}/")
    assert await page.run(sending(service, "not named")) == "TypeError"
    assert "not named" not in [one["content"] for one in history(service)]
    assert [problem for problem in page.problems if "CORS policy" in problem]


async def test_without_named_origins_no_page_can_call(
    closed_service: Service, application: Application, page: Page
) -> None:
    await page.open(f"{application.origin}/")
    assert await page.run(sending(closed_service, "refused")) == "TypeError"
    assert history(closed_service) == []
    read = f"fetch('{closed_service.url}/health').catch((refusal) => refusal.name)"
    assert await page.run(read) == "TypeError"
    assert len([problem for problem in page.problems if "CORS policy" in problem]) == 2


@pytest.mark.parametrize(
    ("bearer", "code"),
    [
        (token("alice", seconds=-600), 4002),
        (token("alice", secret="the secret of somebody else, long as well"), 4001),
        ("not.a.token", 4001),
    ],
    ids=["expired", "another key", "no token"],
)
async def test_a_page_sees_why_its_token_is_refused(
    bearer: str, code: int, service: Service, application: Application, page: Page
) -> None:
    await page.open(f"{application.origin}/")
    seen, reason, clean = await page.run(closing(service, bearer))
    assert (seen, clean) == (code, True)
    assert reason


async def test_a_page_sees_a_restart_and_comes_back(
    closed_service: Service, application: Application, page: Page
) -> None:
    await page.open(f"{application.origin}/")
    waiting = asyncio.create_task(page.run(closing(closed_service, token("alice"))))
    await page.frame("hello")
    assert await asyncio.to_thread(closed_service.stop) == 0
    code, reason, clean = await waiting
    assert (code, clean) == (1012, True)
    assert re.fullmatch(r"restart;retry_after_ms=\d+", reason)

    await asyncio.to_thread(closed_service.start)
    page.frames.clear()
    again = asyncio.create_task(page.run(closing(closed_service, token("alice"))))
    assert (await page.frame("hello"))["user"] == "alice"
    again.cancel()
    await asyncio.wait([again])
