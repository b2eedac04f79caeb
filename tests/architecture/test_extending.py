"""``docs/extending.md`` names what there is, and its examples are what they claim to be."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatsvc.api.feature import Feature
from chatsvc.server.http.application import ServerOptions, build_application
from chatsvc.server.websocket.command_table import CommandTable
from chatsvc.server.websocket.connection_commands import connection_commands
from testkit.authenticator import FakeAuthenticator, named_by_token
from testkit.http_service import HttpService, running

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "extending.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)


def block(holds: str) -> str:
    (found,) = [one for one in BLOCKS if holds in one]
    return str(found)


def namespace(source: str) -> dict[str, Any]:
    """What a block defines."""
    names: dict[str, Any] = {"__name__": "extending"}
    exec(compile(source, "docs/extending.md", "exec"), names)
    return names


def test_every_place_it_names_is_there() -> None:
    places = set(
        re.findall(r"`((?:chatsvc|conformance|contracts|testkit|tests|scripts)/[\w/.]*)`", TEXT)
    )
    assert len(places) > 20
    assert [place for place in places if not (ROOT / place).exists()] == []


def test_every_name_of_the_program_is_there() -> None:
    """In the file that the same sentence names."""
    for name, place in (
        ("features", "chatsvc/app/features.py"),
        ("FEATURES", "chatsvc/server/websocket/socket.py"),
        ("ClientFrame", "chatsvc/wire/protocol.py"),
        ("ServerFrame", "chatsvc/wire/protocol.py"),
        ("STATUS", "chatsvc/server/errors.py"),
        ("MessageReader", "chatsvc/storage/ports/messages.py"),
    ):
        assert name in TEXT
        assert re.search(rf"\b{name}\b", (ROOT / place).read_text("utf-8")), (name, place)


@pytest.mark.parametrize("source", BLOCKS, ids=[one.splitlines()[0][:40] for one in BLOCKS])
def test_every_example_is_python(source: str) -> None:
    ast.parse(textwrap.dedent(source))


async def test_the_operation_is_one() -> None:
    service = HttpService()
    operations = namespace(block("def operations("))["operations"](128)
    service.application = build_application(
        features=[Feature(name="greetings", operations=tuple(operations))],
        commands=service.commands,
        authenticator=FakeAuthenticator(named_by_token),
        limits=service.limits,
        health_report=lambda: service.health,
        metrics=service.metrics,
        options=ServerOptions(version="0"),
    )
    async with running(service) as client:
        document = (await client.call("GET", "/openapi.json")).json
        operation = document["paths"]["/api/greetings"]["post"]
        example = operation["requestBody"]["content"]["application/json"]["example"]
        answer = await client.call("POST", "/api/greetings", json=example)
        assert (answer.status, answer.json) == (200, {"text": "alice greets bob"})
        refused = await client.call("POST", "/api/greetings", json={"user": "a,b"})
        assert [one["pointer"] for one in refused.json["errors"]] == ["/user"]


def test_the_socket_command_is_one() -> None:
    (command,) = namespace(block('tag="wave"'))["commands"](128)
    table = CommandTable((command, *connection_commands(FakeAuthenticator(named_by_token))))
    request = table.decode(b'{"type":"wave","user":"bob","ref":"1"}')
    reply = table.by_request[type(request)].handler(None, request)
    assert msgspec.json.encode(reply.frame) == b'{"type":"waved","connections":1,"ref":"1"}'
