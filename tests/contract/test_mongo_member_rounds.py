"""Pages of users with many groups: merged from several queries, and no more than are needed."""

from __future__ import annotations

import random
from typing import Any

import pytest

from chatsvc.core.ids import MAX_ID, format_id
from chatsvc.core.membership import Channel, Member
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record
from chatsvc.storage.mongo import conversations, entries, large_sets, listed_channels
from chatsvc.storage.mongo.own_documents import OwnDocuments
from chatsvc.storage.mongo.store import MongoStore
from testkit.groups import at, group_change, group_message, joined, left
from testkit.memory_store import MemoryDisk, MemoryStore
from testkit.records import KINDS, change, record
from tests.contract.support.mongo_script import Script, found, store_at
from tests.contract.support.stored import any_bounds, expect_same_pages, ids, shown

CHANNELS = [*(f",g:{n}" for n in range(4)), *(f",r:room {n}" for n in range(3))]
USERS = ("alice", "bob", "carol")
CROWD = ("alice", "bob", *(f"u{n}" for n in range(4)))


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "RANGES", 2)
    monkeypatch.setattr(conversations, "_DOCUMENTS_AT_ONCE", 2)
    monkeypatch.setattr(listed_channels, "_LOOKED_FOR_AT_ONCE", 1)
    monkeypatch.setattr(large_sets, "AT_ONCE", 3)


class Story:
    """Records at random, as a log might have accepted them."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.number = 0
        self.since: dict[tuple[str, str], int] = {}

    def batch(self, size: int) -> list[Record]:
        return [self._next() for _ in range(size)]

    def _next(self) -> Record:
        dice, number = self.dice, self.number + 1
        self.number = number
        channel, user = dice.choice(CHANNELS), dice.choice(USERS)
        named = tuple(dice.sample(USERS, 2)) if dice.random() < 0.15 else ()
        chance = dice.random()
        if chance < 0.25:
            since = self.since.pop((channel, user), 0)
            if since:
                return left(number, user, since, channel=channel)
            self.since[channel, user] = number
            shown_from = at(max(number + dice.choice((-20, 0, 0, 15)), 0))
            member = Member(user, at(number), visible_from=shown_from)
            return group_change(number, channel=channel, members=[member], settings=Channel())
        if chance < 0.6:
            return group_message(number, "x" * dice.choice((1, 300)), channel=channel, to=named)
        if chance < 0.7:
            return group_change(number, "read", channel=channel, to=named, target=user)
        if chance < 0.8:
            return group_change(number, channel=channel, to=named)
        if chance < 0.82:
            gone = Channel(0, b"{}", at(number))
            return group_change(number, channel=channel, settings=gone)
        to = dice.choice((CROWD, ("alice", "bob")))
        return record(number, to=to) if chance < 0.95 else change(number, to=to)


@pytest.mark.parametrize("seed", range(6))
async def test_any_page_is_that_of_a_store_in_memory(
    store: MongoStore, few_at_once: None, seed: int
) -> None:
    story = Story(seed)
    dice = story.dice
    model = MemoryStore(MemoryDisk(), kinds=KINDS)
    await model.open()
    written = story.batch(120)
    for one in (store, model):
        await one.write(written[:80])
        await one.write(written[60:])
        while await one.purge(at(10), limit=4):
            pass
    for _ in range(40):
        bounds = any_bounds(dice, 130)
        user, channel = dice.choice((*USERS, "u3", "nobody")), dice.choice(CHANNELS)
        await expect_same_pages(store, model, user, bounds)
        assert shown(await store.channel_page(channel, bounds)) == shown(
            await model.channel_page(channel, bounds)
        )
        assert shown(await store.channel_records(channel, bounds, reader=user)) == shown(
            await model.channel_records(channel, bounds, reader=user)
        )


class Asked:
    """The channels, each with its first and last id, that each query of records asks for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ranges: list[list[tuple[str, str, str]]] = []
        collect = OwnDocuments.collect

        async def noted(
            own: OwnDocuments, place: Any, query: Any, by: str, *rest: Any, **more: Any
        ) -> Any:
            if "$or" in query:
                self.ranges.append(
                    [(p["for_members"], p[by]["$gte"], p[by]["$lte"]) for p in query["$or"]]
                )
                assert more["index"] == "members"
            return await collect(own, place, query, by, *rest, **more)

        monkeypatch.setattr(OwnDocuments, "collect", noted)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


