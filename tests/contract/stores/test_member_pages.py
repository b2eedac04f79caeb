"""Records of groups and rooms are for whoever's interval holds them, or for those they name."""

from __future__ import annotations

import pytest

from chatsvc.core.ids import MAX_ID
from chatsvc.core.membership import Channel, Member
from chatsvc.core.page import Bounds, Entry
from chatsvc.core.record import Record
from chatsvc.storage.ports.conversations import Members
from chatsvc.storage.ports.message_store import MessageStore
from testkit.groups import GROUP, ROOM, at, group_change, group_message, joined, left
from testkit.records import change, record
from tests.contract.support.stored import expect, ids

EVERYTHING = Bounds(100)


def numbers(entries: list[Entry]) -> list[int]:
    """Which records of the log they are."""
    return [(one.id - at(0)) // (at(1) - at(0)) for one in entries]


async def listed(store: MessageStore, user: str) -> list[tuple[str, int]]:
    found = await store.conversations(user, before=MAX_ID, limit=100)
    assert [one.participants for one in found if one.channel[0] == ","] == [
        () for one in found if one.channel[0] == ","
    ]
    return [(one.channel, one.last_id) for one in found]


async def test_a_record_is_a_members_from_the_join_to_the_leave(store: MessageStore) -> None:
    await store.write([joined(1, "alice"), group_message(2), joined(3, "bob"), group_message(4)])
    await store.write([group_change(5), left(6, "bob", 3), group_message(7), joined(8, "bob")])
    await store.write([group_message(9)])
    assert numbers(await store.user_records("alice", EVERYTHING)) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert numbers(await store.user_page("alice", EVERYTHING)) == [2, 4, 7, 9]
    assert numbers(await store.user_records("bob", EVERYTHING)) == [3, 4, 5, 6, 8, 9]
    assert numbers(await store.user_page("bob", EVERYTHING)) == [4, 9]
    assert await store.count_user("bob", EVERYTHING) == 2
    assert await store.count_user_records("bob", EVERYTHING) == 6
    assert await store.user_records("carol", EVERYTHING) == []
    assert await store.count_user("carol", EVERYTHING) == 0


async def test_a_dissolved_channel_ends_for_everybody(store: MessageStore) -> None:
    await store.write([joined(1, "alice", "bob"), group_message(2), left(3, "bob", 1)])
    await store.write([group_message(4), group_change(5, settings=Channel(0, b"{}", at(5)))])
    await store.write([group_message(6)])
    assert numbers(await store.user_records("alice", EVERYTHING)) == [1, 2, 3, 4, 5]
    assert numbers(await store.user_records("bob", EVERYTHING)) == [1, 2, 3]
    assert await listed(store, "alice") == [(GROUP, at(4))]
    assert await listed(store, "bob") == [(GROUP, at(2))]


async def test_entries_are_what_was_written(store: MessageStore) -> None:
    written = [
        joined(1, "alice", "bob"),
        group_message(2, '"participants":[] and ,"participants":[]'),
        group_message(3, to=("bob", "carol"), client_id="k"),
        group_change(4, to=("bob",)),
        group_change(5, "reaction", target=str(at(2))),
    ]
    assert await store.write(written) == []
    assert await store.write(written) == []
    expect(await store.user_records("bob", EVERYTHING), written)
    expect(await store.channel_records(GROUP, EVERYTHING, reader="bob"), written)
    expect(await store.channel_page(GROUP, EVERYTHING), written[1:2])
    for one in written:
        found = await store.get_record(one.id)
        assert found is not None
        expect([found], [one])
        assert found.kind == one.kind
    message = await store.get(at(3))
    assert message is not None
    expect([message], [written[2]])
    assert await store.find_client_id("alice", GROUP, "k") == (at(3), written[2].digest)


async def test_a_record_that_names_people_is_for_them_alone(store: MessageStore) -> None:
    written: list[Record] = [
        joined(1, "alice", "bob"),
        group_message(2),
        group_change(3, to=("alice", "carol")),
        group_message(4, to=("carol",)),
        group_change(5, channel=ROOM, to=("bob",)),
        group_message(6, to=("bob",)),
    ]
    assert await store.write(written) == []
    pages = {
        user: numbers(await store.user_records(user, EVERYTHING))
        for user in ("alice", "bob", "carol", "dave")
    }
    assert pages == {"alice": [1, 2, 3], "bob": [1, 2, 5, 6], "carol": [3, 4], "dave": []}
    assert numbers(await store.user_page("carol", EVERYTHING)) == [4]
    assert numbers(await store.user_page("bob", EVERYTHING)) == [2, 6]
    assert await store.count_user("bob", EVERYTHING) == 2
    assert await store.count_user_records("carol", EVERYTHING) == 2
    of_group = {
        user: numbers(await store.channel_records(GROUP, EVERYTHING, reader=user))
        for user in ("alice", "bob", "carol", "dave")
    }
    assert of_group == {
        "alice": [1, 2, 3],
        "bob": [1, 2, 6],
        "carol": [1, 2, 3, 4],
        "dave": [1, 2],
    }
    assert numbers(await store.channel_page(GROUP, EVERYTHING)) == [2]
    assert numbers(await store.channel_records(ROOM, EVERYTHING, reader="bob")) == [5]
    assert await store.channel_records(ROOM, EVERYTHING, reader="alice") == []


async def test_a_channels_first_record_may_name_people(store: MessageStore) -> None:
    await store.write([group_change(1, to=("alice", "bob"))])
    assert await store.write([group_change(2, to=("carol",)), group_message(3)]) == []
    assert numbers(await store.user_records("alice", EVERYTHING)) == [1]
    await store.put_state([])
    await store.write([joined(4, "alice")])
    assert numbers(await store.user_records("alice", EVERYTHING)) == [1, 4]


@pytest.mark.parametrize("newest", [True, False])
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_pages_of_many_sorts_are_one_order(
    store: MessageStore, newest: bool, limit: int
) -> None:
    crowd = ("alice", "dave", "eve", "frank", "grace")
    written = [
        joined(1, "alice"),
        joined(2, "alice", channel=ROOM),
        record(3, to=("alice", "bob")),
        group_message(4),
        record(5, to=crowd),
        group_message(6, channel=ROOM),
        change(7, to=crowd),
        left(8, "alice", 1),
        group_message(9),
        group_change(10, to=("alice",)),
        group_message(11, channel=ROOM),
        joined(12, "alice"),
        group_message(13),
    ]
    assert await store.write(written) == []
    own = [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13]
    for after in (0, 3, 6, 9, 12):
        for before in (1, 5, 9, 10, 13, 99):
            inside = [n for n in own if after < n < before]
            expected = inside[-limit:] if newest else inside[:limit]
            bounds = Bounds(limit, at(after), at(before), newest)
            assert numbers(await store.user_records("alice", bounds)) == expected
            assert await store.count_user_records("alice", bounds) == len(expected)


@pytest.mark.parametrize("newest", [True, False])
async def test_a_page_of_a_group_ends_with_the_record_that_passes_its_bytes(
    store: MessageStore, newest: bool
) -> None:
    await store.write([joined(1, "alice"), *(group_message(n, "x" * 1000) for n in range(2, 20))])
    bounds = Bounds(100, newest=newest, max_bytes=2500)
    found = ids(await store.user_page("alice", bounds))
    assert found == [at(n) for n in ((17, 18, 19) if newest else (2, 3, 4))]


async def test_of_a_latest_kind_the_newest_is_kept_whomever_it_names(store: MessageStore) -> None:
    await store.write([joined(1, "alice", "bob")])
    await store.write([group_change(2, "read", target="x"), group_change(3, "read", target="y")])
    await store.write([group_change(4, "read", target="x", to=("bob", "carol"))])
    assert numbers(await store.user_records("alice", EVERYTHING)) == [1, 3]
    assert await store.count_user_records("alice", EVERYTHING) == 2
    assert numbers(await store.user_records("alice", Bounds(1))) == [3]
    assert numbers(await store.user_records("carol", EVERYTHING)) == [4]
    await store.write([group_change(5, "read", target="x", to=("dave",))])
    assert await store.user_records("carol", EVERYTHING) == []
    assert numbers(await store.user_records("dave", EVERYTHING)) == [5]
    await store.write([group_change(6, "read", target="x")])
    assert await store.user_records("dave", EVERYTHING) == []
    assert numbers(await store.user_records("bob", EVERYTHING)) == [1, 3, 6]
    await store.write([group_change(4, "read", target="x", to=("bob", "carol"))])
    assert await store.user_records("carol", EVERYTHING) == []


async def test_groups_are_listed_by_the_newest_message_that_a_member_may_see(
    store: MessageStore,
) -> None:
    await store.write([joined(1, "alice", "bob", "carol"), record(2), group_message(3)])
    await store.write([left(4, "bob", 1), group_message(5), group_message(6, to=("bob",))])
    assert await listed(store, "alice") == [(GROUP, at(5)), ("alice,bob", at(2))]
    assert await listed(store, "bob") == [(GROUP, at(3)), ("alice,bob", at(2))]
    for before, expected in ((at(5), [at(2)]), (at(6), [at(5), at(2)]), (at(2), [])):
        found = await store.conversations("alice", before=before, limit=9)
        assert [one.last_id for one in found] == expected
    await store.write([joined(7, "bob"), group_change(8)])
    assert (await listed(store, "bob"))[0] == (GROUP, at(3)), "no message since"
    await store.write([group_message(9)])
    assert (await listed(store, "bob"))[0] == (GROUP, at(9))
    assert len(await store.conversations("bob", before=MAX_ID, limit=1)) == 1
    assert await listed(store, "dave") == []


async def test_a_list_goes_by_what_a_member_may_see(store: MessageStore) -> None:
    hidden = Member("bob", at(1), visible_from=at(4))
    await store.write([group_change(1, members=[hidden, Member("alice", at(1))])])
    await store.write([group_message(2)])
    assert await listed(store, "bob") == []
    assert await listed(store, "alice") == [(GROUP, at(2))]
    assert numbers(await store.user_page("bob", EVERYTHING)) == [2]
    await store.write([group_message(4)])
    assert await listed(store, "bob") == [(GROUP, at(4))]
    early = Member("carol", at(5), visible_from=at(1))
    await store.write([group_change(5, members=[early])])
    assert await listed(store, "carol") == [], "what was before the join is in no interval"


async def test_the_members_of_a_group_are_not_listed(store: MessageStore) -> None:
    await store.write([joined(1, "alice", "bob"), group_message(2), left(3, "bob", 1)])
    assert await store.members("alice", GROUP) == Members((), at(3))
    assert await store.members("bob", GROUP) == Members((), at(3))
    assert await store.members("carol", GROUP) is None
    assert await store.members("alice", ROOM) is None
    assert await store.members("alice", ",g:unknown") is None


async def test_a_group_outlives_its_records(store: MessageStore) -> None:
    named = group_change(4, to=("bob", "carol"))
    await store.write([joined(1, "alice", "bob"), group_message(2), record(3), named])
    await store.write([group_message(5)])
    assert await store.purge(at(5)) == 4
    assert await store.user_records("carol", EVERYTHING) == []
    assert await store.count_user_records("carol", EVERYTHING) == 0
    assert numbers(await store.channel_records(GROUP, EVERYTHING, reader="carol")) == [5]
    assert numbers(await store.user_records("bob", EVERYTHING)) == [5]
    assert await store.purge(at(6)) == 1
    assert await listed(store, "alice") == []
    assert await store.user_records("alice", EVERYTHING) == []
    await store.write([record(6), group_message(7), group_change(8, to=("carol",))])
    assert numbers(await store.user_records("bob", EVERYTHING)) == [6, 7]
    assert numbers(await store.user_records("carol", EVERYTHING)) == [8]
    assert await listed(store, "alice") == [(GROUP, at(7)), ("alice,bob", at(6))]
    assert await store.members("alice", GROUP) == Members((), at(7))


async def test_a_message_that_names_people_is_in_its_body_for_nobody(store: MessageStore) -> None:
    (rejected,) = await store.write([_with_participants(group_message(1))])
    assert rejected.code == "audience_mismatch"


def _with_participants(one: Record) -> Record:
    body = one.body.replace(b'"participants":[]', b'"participants":["alice"]')
    return Record(**{name: getattr(one, name) for name in one.__struct_fields__} | {"body": body})
