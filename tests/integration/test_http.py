"""The HTTP interface of a running service, over both stores."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import jwt
import pytest

from chatsvc.auth.minting import mint
from testkit.process import Process, running
from testkit.talking import SECRET, STARTED
from testkit.waiting import PATIENCE

JSON = {"Content-Type": "application/json"}


class Api:
    """Calls of users, each with a token of its own."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    async def call(
        self, method: str, path: str, user: str = "alice", *, token: str | None = None, **more: Any
    ) -> tuple[int, Any]:
        sent = token if token is not None else mint(SECRET.encode(), user, 600)
        headers = {"Authorization": f"Bearer {sent}"} | more.pop("headers", {})
        async with self._session.request(
            method, self.url + path, headers=headers, **more
        ) as answer:
            body = await answer.read()
            if answer.content_type.endswith("json"):
                return answer.status, json.loads(body)
            return answer.status, body.decode()

    async def send(self, *participants: str, content: str = "hello", **more: Any) -> Any:
        """As the first participant; the message."""
        body = {"participants": list(participants), "content": content, **more}
        # As UTF-8: with each character escaped, what is at every bound is beyond the body's.
        data = json.dumps(body, ensure_ascii=False).encode()
        status, answer = await self.call(
            "POST", "/api/messages", participants[0], data=data, headers=JSON
        )
        assert status in (200, 201), answer
        return answer

    async def contents(self, path: str, user: str = "alice") -> list[str]:
        status, page = await self.call("GET", path, user)
        assert status == 200, page
        return [message["content"] for message in page["messages"]]


@pytest.fixture(params=["sqlite", "mongodb"])
def variables(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    given = {"JWT_SECRET": SECRET, "PORT": "0", "LOG_FORMAT": "json", "STORE": request.param}
    if request.param == "mongodb":
        given["MONGO_URI"] = request.getfixturevalue("mongo_uri")
        given["MONGO_DB"] = request.getfixturevalue("mongo_db")
    return given


@pytest.fixture
def process(variables: dict[str, str], tmp_path: Path) -> Iterator[Process]:
    with running(tmp_path, "serve", **variables) as process:
        yield process


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def api(process: Process, session: aiohttp.ClientSession) -> Api:
    return Api(session, await url_of(process))


async def url_of(process: Process) -> str:
    return (await asyncio.to_thread(process.wait_for, STARTED, err=True))[1]


async def stored(api: Api, message: dict[str, Any]) -> None:
    """Return once the store has it."""
    async with asyncio.timeout(PATIENCE):
        while (await api.call("GET", f"/api/messages/{message['id']}"))[1]["state"] != "stored":  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)


async def test_what_was_sent_is_read_at_once_and_the_same_once_stored(api: Api) -> None:
    sent = await api.send(
        "alice", "bob", content="héllo 𝄞", metadata={"n": 1, "f": 1.0, "$x.y": [None, True]}
    )
    path = "/api/messages/get?participants=bob,alice"
    status, page = await api.call("GET", path, "bob")
    assert (status, page["messages"], page["complete"]) == (200, [sent], True)
    await stored(api, sent)
    status, page = await api.call("GET", path, "bob")
    assert (status, page["messages"]) == (200, [sent])
    assert isinstance(page["messages"][0]["metadata"]["f"], float)


