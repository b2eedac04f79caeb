"""Chromium without a window, driven by the DevTools protocol over one socket.

The protocol: https://chromedevtools.github.io/devtools-protocol/. What is used of it is
little and stable, so a page of code does what a driver with its own runtime would.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NO_BROWSER = f"no browser: put one of {', '.join(NAMES)} on the PATH"
START_SECONDS = 60.0
PATIENCE = 20.0
"""Seconds after which a page will not do any more what is waited for."""

_OPTIONS = (
    "--headless",
    "--no-sandbox",  # root, and containers without user namespaces; the pages are our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--window-size=1200,900",
)
_REPORT_VIOLATIONS = """
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (event) =>
    window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


def program() -> str | None:
    """The browser of this machine."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextlib.contextmanager
def running(executable: str, folder: Path) -> Iterator[str]:
    """A browser with a fresh profile in ``folder``; the address of its DevTools."""
    folder.mkdir()
    port_file = folder / "DevToolsActivePort"
    said = folder.with_suffix(".output")
    with said.open("wb") as output:
        process = subprocess.Popen(
            [executable, *_OPTIONS, f"--user-data-dir={folder}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (port_file.exists() and port_file.read_text().count("\n") == 1):
            ended = process.poll() is not None
            if ended or time.monotonic() > deadline:
                tail = said.read_text("utf-8", "replace")[-2000:]
                raise RuntimeError(f"{executable} did not start: {tail}")
            time.sleep(0.02)
        port, path = port_file.read_text().split("\n")
        yield f"ws://127.0.0.1:{port}{path}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Page:
    """A tab with cookies, storage and cache of its own, and all that it did.

    ``console`` holds the arguments of each call of the console, ``problems`` what the
    browser complained of, ``requests`` the addresses that were asked for, ``frames``
    the texts that came in over WebSockets.
    """

    def __init__(self, devtools: _DevTools, session: str) -> None:
        self._devtools = devtools
        self._session = session
        self._changed = asyncio.Event()
        self._loaded = False
        self.console: list[list[Any]] = []
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.frames: list[str] = []

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """A DevTools command for this tab."""
        return await self._devtools.call(method, parameters, self._session)

    async def begin(self) -> None:
        """Once, before anything is opened."""
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.call(f"{domain}.enable")
        await self.call("Page.addScriptToEvaluateOnNewDocument", source=_REPORT_VIOLATIONS)

    async def open(self, url: str) -> None:
        """Go there, and wait until the page and what it names are loaded."""
        self._loaded = False
        answer = await self.call("Page.navigate", url=url)
        assert "errorText" not in answer, f"{url}: {answer['errorText']}"
        await self._until(lambda: self._loaded, f"{url} to load")

    async def run(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for.

        Raises:
            AssertionError: the script threw.
        """
        answer = await self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, (answer["exceptionDetails"], self.problems)
        return answer["result"].get("value")

    async def see(self, condition: str) -> None:
        """Wait until a JavaScript expression is true.

        Raises:
            AssertionError: it never was.
        """
        vain = json.dumps(f"waited in vain for {condition}")
        await self.run(
            "new Promise((good, bad) => {"
            f"  const last = Date.now() + {PATIENCE * 1000};"
            "  const look = () => {"
            f"    if ({condition}) good();"
            f"    else if (Date.now() > last) bad(new Error({vain}));"
            "    else setTimeout(look, 10);"
            "  };"
            "  look();"
            "})"
        )

    async def hear(self, *arguments: object) -> None:
        """Wait until the page wrote these to its console."""
        await self._until(lambda: list(arguments) in self.console, f"console {arguments}")

    async def frame(self, kind: str) -> dict[str, Any]:
        """Wait for the first frame of a type that came in over a WebSocket."""

        def found() -> list[dict[str, Any]]:
            return [one for one in map(json.loads, self.frames) if one["type"] == kind]

        await self._until(found, f"a frame of type {kind}")
        return found()[0]

    async def violations(self) -> list[str]:
        """What the content security policy of the open page forbade."""
        found: list[str] = await self.run("window.violations")
        return found

    def take(self, method: str, parameters: dict[str, Any]) -> None:
        """An event of this tab."""
        match method:
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            case "Network.webSocketCreated":
                self.requests.append(parameters["url"])
            case "Network.webSocketFrameReceived":
                if parameters["response"]["opcode"] == 1:
                    self.frames.append(parameters["response"]["payloadData"])
            case "Runtime.consoleAPICalled":
                said = [one.get("value", one.get("description")) for one in parameters["args"]]
                self.console.append(said)
                if parameters["type"] in ("error", "warning", "assert"):
                    self.problems.append(f"console {parameters['type']}: {said}")
            case "Runtime.exceptionThrown":
                self.problems.append(str(parameters["exceptionDetails"]))
            case "Log.entryAdded":
                entry = parameters["entry"]
                if entry["level"] in ("error", "warning"):
                    self.problems.append(f"{entry['source']}: {entry['text']}")
        self._changed.set()

    async def _until(self, condition: Any, what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"waited in vain for {what}; {self.problems}") from None


class _DevTools:
    """Commands and events of one browser, over one socket (flat sessions)."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.pages: dict[str, Page] = {}

    async def call(
        self, method: str, parameters: dict[str, object], session: str | None = None
    ) -> dict[str, Any]:
        number = next(self._numbers)
        command: dict[str, object] = {"id": number, "method": method, "params": parameters}
        if session is not None:
            command["sessionId"] = session
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps(command))
        async with asyncio.timeout(PATIENCE + 10):
            told = await answer
        if "error" in told:
            raise RuntimeError(f"{method}: {told['error']}")
        result: dict[str, Any] = told["result"]
        return result

    async def read(self) -> None:
        async for text in self._socket:
            told = json.loads(text)
            if "id" in told:
                self._asked.pop(told["id"]).set_result(told)
            elif told.get("sessionId") in self.pages:
                self.pages[told["sessionId"]].take(told["method"], told["params"])

    async def new_page(self) -> Page:
        context = await self.call("Target.createBrowserContext", {"disposeOnDetach": True})
        where = {"url": "about:blank", "browserContextId": context["browserContextId"]}
        target = await self.call("Target.createTarget", where)
        session = await self.call(
            "Target.attachToTarget", {"targetId": target["targetId"], "flatten": True}
        )
        page = self.pages[session["sessionId"]] = Page(self, session["sessionId"])
        await page.begin()
        return page


@contextlib.asynccontextmanager
async def new_page(devtools: str) -> AsyncIterator[Page]:
    """A tab of the browser whose DevTools are there; gone afterwards."""
    async with connect(devtools, max_size=None, compression=None, proxy=None) as socket:
        driver = _DevTools(socket)
        reading = asyncio.create_task(driver.read())
        try:
            yield await driver.new_page()
        finally:
            reading.cancel()
            await asyncio.wait([reading])
