"""Groups by the public interface, over both stores: live, replayed, in pages, after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from chatsvc.core.ids import now_ms
from chatsvc.log.local import maintenance
from testkit.client_ids import uuid7_at
from testkit.talking import Talk, talk
from testkit.waiting import until
from tests.integration.support.clubs import ClubService
from tests.integration.support.clubs_http import (
    TEAM,
    adopted,
    contents,
    done,
    frames,
    get,
    post,
    stored,
)

Build = Callable[..., ClubService]


@pytest.fixture
async def build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store_settings: dict[str, str]
) -> AsyncIterator[Build]:
    made: list[ClubService] = []

    def one(**more: str) -> ClubService:
        # It keeps little in memory once it is stored.
        made.append(
            ClubService(tmp_path, monkeypatch, RECENT_BYTES="1MiB", **store_settings, **more)
        )
        return made[-1]

    yield one
    for service in made:
        await service.stop()


@pytest.fixture
async def service(build: Build) -> ClubService:
    made = build()
    await made.start()
    await adopted(made)
    return made


async def received(one: Talk, count: int) -> list[str]:
    """So many frames of records."""
    found = [await one.next("cursor") for _ in range(count)]
    return [frame.get("content") or " ".join(frame["users"]) for frame in found]


async def test_members_receive_what_is_said_between_their_join_and_their_leave(
    service: ClubService,
) -> None:
    await done(service, "alice", "join")
    async with talk(service.url, "alice") as alice, talk(service.url, "bob") as bob:
        await done(service, "alice", "say", content="before")
        await bob.put({"type": "club_join", "channel": TEAM, "ref": "r"})
        joined = await bob.next("cursor", "member")
        assert (joined["type"], joined["ref"]) == ("club_joined", "r")
        await done(service, "alice", "say", content="between")
        await done(service, "bob", "say", content="hello")
        await done(service, "bob", "leave")
        await done(service, "alice", "say", content="after")
        await done(service, "carol", "join")
        assert await received(alice, 4) == ["bob", "hello", "bob", "carol"]
        assert [one.get("content") for one in await bob.ping() if one["type"] == "message"] == [
            "between"
        ]


async def test_a_frame_says_how_many_members_there_are(service: ClubService) -> None:
    async with talk(service.url, "alice") as alice:
        await done(service, "alice", "join")
        await done(service, "bob", "join")
        first, second = [await alice.next("cursor") for _ in range(2)]
    assert [first["member_count"], second["member_count"]] == [1, 2]
    assert (second["type"], second["channel"], second["users"]) == ("member", TEAM, ["bob"])


async def test_who_is_no_member_is_refused(service: ClubService) -> None:
    await done(service, "alice", "join")
    assert (await post(service, "bob", "say", content="x"))[0] == 403
    for channel in (TEAM, ",g:unknown"):
        for path in ("/api/messages", "/api/changes"):
            status, problem = await get(service, "bob", path, channel=channel)
            assert (status, problem["code"]) == (403, "not_a_participant")
    async with talk(service.url, "bob") as bob:
        await bob.put({"type": "send", "channel": TEAM, "content": "x", "ref": "r"})
        assert (await bob.next("cursor"))["code"] == "not_a_member"


@pytest.mark.parametrize("is_stored", [False, True], ids=["tail", "store"])
async def test_a_resume_has_what_was_missed_and_nothing_else(
    service: ClubService, is_stored: bool
) -> None:
    await done(service, "alice", "join")
    async with talk(service.url, "bob") as bob:
        cursor = bob.hello["cursor"]
    await done(service, "alice", "say", content="before")
    await done(service, "bob", "join")
    await done(service, "alice", "say", content="between")
    await done(service, "bob", "leave")
    await done(service, "alice", "say", content="after")
    if is_stored:
        await stored(service)
    async with talk(service.url, "bob", since=cursor) as bob:
        assert bob.hello["recovered"] is True
        assert await received(bob, 3) == ["bob", "between", "bob"]
        assert (await bob.next("cursor"))["type"] == "caught_up"
        await done(service, "alice", "say", content="later")
        assert [one["type"] for one in await bob.ping() if one["type"] == "message"] == []


@pytest.mark.parametrize("is_stored", [False, True], ids=["tail", "store"])
async def test_pages_have_what_a_member_may_see(service: ClubService, is_stored: bool) -> None:
    await done(service, "alice", "join")
    await done(service, "alice", "say", content="before")
    await done(service, "bob", "join")
    await done(service, "alice", "say", content="between")
    await done(service, "bob", "leave")
    await done(service, "alice", "say", content="after")
    if is_stored:
        await stored(service)
    everything = ["before", "between", "after"]
    assert await contents(service, "alice") == everything
    assert await contents(service, "alice", channel=TEAM) == everything
    assert await contents(service, "bob") == ["between"]
    assert await contents(service, "bob", channel=TEAM) == ["between"]
    assert await contents(service, "carol") == []
    assert await frames(service, "bob") == ["bob", "between", "bob"]
    assert await frames(service, "bob", channel=TEAM) == ["bob", "between", "bob"]
    for user, last in (("alice", "after"), ("bob", "between")):
        _, page = await get(service, user, "/api/conversations")
        (entry,) = page["conversations"]
        assert (entry["channel"], entry["participants"]) == (TEAM, [])
        assert entry["last_message"]["content"] == last


async def test_a_message_of_others_is_unknown(service: ClubService) -> None:
    await done(service, "alice", "join")
    secret = await done(service, "alice", "say", content="secret")
    await done(service, "bob", "join")
    await stored(service)
    assert (await get(service, "alice", f"/api/messages/{secret}"))[0] == 200
    foreign = await get(service, "bob", f"/api/messages/{secret}")
    unknown = await get(service, "bob", f"/api/messages/{int(secret, 16) + 1:016x}")
    assert foreign[0] == unknown[0] == 404
    assert foreign[1]["code"] == unknown[1]["code"]


async def test_a_group_survives_restarts_and_a_death_of_the_log(
    build: Build, tmp_path: Path
) -> None:
    first = build()
    await first.start()
    await adopted(first)
    await done(first, "alice", "join")
    await done(first, "alice", "say", content="1")
    await first.stop()
    second = build()
    await second.start()
    assert (await post(second, "alice", "join"))[1]["answer"] == "member"
    await done(second, "alice", "say", content="2")
    await stored(second)
    await second.stop()
    # The log is lost: who is a member is read from the store.
    for file in (tmp_path / "data").glob("log.db*"):
        file.unlink()
    third = build()
    await third.start()
    async with talk(third.url, "alice") as alice:
        await adopted(third)
        assert (await post(third, "alice", "join"))[1]["answer"] == "member"
        await done(third, "bob", "join")
        await done(third, "bob", "say", content="3")
        assert await received(alice, 2) == ["bob", "3"]
    assert await contents(third, "alice", channel=TEAM) == ["1", "2", "3"]
    assert (await get(third, "carol", "/api/messages", channel=TEAM))[0] == 403


async def test_two_hundred_join_at_once_by_socket_and_http(service: ClubService) -> None:
    await done(service, "alice", "join")
    async with talk(service.url, "alice") as alice:
        ids = await asyncio.gather(
            *(done(service, f"user {at}", "join") for at in range(200)),
        )
        records = set(ids)
        assert len(records) < 200
        seen = [await alice.next("cursor") for _ in records]
    users = [user for frame in seen for user in frame["users"]]
    assert sorted(users) == sorted(f"user {at}" for at in range(200))
    assert seen[-1]["member_count"] == 201


CLIENT_IDS = {f"user {at}": uuid7_at(now_ms(), at + 1) for at in range(60)}


@pytest.mark.parametrize("since", ["at once", "not in memory", "the window is over", "a new log"])
async def test_a_join_of_many_in_one_record_is_known_for_ever(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, since: str
) -> None:
    monkeypatch.setattr(maintenance, "_SECONDS", 0.05)
    service = build(IDEMPOTENCY_SECONDS="1" if since == "the window is over" else "600")
    await service.start()
    await adopted(service)
    posts = (post(service, user, "join", client_id=known) for user, known in CLIENT_IDS.items())
    answers = dict(zip(CLIENT_IDS, await asyncio.gather(*posts), strict=True))
    user, first = next(
        (user, answer) for user, answer in answers.items() if len(answer[1]["record"]["users"]) > 2
    )
    assert first[1]["record"]["member_count"] > 2
    await done(service, user, "leave")
    key = (user, TEAM, CLIENT_IDS[user])
    if since != "at once":
        await stored(service)
    if since == "the window is over":
        await until(lambda: service.log.first_use(key) is None)
    if since == "a new log":
        await service.stop()
        for file in (tmp_path / "data").glob("log.db*"):
            file.unlink()
        await service.start()
        await adopted(service)
        await until(lambda: not service.log.past_is_unknown)
    head = service.log.tail.head
    for _ in range(2):
        assert await post(service, user, "join", client_id=CLIENT_IDS[user]) == first
    assert service.log.tail.head == head
    assert (await post(service, user, "say", content="x"))[0] == 403
    other = uuid7_at(now_ms(), 99)
    assert await done(service, user, "join", client_id=other) != first[1]["id"]


async def test_a_join_that_is_sent_twice_at_once_is_one(service: ClubService) -> None:
    client_id = uuid7_at(now_ms())
    posts = (post(service, "alice", "join", client_id=client_id) for _ in range(20))
    answers = await asyncio.gather(*posts)
    assert [one == answers[0] for one in answers] == [True] * 20
    assert answers[0][1]["record"]["member_count"] == 1