async def test_everything_is_there_after_a_restart(
    variables: dict[str, str], tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    people = [f"{number:03d}{'é' * 125}" for number in range(256)]
    with running(tmp_path, "serve", **variables) as process:
        api = Api(session, await url_of(process))
        first = await api.send("alice", "bob", content="1", client_id="k1")
        rest = [await api.send("bob", "alice", content=str(number)) for number in range(2, 6)]
        large = await api.send(
            *people, content="𝄞" * 16_000, client_id="k" * 64, metadata={"b": "x" * 4088}
        )
        process.stop(signal.SIGKILL)
    with running(tmp_path, "serve", **variables) as process:
        api = Api(session, await url_of(process))
        path = "/api/messages/get?participants=alice,bob"
        assert (await api.call("GET", path))[1]["messages"] == [first, *rest]
        assert await api.contents(f"{path}&limit=2&before={rest[1]['id']}") == ["1", "2"]
        assert await api.contents(f"{path}&limit=2&after={rest[0]['id']}") == ["3", "4"]
        assert await api.contents(f"{path}&limit=3&around={rest[0]['id']}") == ["1", "2", "3"]
        by_channel = f"/api/messages/get?channel={quote(large['channel'])}"
        assert (await api.call("GET", by_channel, people[255]))[1]["messages"] == [large]
        assert (await api.call("GET", by_channel, "mallory"))[0] == 403

        assert await api.send("alice", "bob", content="1", client_id="k1") == first
        body = {"participants": ["alice", "bob"], "content": "other", "client_id": "k1"}
        status, problem = await api.call("POST", "/api/messages", json=body)
        assert (status, problem["id"]) == (409, first["id"])

        _, listed = await api.call("GET", "/api/conversations", "bob")
        assert [row["last_message"] for row in listed["conversations"]] == [rest[-1]]
        newer = await api.send("alice", "bob", content="6")
        assert newer["id"] > large["id"]
        assert process.stop() == 0


async def test_retries_in_flight_at_once_are_one_message(api: Api) -> None:
    sent = await asyncio.gather(
        *(api.send("alice", "bob", client_id="same") for _ in range(40)),
        *(api.send("alice", "bob", content=str(number)) for number in range(40)),
    )
    assert len({message["id"] for message in sent[:40]}) == 1
    assert len({message["id"] for message in sent}) == 41
    _, page = await api.call("GET", "/api/messages?limit=1000", "bob")
    ids = [message["id"] for message in page["messages"]]
    assert ids == sorted({message["id"] for message in sent})


async def test_pages_join_without_a_hole_while_the_store_is_behind(api: Api) -> None:
    sent: list[str] = []
    for number in range(30):
        sent.append((await api.send("alice", "bob", content=str(number)))["id"])
        _, page = await api.call("GET", "/api/messages/get?participants=alice,bob&limit=7")
        assert [message["id"] for message in page["messages"]] == sent[-7:]
    found: list[str] = []
    after = "0" * 16
    while True:
        _, page = await api.call("GET", f"/api/messages?limit=7&after={after}", "bob")
        found += [message["id"] for message in page["messages"]]
        after = page["after"]
        if not page["has_more"]:
            break
    assert found == sent


def forged() -> dict[str, str]:
    """Tokens that are not good, by what is wrong with them."""
    hour = int(time.time()) + 3600
    good = {"id": "alice", "exp": hour}
    parts = jwt.encode(good, SECRET, algorithm="HS256").split(".")
    other_payload = jwt.encode(good | {"id": "bob"}, SECRET, algorithm="HS256").split(".")[1]
    return {
        "malformed": "not.a.token",
        "expired": jwt.encode(good | {"exp": hour - 7200}, SECRET, algorithm="HS256"),
        "unsigned": f"{parts[0]}.{parts[1]}.",
        "alg none": jwt.encode(good, None, algorithm="none"),
        "wrong key": jwt.encode(good, SECRET[::-1] + "x", algorithm="HS256"),
        "other algorithm": jwt.encode(good, SECRET * 2, algorithm="HS512"),
        "no exp": jwt.encode({"id": "alice"}, SECRET, algorithm="HS256"),
        "no user": jwt.encode({"exp": hour}, SECRET, algorithm="HS256"),
        "payload of another": f"{parts[0]}.{other_payload}.{parts[2]}",
    }


async def test_tokens_that_are_not_good(api: Api) -> None:
    body = {"participants": ["alice"], "content": "hi"}
    for name, token in forged().items():
        status, problem = await api.call("POST", "/api/messages", token=token, json=body)
        assert status == 401, name
        assert problem["code"] == ("token_expired" if name == "expired" else "token_invalid"), name
        assert token not in json.dumps(problem)
    assert await api.contents("/api/messages") == []


async def test_the_log_lines_hold_neither_content_nor_tokens(api: Api, process: Process) -> None:
    token = mint(SECRET.encode(), "alice", 600)
    body = {
        "participants": ["alice"],
        "content": "topsecret-content",
        "metadata": {"k": "topsecret"},
    }
    status, message = await api.call("POST", "/api/messages", token=token, json=body)
    assert status == 201
    await api.call("POST", "/api/messages", json={"topsecret": 1})
    await api.call("GET", "/api/messages?participants=topsecret,alice")
    await stored(api, message)
    line = await asyncio.to_thread(process.wait_for, rf".*{message['id']}.*", err=True)
    assert json.loads(line[0])["user"] == "alice"
    assert "topsecret" not in process.err
    assert token not in process.err
    assert SECRET not in process.err


async def test_every_metric_is_in_the_guide_and_the_other_way_round(api: Api) -> None:
    await api.send("alice", "bob")
    status, text = await api.call("GET", "/metrics")
    assert status == 200
    shown = {
        name + ("_total" if kind == "counter" and not name.endswith("_total") else "")
        for name, kind in re.findall(r"^# TYPE (chatsvc_\w+) (\w+)$", text, re.MULTILINE)
        if not name.endswith("_created")
    }
    guide = Path(__file__).parents[2].joinpath("docs", "operations.md").read_text()
    section = guide.split("\n## Metrics\n")[1].split("\n## ")[0]
    assert shown == set(re.findall(r"chatsvc_\w+", section))
    names = re.findall(r"^# TYPE (\w+)", text, re.MULTILINE)
    assert len(names) == len(set(names))


async def test_health_names_the_durability(api: Api) -> None:
    status, health = await api.call("GET", "/health")
    assert status == 200
    assert (health["status"], health["durability"]) == ("ok", "fsync")
    assert set(health["checks"]) == {"log", "store", "clock"}
