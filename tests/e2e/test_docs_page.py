"""The documentation page in a real browser: what it shows, and what its buttons do."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from testkit.missing import skip_outside_ci
from testkit.restartable import Service
from tests.e2e.support import nginx
from tests.e2e.support.browser import Page

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("browser")]

SECRET = "a secret of the application's own, long enough"
PREFIX = "/chat"

# As a person types it: React listens to the event, and keeps a value of its own.
TYPE = """(() => {
  const field = document.querySelector(%s);
  const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
  set.call(field, %s);
  field.dispatchEvent(new Event("input", { bubbles: true }));
})()"""


@pytest.fixture(scope="module")
def service(devtools: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """After ``devtools``, so that a skip costs nothing."""
    running = Service(tmp_path_factory.mktemp("service"), JWT_SECRET=SECRET)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def prefixed(service: Service, tmp_path: Path) -> Iterator[str]:
    """The service's address behind the documented nginx, under a prefix."""
    program = nginx.program()
    if program is None:
        skip_outside_ci(nginx.NO_NGINX)
    block = nginx.with_prefix(*nginx.blocks())
    with nginx.running(program, tmp_path / "nginx", block, service.url) as server:
        yield server.url + PREFIX


def token(user: str) -> str:
    return jwt.encode({"id": user, "exp": int(time.time()) + 600}, SECRET, "HS256")


def operations(service: Service) -> list[tuple[str, str]]:
    """Method and path of each, as the document has them."""
    with urllib.request.urlopen(f"{service.url}/openapi.json", timeout=20) as answer:
        paths = json.load(answer)["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


async def shown(page: Page, url: str, count: int) -> list[str]:
    """Open the page, and wait until it shows so many operations."""
    await page.open(f"{url}/docs")
    await page.see(f"document.querySelectorAll('.opblock').length >= {count}")
    found: list[str] = await page.run(
        "[...document.querySelectorAll('.opblock')].filter((e) => e.checkVisibility()).map((e) =>"
        " e.querySelector('.opblock-summary-method').innerText + ' ' +"
        " e.querySelector('.opblock-summary-path').dataset.path)"
    )
    return sorted(found)


async def try_out(page: Page, method: str, path: str) -> tuple[int, str, str]:
    """Open an operation and press its buttons, nothing filled in; status, the address that
    was asked, and what came back."""
    block = f"document.querySelector('.opblock-{method.lower()} [data-path=\"{path}\"]')"
    await page.see(block)
    found = f"{block}.closest('.opblock')"
    await page.run(f"{found}.querySelector('.opblock-summary-control').click()")
    for button in (".try-out__btn", ".execute"):
        await page.see(f"{found}.querySelector('{button}')")
        await page.run(f"{found}.querySelector('{button}').click()")
    answer = f"{found}.querySelector('.live-responses-table')"
    await page.see(f"{answer}?.querySelector('.response-col_status')?.innerText")
    status = await page.run(f"{answer}.querySelector('tbody .response-col_status').innerText")
    asked = await page.run(f"{found}.querySelector('.request-url pre').innerText")
    told = await page.run(f"{answer}.innerText")
    return int(status.split()[0]), str(asked), str(told)


async def press(page: Page, selector: str) -> None:
    """Press a button once it is there."""
    await page.see(f"document.querySelector({json.dumps(selector)})")
    await page.run(f"document.querySelector({json.dumps(selector)}).click()")


async def authorize(page: Page, bearer: str) -> None:
    """Give the page a token, in its dialog."""
    field = ".auth-container input"
    await press(page, ".auth-wrapper .authorize")
    await page.see(f"document.querySelector('{field}')")
    await page.run(TYPE % (json.dumps(field), json.dumps(bearer)))
    await press(page, ".auth-btn-wrapper .authorize")
    await press(page, ".auth-btn-wrapper .btn-done")


async def no_problems(page: Page, url: str) -> None:
    assert page.problems == []
    assert await page.violations() == []
    elsewhere = [one for one in page.requests if not one.startswith((f"{url}/", "data:image/"))]
    assert elsewhere == []


async def test_it_shows_every_operation(service: Service, page: Page) -> None:
    expected = sorted(f"{method} {path}" for method, path in operations(service))
    assert await shown(page, service.url, len(expected)) == expected
    await no_problems(page, service.url)


@pytest.mark.timeout(400)  # a browser fills 28 forms, one after another
async def test_every_operation_does_what_it_is_for_as_it_is_filled(
    service: Service, page: Page
) -> None:
    """With Alice's token and nothing typed; but for ids, which nobody can know."""
    every = operations(service)
    await shown(page, service.url, len(every))
    await authorize(page, token("alice"))
    every.sort(key=lambda one: one != ("POST", "/api/messages"))  # so that there is one to read
    answers: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    expected = ("alice", "Reading club", '"invitations": []')
    for method, path in every:
        status, _, told = await try_out(page, method, path)
        if path == "/api/messages/{id}":
            unknown[path] = (status, "not_found" in told)
        elif path == "/api/groups/join":
            unknown[path] = (status, "no_such_link" in told)
        elif path.startswith("/api/groups/{id}"):
            unknown[f"{method} {path}"] = (status, "not_a_member" in told)
        else:
            answers[f"{method} {path}"] = status
            assert not path.startswith("/api/") or any(one in told for one in expected)
    good = {name: status for name, status in answers.items() if 200 <= status < 300}
    assert good == answers
    assert unknown.pop("/api/messages/{id}") == unknown.pop("/api/groups/join") == (404, True)
    assert set(unknown.values()) == {(403, True)}
    assert good["POST /api/groups"] == 201
    assert good["POST /api/messages"] == 201
    assert await page.violations() == []


async def test_it_works_under_a_prefix(service: Service, prefixed: str, page: Page) -> None:
    await page.call("Security.setIgnoreCertificateErrors", ignore=True)
    expected = sorted(f"{method} {path}" for method, path in operations(service))
    assert await shown(page, prefixed, len(expected)) == expected
    status, asked, told = await try_out(page, "GET", "/health/live")
    assert (status, asked) == (200, f"{prefixed}/health/live")
    assert '"status": "ok"' in told
    await no_problems(page, prefixed)
