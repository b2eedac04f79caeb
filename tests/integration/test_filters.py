"""What a user has blocked or left, by the public interface and over both stores."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chatsvc.core.ids import parse_id
from chatsvc.core.membership import BLOCK, LEFT
from testkit.group_drafts import filtering
from testkit.records import draft
from testkit.talking import Talk, talk
from testkit.waiting import until
from tests.integration.support.clubs import ClubService
from tests.integration.support.clubs_http import contents, done, get, stored

BOTH, THREE = ("alice", "bob"), ("alice", "bob", "carol")


@pytest.fixture
async def service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store_settings: dict[str, str]
) -> AsyncIterator[ClubService]:
    chosen = {"RESUME_MAX": "20", "RECENT_BYTES": "1MiB", **store_settings}
    made = ClubService(tmp_path, monkeypatch, **chosen)
    await made.start()
    await until(lambda: not made.log.exchange.state_due)
    yield made
    await made.stop()


async def put_filter(service: ClubService, sort: str, of: str, *, since: int = 0) -> int:
    """Begin a filter of bob's, or end the one that began with a record; that record's id."""
    return (await service.log.append(filtering(sort, of, since=since))).id


async def say(service: ClubService, sender: str, content: str, *, to: tuple[str, ...]) -> str:
    sent = await service.log.append(draft(content, to=to, sender=sender))
    return f"{sent.id:016x}"


async def listed(service: ClubService, user: str) -> dict[str, str]:
    """The newest message that is shown, by conversation."""
    _, page = await get(service, user, "/api/conversations")
    return {one["channel"]: one["last_message"]["content"] for one in page["conversations"]}


async def replayed(one: Talk) -> list[str]:
    """The messages that a resume sends."""
    frames: list[Any] = []
    while not frames or frames[-1]["type"] != "caught_up":
        frames.append(await one.next())
    return said(frames)


def said(frames: list[Any]) -> list[str]:
    return [one["content"] for one in frames if one["type"] == "message"]


async def test_a_block_hides_what_its_sender_writes_for_good(service: ClubService) -> None:
    before = await say(service, "alice", "before", to=BOTH)
    async with talk(service.url, "bob") as bob, talk(service.url, "carol") as carol:
        since = await put_filter(service, BLOCK, "alice")
        hidden = await say(service, "alice", "hidden", to=BOTH)
        await say(service, "alice", "to three", to=THREE)
        await say(service, "carol", "of carol", to=THREE)
        end = await put_filter(service, BLOCK, "alice", since=since)
        await say(service, "alice", "after", to=BOTH)
        assert said(await bob.ping()) == ["of carol", "after"]
        assert said(await carol.ping()) == ["to three"]
        cursor = bob.hello["cursor"]
    assert end > since > parse_id(before)
    for _ in ("tail", "store"):
        assert await contents(service, "bob") == ["before", "of carol", "after"]
        assert await contents(service, "bob", channel="alice,bob") == ["before", "after"]
        assert await contents(service, "bob", channel="alice,bob,carol") == ["of carol"]
        assert await contents(service, "alice", channel="alice,bob") == [
            "before",
            "hidden",
            "after",
        ]
        unknown = await get(service, "bob", f"/api/messages/{parse_id(hidden) + 1:016x}")
        foreign = await get(service, "bob", f"/api/messages/{hidden}")
        assert foreign[0] == unknown[0] == 404
        assert foreign[1]["code"] == unknown[1]["code"]
        assert (await get(service, "alice", f"/api/messages/{hidden}"))[0] == 200
        around = await get(service, "bob", "/api/messages", channel="alice,bob", around=hidden)
        assert [one["content"] for one in around[1]["messages"]] == ["before", "after"]
        assert await listed(service, "bob") == {"alice,bob": "after", "alice,bob,carol": "of carol"}
        async with talk(service.url, "bob", since=cursor) as bob:
            assert bob.hello["recovered"] is True
            assert await replayed(bob) == ["of carol", "after"]
        await stored(service)


async def test_a_blocked_sender_brings_no_gap(service: ClubService) -> None:
    async with talk(service.url, "bob") as bob:
        cursor = bob.hello["cursor"]
    await put_filter(service, BLOCK, "alice")
    for number in range(50):
        await say(service, "alice", str(number), to=BOTH)
    await say(service, "carol", "hello", to=("bob", "carol"))
    for _ in ("tail", "store"):
        async with talk(service.url, "bob", since=cursor) as bob:
            assert bob.hello["recovered"] is True
            assert await replayed(bob) == ["hello"]
        await stored(service)


async def test_a_set_that_was_left_is_out_until_the_return(service: ClubService) -> None:
    await say(service, "alice", "before", to=BOTH)
    async with talk(service.url, "bob") as bob:
        cursor = bob.hello["cursor"]
        since = await put_filter(service, LEFT, "alice,bob")
        await say(service, "alice", "meanwhile", to=BOTH)
        await say(service, "alice", "to three", to=THREE)
        assert said(await bob.ping()) == ["to three"]
        assert list(await listed(service, "bob")) == ["alice,bob,carol"]
        await put_filter(service, LEFT, "alice,bob", since=since)
        await say(service, "alice", "again", to=BOTH)
        assert said(await bob.ping()) == ["again"]
    for _ in ("tail", "store"):
        assert (await listed(service, "bob"))["alice,bob"] == "again"
        async with talk(service.url, "bob", since=cursor) as bob:
            assert await replayed(bob) == ["to three", "again"]
        assert await contents(service, "bob") == ["before", "to three", "again"]
        # Its pages show everything: its participants never change.
        shown = await contents(service, "bob", channel="alice,bob")
        assert shown == ["before", "meanwhile", "again"]
        await stored(service)


async def test_who_is_removed_by_a_blocked_person_is_told(service: ClubService) -> None:
    await put_filter(service, BLOCK, "alice")
    async with talk(service.url, "bob") as bob:
        await done(service, "alice", "join")
        await done(service, "bob", "join")
        await done(service, "alice", "say", content="hidden")
        await done(service, "alice", "leave")
        frames = [one for one in await bob.ping() if one["type"] in ("member", "message")]
        assert [(one["type"], one.get("users")) for one in frames] == [
            ("member", ["bob"]),
            ("member", ["alice"]),
        ]
    assert await contents(service, "bob", channel=",g:team") == []
    assert await listed(service, "bob") == {}


async def test_filters_hold_after_a_restart_and_a_death_of_the_log(
    service: ClubService, tmp_path: Path
) -> None:
    await put_filter(service, BLOCK, "alice")
    await say(service, "alice", "hidden", to=BOTH)
    await say(service, "bob", "shown", to=BOTH)
    await stored(service)
    await service.stop()
    await service.start()
    assert await contents(service, "bob") == ["shown"]
    await service.stop()
    for file in (tmp_path / "data").glob("log.db*"):
        file.unlink()
    await service.start()
    await until(lambda: not service.log.exchange.state_due)
    async with talk(service.url, "bob") as bob:
        await say(service, "alice", "hidden too", to=BOTH)
        assert said(await bob.ping()) == []
    assert await contents(service, "bob") == ["shown"]
