"""What stands in the variable part of a path: any text in UTF-8, percent-encoded."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from yarl import URL

from chatsvc.api.access import USER
from chatsvc.api.feature import Feature
from chatsvc.api.operation import Operation, Reply
from chatsvc.server.http.declarations import routed_path
from tests.unit.support.http_service import Answer, Client
from tests.unit.support.problems import check_problem
from tests.unit.support.streams import serving


class NameRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Two names in the path."""

    id: str
    user: str


class Named(msgspec.Struct, kw_only=True):
    """What the path named."""

    id: str
    user: str


async def tell(caller: Any, request: NameRequest) -> Reply:
    return Reply(200, Named(id=request.id, user=request.user))


FEATURE = Feature(
    name="names",
    operations=(
        Operation(
            name="tell", method="GET", path="/api/names/{id}/of/{user}", summary="Tell",
            access=USER, request=NameRequest, responses={200: ("Told.", Named)}, handler=tell,
        ),
    ),
)  # fmt: skip


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with serving(FEATURE) as client:
        yield client


async def get(client: Client, path: str) -> Answer:
    """The path as it is written."""
    url = URL(client.service.url + path, encoded=True)
    headers = {"Authorization": "Bearer token-of-alice"}
    async with client.session.get(url, headers=headers) as response:
        return Answer(response.status, response.headers.copy(), await response.read())


TEXTS = [
    ("a", "a"),
    ("a%2Fb", "a/b"),
    ("a%2fb", "a/b"),
    ("%252F", "%2F"),
    ("%25FF", "%FF"),
    ("a%20b", "a b"),
    ("a+b", "a+b"),
    ("J%C3%BCrgen", "Jürgen"),
    ("%F0%9F%98%80", "😀"),
    ("%7Ba%7D", "{a}"),
    ("{a}", "{a}"),
    ("%3F%23%26%3D", "?#&="),
    ("%0A", "\n"),
]


@pytest.mark.parametrize(("part", "text"), TEXTS, ids=[part for part, _ in TEXTS])
async def test_a_name_is_decoded(client: Client, part: str, text: str) -> None:
    answer = await get(client, f"/api/names/{part}/of/b")
    assert (answer.status, answer.json) == (200, {"id": text, "user": "b"})
    answer = await get(client, f"/api/names/a/of/{part}?")
    assert (answer.status, answer.json) == (200, {"id": "a", "user": text})


@pytest.mark.parametrize("part", ["%FF", "%ff", "%C3", "x%C3%28", "%ED%A0%80"])
async def test_a_name_that_is_not_utf8_is_refused(client: Client, part: str) -> None:
    """It must not name what another spelling names."""
    for path in (f"/api/names/{part}/of/b", f"/api/names/a/of/{part}"):
        problem = check_problem(await get(client, path), 400, "not_utf8")
        assert problem["detail"] == "the path must be UTF-8"


@pytest.mark.parametrize("path", ["/api/names//of/b", "/api/names/a/of/", "/api/names/a/of/b/"])
async def test_a_name_is_one_part_that_is_not_empty(client: Client, path: str) -> None:
    check_problem(await get(client, path), 404, "not_found")


async def test_a_name_of_the_path_is_no_parameter_of_the_query(client: Client) -> None:
    problem = check_problem(await get(client, "/api/names/a/of/b?user=c"), 422, "unknown_field")
    assert problem["errors"][0]["pointer"] == "/user"


def test_what_another_path_names_is_no_value_of_a_variable_part() -> None:
    paths = ["/a/{id}", "/a/join", "/a/{id}/b", "/a/join/c", "/x/list", "/a/{id}/{b}"]
    pattern = re.compile(re.sub(r"\{(\w+):(.*?)\}", r"(?P<\1>\2)", routed_path("/a/{id}", paths)))
    assert pattern.fullmatch("/a/join") is None
    for name in ("joins", "join.", "list", "a%2Fb"):
        assert pattern.fullmatch(f"/a/{name}") is not None
    assert routed_path("/a/{id}/b", paths) == "/a/{id:[^/]+}/b"
    assert routed_path("/a/{id}/{b}", paths) == "/a/{id:[^/]+}/{b:(?!(?:b)(?:/|$))[^/]+}"
