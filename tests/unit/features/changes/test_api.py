"""``GET /api/changes`` over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import format_id
from chatsvc.core.record import Record
from testkit.records import change, record
from tests.unit.support.fake_log import FakeRecords
from tests.unit.support.http_service import Client, HttpService, running


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with running(HttpService()) as client:
        yield client


def put(client: Client, *records: Record) -> None:
    client.service.log.records += records
    client.service.log.tail.extend(records)


async def test_frames_come_as_they_went_out_live(client: Client) -> None:
    sent = [record(1), change(2), record(3, to=("carol", "dave")), change(4, "reaction")]
    put(client, *sent)
    answer = await client.call("GET", "/api/changes", user="bob")
    assert answer.status == 200
    assert [frame["type"] for frame in answer.json["frames"]] == ["message", "edit", "reaction"]
    for one in (sent[0], sent[1], sent[3]):
        assert one.body in answer.body
    assert {name: value for name, value in answer.json.items() if name != "frames"} == {
        "up_to": format_id(sent[3].id),
        "has_more": False,
        "complete": True,
    }


async def test_pages_go_on_with_up_to(client: Client) -> None:
    sent = [change(n) for n in range(1, 6)]
    put(client, *sent)
    first = (await client.call("GET", "/api/changes?limit=3", user="bob")).json
    assert [frame["id"] for frame in first["frames"]] == [format_id(one.id) for one in sent[:3]]
    assert first["has_more"] is True
    assert first["up_to"] == format_id(sent[2].id)
    path = f"/api/changes?limit=3&after={first['up_to']}"
    second = (await client.call("GET", path, user="bob")).json
    assert [frame["id"] for frame in second["frames"]] == [format_id(one.id) for one in sent[3:]]
    assert second["has_more"] is False


async def test_kinds_and_channel_choose(client: Client) -> None:
    put(
        client,
        record(1),
        change(2, "edit"),
        change(3, "reaction"),
        change(4, "edit", to=("bob", "carol")),
    )
    answer = await client.call("GET", "/api/changes?kinds=edit,message", user="bob")
    assert [frame["type"] for frame in answer.json["frames"]] == ["message", "edit", "edit"]
    answer = await client.call("GET", "/api/changes?kinds=edit&channel=alice,bob", user="bob")
    assert [frame["channel"] for frame in answer.json["frames"]] == ["alice,bob"]
    answer = await client.call("GET", "/api/changes?kinds=vote", user="bob")
    assert answer.json["frames"] == [], "a kind of a newer version is no error"


@pytest.mark.parametrize("channel", ["alice,bob", ",sha256:" + "0" * 64])
async def test_a_conversation_of_others_and_an_unknown_one_are_refused_alike(
    client: Client, channel: str
) -> None:
    put(client, record(1))
    answer = await client.call("GET", f"/api/changes?channel={channel}", user="carol")
    assert answer.status == 403
    assert answer.json["code"] == "not_a_participant"
    assert answer.json["errors"][0]["pointer"] == "/channel"


@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        ("limit=0", "/limit", "too_small"),
        ("limit=1001", "/limit", "too_large"),
        ("after=x", "/after", "bad_id"),
        ("kinds=", "/kinds", "too_few"),
        ("kinds=Edit", "/kinds", "bad_kind"),
        ("kinds=edit,", "/kinds", "bad_kind"),
        ("kinds=" + ",".join(["edit"] * 33), "/kinds", "too_many"),
        ("channel=", "/channel", "too_short"),
        ("before=0000000000000001", "/before", "unknown_field"),
    ],
)
async def test_bad_input_names_the_parameter(
    client: Client, query: str, pointer: str, code: str
) -> None:
    answer = await client.call("GET", f"/api/changes?{query}")
    assert answer.status == 422
    assert answer.json["errors"][0]["pointer"] == pointer
    assert answer.json["errors"][0]["code"] == code


async def test_with_the_store_away_it_is_unavailable(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise StoreUnavailable("the store does not answer")

    monkeypatch.setattr(FakeRecords, "user_page", away)
    answer = await client.call("GET", "/api/changes")
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) >= 1
