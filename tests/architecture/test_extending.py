"""``docs/extending.md`` names what there is, and the feature that it describes is one."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import msgspec
import pytest

import chatsvc.features
from chatsvc.api.feature import Feature
from chatsvc.app import components
from chatsvc.app import features as registered
from chatsvc.app.features import FeatureParts, features
from chatsvc.app.lifecycle import Service
from chatsvc.features.messages.service import AllowAll
from chatsvc.settings.table import load
from testkit.memory_store import MemoryStore
from testkit.talking import SECRET, bearer, talk
from testkit.waiting import until
from tests.unit.support.noted_log import NotedLog

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "extending.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)
FILES = {
    found[1]: block
    for block in BLOCKS
    if (found := re.match(r"# (chatsvc/features/greetings/\w+\.py)\n", block))
}
THE_LINE = next(block for block in BLOCKS if block.startswith("greetings.feature("))


def test_every_place_it_names_is_there() -> None:
    places = set(re.findall(r"`((?:chatsvc|tests|scripts|testkit|conformance)/[\w/.]*)`", TEXT))
    assert len(places) > 20
    assert [place for place in places if not (ROOT / place).exists()] == []


def test_every_name_of_the_program_is_there() -> None:
    """In the file that the same sentence names."""
    for name, place in (
        ("features", "chatsvc/app/features.py"),
        ("FeatureParts", "chatsvc/app/features.py"),
        ("StreamedBody", "chatsvc/api/body.py"),
        ("FEATURES", "chatsvc/server/websocket/socket.py"),
        ("Metrics", "chatsvc/server/observability/metrics.py"),
        ("STATUS", "chatsvc/server/errors.py"),
        ("MessageReader", "chatsvc/storage/ports/messages.py"),
        ("RowReader", "chatsvc/storage/projections/reader.py"),
    ):
        assert name in TEXT
        assert re.search(rf"\b{name}\b", (ROOT / place).read_text("utf-8")), (name, place)


@pytest.mark.parametrize("source", BLOCKS, ids=[one.splitlines()[0][:40] for one in BLOCKS])
def test_every_example_is_python(source: str) -> None:
    ast.parse(textwrap.dedent(source))


@pytest.fixture
def greetings(tmp_path: Path) -> Iterator[ModuleType]:
    """The feature of the page, as a folder of ``chatsvc.features``."""
    folder = tmp_path / "features" / "greetings"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text('"""Greet users who are connected."""\n')
    for name, source in FILES.items():
        (folder / Path(name).name).write_text(source.partition("\n")[2])
    path = chatsvc.features.__path__
    path.append(str(folder.parent))
    try:
        yield importlib.import_module("chatsvc.features.greetings.feature")
    finally:
        path.remove(str(folder.parent))
        for name in [name for name in sys.modules if name.startswith("chatsvc.features.greetings")]:
            del sys.modules[name]
        delattr(chatsvc.features, "greetings")


def test_its_files_are_those_that_it_lists_and_pass_the_linter(greetings: ModuleType) -> None:
    listed = set(re.findall(r"^\| `(\w+\.py)` \|", TEXT, re.M))
    assert listed == {Path(name).name for name in FILES}
    assert greetings.__file__ is not None
    folder = Path(greetings.__file__).parent
    ruff = [sys.executable, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml")]
    # Outside of the repository ruff cannot tell which imports are the project's own.
    done = subprocess.run(
        [*ruff, "--ignore", "I001", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture
async def url(greetings: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A whole service, in which the feature is one more line."""

    def with_one_more(parts: FeatureParts) -> tuple[Feature, ...]:
        names = {"greetings": greetings, "parts": parts, "limits": parts.limits}
        return (*features(parts), eval(THE_LINE, names))

    monkeypatch.setattr(components, "features", with_one_more)
    monkeypatch.setattr(registered, "features", with_one_more)
    environment = {"DATA_DIR": str(tmp_path / "data"), "JWT_SECRET": SECRET, "PORT": "0"}
    service = Service(load(environment | {"LOG_LEVEL": "error"}), AllowAll())
    running = await service.start()
    try:
        yield running.url
    finally:
        await service.stop()


async def greet(session: aiohttp.ClientSession, url: str, user: str) -> tuple[int, Any]:
    path, body = f"{url}/api/greetings", {"user": user}
    async with session.post(path, json=body, headers=bearer("alice")) as answer:
        return answer.status, await answer.json()