def range_of(channel: str, first: int, last: int) -> tuple[str, str, str]:
    return channel, format_id(at(first)), format_id(at(last))


async def test_the_newest_are_looked_for_where_they_can_be(
    store: MongoStore, asked: Asked, few_at_once: None
) -> None:
    await store.write([joined(n, "alice", channel=CHANNELS[n]) for n in range(7)])
    await store.write([group_message(10 + n, channel=CHANNELS[n]) for n in range(7)])
    assert ids(await store.user_page("alice", Bounds(2))) == [at(15), at(16)]
    newest = [range_of(CHANNELS[n], n, 10 + n) for n in (6, 5)]
    assert asked.ranges == [newest]
    asked.ranges.clear()
    assert ids(await store.user_page("alice", Bounds(3))) == [at(n) for n in (14, 15, 16)]
    assert asked.ranges == [newest, [range_of(CHANNELS[n], n, 10 + n) for n in (4, 3)]]


async def test_what_was_left_is_looked_into_up_to_the_leave(
    store: MongoStore, asked: Asked, few_at_once: None
) -> None:
    first, second = CHANNELS[:2]
    await store.write([joined(1, "alice", channel=first), group_message(2, channel=first)])
    await store.write([left(3, "alice", 1, channel=first), joined(4, "alice", channel=second)])
    await store.write([group_message(n, channel=first) for n in range(5, 9)])
    await store.write([group_message(9, channel=second)])
    assert ids(await store.user_page("alice", Bounds(1))) == [at(9)]
    assert asked.ranges == [[range_of(second, 4, 9), range_of(first, 1, 3)]]
    asked.ranges.clear()
    assert await store.user_page("alice", Bounds(9, after=at(3), before=at(9))) == []
    assert asked.ranges == [[range_of(second, 4, 9)]], "nothing is left above its end"


async def test_a_resume_looks_only_into_groups_that_have_something_new(
    store: MongoStore, asked: Asked
) -> None:
    await store.write([joined(n, "alice", channel=CHANNELS[n]) for n in range(7)])
    await store.write([group_message(10 + n, channel=CHANNELS[n]) for n in range(7)])
    await store.write([group_change(20, channel=CHANNELS[3])])
    bounds = Bounds(99, after=at(15), newest=False)
    assert ids(await store.user_records("alice", bounds)) == [at(16), at(20)]
    mine = [range_of(CHANNELS[6], 6, 16), range_of(CHANNELS[3], 3, 20)]
    assert asked.ranges == [mine, mine], "messages, and changes"


async def test_ranges_of_groups_are_bounded_each_and_their_index_is_named(script: Script) -> None:
    store = store_at(script.server.uri, KINDS)
    await store.open()
    first, last, end = (format_id(at(n)) for n in (1, 2, 9))
    held = {
        "messages_state": {
            "channel": ",g:a",
            "joined": first,
            "last": last,
            "visible_from": first,
        },
        "messages_conversations": {"_id": ",g:a", "last_record": end, "last_id": end},
    }
    script.answers["find"] = lambda ask: found(
        *[held[ask["find"]]]
        if ask["find"] in held and "audience" not in ask["filter"] and "dissolved" not in str(ask)
        else []
    )
    script.answers["aggregate"] = lambda _: found()
    await store.user_page("alice", Bounds(7, after=5, before=MAX_ID))
    between = {"$gte": first, "$lte": last, "$gt": format_id(5), "$lt": format_id(MAX_ID)}
    mine = {"$or": [{"for_members": ",g:a", "_id": between}]}
    page = script.last("find")
    assert (page["filter"], page["hint"]) == (mine, "members")
    await store.count_user("alice", Bounds(7, after=5, before=MAX_ID))
    count = script.last("aggregate")
    assert (count["pipeline"][0], count["hint"]) == ({"$match": mine}, "members")
    await store.close()
