"""``/api/messages`` over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable

import pytest

from chatsvc.core.ids import format_id
from tests.unit.support.http_service import Answer, Client, HttpService, running


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with running(HttpService()) as client:
        yield client


def contents(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [message["content"] for message in answer.json["messages"]]


async def test_send_answers_with_the_message(client: Client) -> None:
    answer = await client.send("alice", "bob", content="héllo", metadata={"a": [1, 2.5]})
    assert answer.status == 201
    message = answer.json
    assert message["type"] == "message"
    assert message["channel"] == "alice,bob"
    assert message["participants"] == ["alice", "bob"]
    assert message["sender"] == "alice"
    assert message["content"] == "héllo"
    assert message["metadata"] == {"a": [1, 2.5]}
    assert "client_id" not in message
    assert answer.headers["Location"] == f"/api/messages/{message['id']}"
    assert answer.headers["Content-Type"] == "application/json"
    [record] = client.service.log.records
    assert record.body == answer.body
    assert format_id(record.id) == message["id"]


async def test_participants_are_a_set(client: Client) -> None:
    first = await client.send("bob", "alice", "bob")
    assert first.json["participants"] == ["alice", "bob"]
    assert first.json["sender"] == "bob"


async def test_a_conversation_is_named_by_its_key_too(client: Client) -> None:
    body = {"channel": "alice,bob", "content": "x"}
    answer = await client.call("POST", "/api/messages", json=body)
    assert answer.status == 201
    assert answer.json["participants"] == ["alice", "bob"]
    for wrong, pointer, code in (
        ({"content": "x"}, "/participants", "missing"),
        (body | {"participants": ["alice"]}, "/channel", "one_conversation"),
        ({"participants": None, "content": "x"}, "/participants", "wrong_type"),
        ({"channel": None, "content": "x"}, "/channel", "wrong_type"),
        ({"channel": "bob,alice", "content": "x"}, "/channel", "not_sorted"),
    ):
        refused = await client.call("POST", "/api/messages", json=wrong)
        assert refused.status == 422
        assert [(e["pointer"], e["code"]) for e in refused.json["errors"]] == [(pointer, code)]


async def test_the_same_client_id_is_the_same_message(client: Client) -> None:
    first = await client.send("alice", "bob", client_id="once")
    assert "Idempotent-Replayed" not in first.headers
    again = await client.send("alice", "bob", client_id="once")
    assert (first.status, again.status) == (201, 200)
    assert again.body == first.body
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert len(client.service.log.records) == 1


async def test_the_header_is_another_place_for_the_client_id(client: Client) -> None:
    first = await client.send("alice", "bob", headers={"Idempotency-Key": "k1"})
    assert first.json["client_id"] == "k1"
    again = await client.send("alice", "bob", client_id="k1", headers={"Idempotency-Key": "k1"})
    assert again.status == 200
    assert again.json["id"] == first.json["id"]


async def test_header_and_field_that_differ_are_refused(client: Client) -> None:
    answer = await client.send("alice", "bob", client_id="k1", headers={"Idempotency-Key": "k2"})
    assert answer.status == 422
    assert answer.json["errors"][0]["pointer"] == "/Idempotency-Key"
    assert client.service.log.records == []


async def test_another_content_under_the_same_client_id_names_the_first(client: Client) -> None:
    first = await client.send("alice", "bob", client_id="once")
    other = await client.send("alice", "bob", content="other", client_id="once")
    assert other.status == 409
    assert other.json["code"] == "client_id_conflict"
    assert other.json["id"] == first.json["id"]


async def test_the_device_is_beside_the_record_and_not_in_the_message(client: Client) -> None:
    answer = await client.send("alice", "bob", headers={"Chatsvc-Device": "phone-1"})
    assert answer.status == 201
    assert client.service.log.records[0].origin == "phone-1"
    assert b"phone-1" not in answer.body


async def test_a_log_at_its_bound_is_503_with_retry_after(client: Client) -> None:
    client.service.log.refusing = True
    answer = await client.send("alice", "bob")
    assert answer.status == 503
    assert answer.json["code"] == "log_unavailable"
    assert answer.headers["Retry-After"] == "3"


async def test_a_conversation_reads_oldest_first(client: Client) -> None:
    ids = [(await client.send("alice", "bob", content=str(n))).json["id"] for n in range(5)]
    await client.send("alice", "carol", content="elsewhere")
    path = "/api/messages/get?participants=bob,alice"
    page = await client.call("GET", f"{path}&limit=3", user="bob")
    assert contents(page) == ["2", "3", "4"]
    assert (page.json["before"], page.json["after"]) == (ids[2], ids[4])
    assert page.json["has_more"] is True
    assert page.json["complete"] is True
    back = await client.call("GET", f"{path}&before={ids[2]}")
    assert contents(back) == ["0", "1"]
    assert back.json["has_more"] is False
    on = await client.call("GET", f"{path}&after={ids[1]}&limit=2")
    assert contents(on) == ["2", "3"]
    assert on.json["has_more"] is True
    around = await client.call("GET", f"{path}&around={ids[2]}&limit=3")
    assert contents(around) == ["1", "2", "3"]
    by_channel = await client.call("GET", "/api/messages/get?channel=alice,bob")
    assert contents(by_channel) == ["0", "1", "2", "3", "4"]


async def test_the_messages_of_a_page_are_the_bytes_of_the_201(client: Client) -> None:
    first = await client.send("alice", "bob", content="a", metadata={"x": 1.0})
    page = await client.call("GET", "/api/messages/get?participants=alice,bob")
    assert first.body in page.body


async def test_an_empty_page_gives_back_the_bound(client: Client) -> None:
    path = "/api/messages/get?participants=alice,bob"
    page = await client.call("GET", path)
    assert page.json == {
        "messages": [],
        "has_more": False,
        "before": None,
        "after": None,
        "complete": True,
    }
    page = await client.call("GET", f"{path}&after=00000000000000ff")
    assert (page.json["before"], page.json["after"]) == ("00000000000000ff",) * 2


async def test_all_messages_of_the_caller(client: Client) -> None:
    await client.send("alice", "bob", content="1")
    await client.send("carol", "bob", content="2")
    await client.send("carol", "dave", content="3")
    assert contents(await client.call("GET", "/api/messages", user="bob")) == ["1", "2"]
    assert contents(await client.call("GET", "/api/messages?channel=bob,carol", user="bob")) == [
        "2"
    ]


@pytest.mark.parametrize(
    "query",
    [
        "participants=bob,carol",
        "channel=bob,carol",
        "channel=%2Csha256%3A" + "0" * 64,
        "channel=%2Cg%3Anone",
    ],
)
async def test_what_is_not_the_callers_is_403_known_or_not(client: Client, query: str) -> None:
    unknown = await client.call("GET", f"/api/messages/get?{query}")
    await client.send("bob", "carol")
    known = await client.call("GET", f"/api/messages/get?{query}")
    for answer in (unknown, known):
        assert answer.status == 403
        assert answer.json["code"] == "not_a_participant"
    unknown_problem, known_problem = unknown.json, known.json
    unknown_problem.pop("request_id")
    known_problem.pop("request_id")
    assert unknown_problem == known_problem


async def test_a_hashed_channel_is_for_those_who_are_in_it(client: Client) -> None:
    people = [f"user-{n:03d}-{'x' * 100}" for n in range(4)]
    sent = await client.send(*people)
    channel = sent.json["channel"]
    assert channel.startswith(",sha256:")
    path = f"/api/messages/get?channel={channel.replace(',', '%2C')}"
    assert contents(await client.call("GET", path, user=people[3])) == ["hello"]
    beyond = await client.call("GET", f"{path}&after=ffffffffffffff00", user=people[3])
    assert contents(beyond) == []
    assert (await client.call("GET", path, user="mallory")).status == 403


async def test_one_message_and_its_state(client: Client) -> None:
    sent = await client.send("alice", "bob")
    path = sent.headers["Location"]
    answer = await client.call("GET", path, user="bob")
    assert answer.json == sent.json | {"state": "accepted"}
    client.service.log.advance_watermark(client.service.log.records[-1].id)
    assert (await client.call("GET", path)).json["state"] == "stored"


async def test_a_message_of_others_is_404_as_one_that_is_not_there(client: Client) -> None:
    sent = await client.send("alice", "bob")
    others = await client.call("GET", sent.headers["Location"], user="mallory")
    nobodys = await client.call("GET", "/api/messages/00000000000000ff", user="mallory")
    assert others.status == nobodys.status == 404
    assert others.json["detail"] == nobodys.json["detail"]


async def test_a_store_that_is_away_is_503(client: Client) -> None:
    client.service.history.away = True
    answer = await client.call("GET", "/api/messages/get?participants=alice,bob")
    assert answer.status == 503
    assert answer.json["code"] == "store_unavailable"
    assert answer.headers["Retry-After"] == "1"


async def test_a_large_set_that_never_spoke_is_an_empty_page_for_its_people(client: Client) -> None:
    people = ",".join(f"user-{n:03d}-{'x' * 100}" for n in range(4))
    page = await client.call("GET", f"/api/messages/get?participants=alice,{people}")
    assert contents(page) == []


@pytest.mark.parametrize("bound", ["", "&before=ffffffffffffff00", "&around=00000000000000ff"])
async def test_of_a_hashed_channel_nothing_is_read_for_who_is_not_in_it(
    client: Client, bound: str
) -> None:
    people = [f"user-{n:03d}-{'x' * 100}" for n in range(4)]
    foreign = (await client.send(*people, content="x" * 16_000)).json["channel"]
    unknown = ",sha256:" + "0" * 64
    history = client.service.history
    asked: list[tuple[object, ...]] = []

    def note(name: str) -> None:
        call = getattr(history, name)

        def noting(*args: object, **options: object) -> Awaitable[object]:
            asked.append((name, *args))
            found: Awaitable[object] = call(*args, **options)
            return found

        setattr(history, name, noting)

    for name in ("channel_page", "channel_around", "user_page", "participants", "get"):
        note(name)
    for channel in (foreign, unknown):
        path = f"/api/messages/get?channel={channel.replace(',', '%2C')}{bound}"
        assert (await client.call("GET", path, user="mallory")).status == 403
    assert asked == [
        ("participants", "mallory", foreign),
        ("participants", "mallory", unknown),
    ]