async def test_the_feature_is_served(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        assert await greet(session, url, "bob") == (200, {"connections": 0})
        status, refused = await greet(session, url, "a,b")
        assert (status, refused["errors"][0]["pointer"]) == (422, "/user")
        async with talk(url, "alice") as alice:
            await alice.put({"type": "greet", "user": "alice", "ref": "1"})
            assert await alice.next("greeting") == {
                "type": "greeted", "connections": 1, "ref": "1",
            }  # fmt: skip
            for _ in range(48):
                await greet(session, url, "bob")
            await alice.put({"type": "greet", "user": "bob", "ref": "2"})
            error = await alice.next("greeting")
            assert (error["code"], error["ref"], error["retry_after"]) == (
                "greetings_exhausted", "2", 60.0,
            )  # fmt: skip
        status, refused = await greet(session, url, "bob")
        assert (status, refused["code"]) == (429, "greetings_exhausted")


async def test_its_records_are_live_replayed_and_in_pages(url: str) -> None:
    async with aiohttp.ClientSession() as session:

        async def changes(**query: str) -> Any:
            async with session.get(
                f"{url}/api/changes", params=query, headers=bearer("bob")
            ) as answer:
                assert answer.status == 200
                return await answer.json()

        async with talk(url, "bob") as bob, talk(url, "alice") as alice:
            hello = bob.hello
            await greet(session, url, "bob")
            (frame,) = await bob.take(1, "greeting")
            assert await alice.take(1, "greeting") == [frame], "its sender hears of it too"
        assert {name: frame[name] for name in ("channel", "sender", "user")} == {
            "channel": "alice,bob", "sender": "alice", "user": "bob",
        }  # fmt: skip
        async with talk(url, "bob", since=hello["cursor"]) as bob:
            assert await bob.take(1, "greeting") == [frame]
        page = await changes(kinds="greeting")
        assert page["frames"] == [frame]
        assert (await changes(kinds="message"))["frames"] == []
        assert (await changes(channel="alice,bob"))["frames"] == [frame]
        async with talk(url, "bob", since=hello["cursor"], kinds="message") as bob:
            assert (await bob.next())["type"] == "caught_up"


async def test_its_rows_are_read_before_and_after_they_are_stored(url: str) -> None:
    async with aiohttp.ClientSession() as session:

        async def last(user: str, sender: str) -> Any:
            query = {"sender": sender}
            async with session.get(
                f"{url}/api/greetings", params=query, headers=bearer(user)
            ) as answer:
                assert answer.status == 200
                return (await answer.json())["id"]

        assert await last("bob", "alice") is None
        async with talk(url, "bob") as bob:
            for _ in range(3):
                await greet(session, url, "bob")
                (frame,) = await bob.take(1, "greeting")
                assert await last("bob", "alice") == frame["id"]
        assert await last("alice", "bob") is None


async def test_its_consumer_goes_on_where_it_was(greetings: ModuleType, tmp_path: Path) -> None:
    consumer = importlib.import_module("chatsvc.features.greetings.consumer")
    drafts = importlib.import_module("chatsvc.features.greetings.records")
    log, path = NotedLog(), tmp_path / "greetings.json"

    def counted() -> Any:
        return msgspec.json.decode(path.read_bytes())

    for count in (3, 2):
        counter = consumer.GreetingCounter(log, MemoryStore(), path)
        counter.start()
        for _ in range(count):
            await log.append(drafts.draft_greeting("alice", "bob"))
        await until(lambda: path.exists() and counted()["position"] == log.tail.head)
        await counter.stop(drain=True)
    assert counted() == {"greetings": 5, "position": log.tail.head}


async def test_the_feature_is_in_the_documents_and_the_metrics(url: str) -> None:
    async with aiohttp.ClientSession() as session:

        async def read(path: str) -> Any:
            async with session.get(url + path) as answer:
                return await (answer.json() if path.endswith("json") else answer.text())

        operation = (await read("/openapi.json"))["paths"]["/api/greetings"]["post"]
        assert "429" in operation["responses"]
        frames = await read("/asyncapi.json")
        assert {"Greet", "Greeted", "GreetingFrame"} <= set(frames["components"]["messages"])
        codes = frames["components"]["schemas"]["Error"]["properties"]["code"]
        assert "greetings_exhausted" in codes["x-extensible-enum"]
        await greet(session, url, "bob")
        assert "chatsvc_greetings_total 1.0" in await read("/metrics")
