"""What every store promises (``chatsvc/storage/ports/``), as tests.

A subclass has a fixture ``place``: where a store lies, to be opened again and again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest

from chatsvc.core.errors import StoreUnavailable, VersionTooNew
from chatsvc.core.ids import MAX_ID, STEP, id_at, id_ms
from chatsvc.core.page import MAX_PAGE_BYTES, Bounds, Entry
from chatsvc.core.record import Record, accept, pack, unpack
from chatsvc.log.key_bounds import AHEAD_MS
from chatsvc.log.reconcile import Mark
from chatsvc.storage.ports.conversations import Members
from chatsvc.storage.ports.dead_letters import DeadLetter
from chatsvc.storage.ports.message_store import MessageStore
from chatsvc.storage.store_state import state_of
from tests.support.client_ids import uuid7_at
from tests.support.records import START, draft, other_kind, record, records, with_body

FAR_MS = id_ms(MAX_ID)
"""After everything."""


class Place(Protocol):
    """Where a store lies."""

    def make(self) -> MessageStore:
        """Another store over the same data, not yet open."""

    async def set_version(self, version: int) -> None:
        """As if another program had written it."""

    async def replace(self) -> None:
        """Put an empty store in the place of the one that is open."""


def value(body: bytes) -> str:
    """JSON as a value: order of members apart, integers and floats told apart."""
    return json.dumps(json.loads(body), sort_keys=True)


def ids(entries: list[Entry]) -> list[int]:
    return [entry.id for entry in entries]


def letter(one: Record) -> DeadLetter:
    return DeadLetter(one.id, "code", "reason", 1, pack(one))


def expect(found: list[Entry], written: list[Record]) -> None:
    assert ids(found) == [one.id for one in written]
    for entry, one in zip(found, written, strict=True):
        assert entry.rev == one.id
        assert (entry.channel, entry.sender, entry.origin, entry.audience) == (
            one.channel,
            one.sender,
            one.origin,
            one.audience,
        )
        assert value(entry.body) == value(one.body)


class StoreSuite:
    """The promises; see the module's text."""

    @pytest.fixture
    async def store(self, place: Place) -> AsyncIterator[MessageStore]:
        store = place.make()
        await store.open()
        yield store
        await store.close()

    # --- its own state

    async def test_a_fresh_store_is_empty(self, store: MessageStore) -> None:
        assert await store.head() == 0
        assert await store.channel_page("alice,bob", Bounds(10)) == []
        assert await store.user_page("alice", Bounds(10)) == []
        assert await store.conversations("alice", before=MAX_ID, limit=10) == []
        assert await store.count_user("alice", Bounds(10)) == 0
        assert await store.get(START) is None
        assert await store.purge(MAX_ID) == 0
        await store.ping()

    async def test_identity_is_the_stores_own_and_stays(
        self, store: MessageStore, place: Place
    ) -> None:
        again = place.make()
        await again.open()
        assert len(await store.identity()) >= 16
        assert await again.identity() == await store.identity()
        await again.close()

    async def test_opened_at_once_by_several_it_has_one_identity(self, place: Place) -> None:
        stores = [place.make() for _ in range(4)]
        await asyncio.gather(*(store.open() for store in stores))
        assert len({await store.identity() for store in stores}) == 1
        await asyncio.gather(*(store.close() for store in stores))

    async def test_the_watermark_is_set_from_what_it_was(
        self, store: MessageStore, place: Place
    ) -> None:
        first, second = Mark(START, 1, "a"), Mark(START + STEP, 1, "a")
        assert await store.watermark() is None
        assert not await store.set_watermark(first, second)
        assert await store.watermark() is None
        assert await store.set_watermark(None, first)
        assert not await store.set_watermark(None, second)
        assert await store.watermark() == first
        assert await store.set_watermark(first, second)
        assert not await store.set_watermark(first, second)
        for other in (
            Mark(START + STEP, 2, "a"),
            Mark(START + STEP, 1, "b"),
            Mark(START + STEP, 1, "a", (1, 2)),
            Mark(START + STEP, 1, "a", content="ab"),
            Mark(START + STEP, 1, "a", window_start=1),
            first,
        ):
            assert not await store.set_watermark(other, first)
        await store.close()
        again = place.make()
        await again.open()
        assert await again.watermark() == second
        later = Mark(1, 12, "later", (START, START + STEP), "00ff", START)
        assert await again.set_watermark(second, later)
        assert await again.watermark() == later
        assert await again.set_watermark(later, second)
        await again.close()

    async def test_of_several_who_set_the_watermark_at_once_one_succeeds(
        self, store: MessageStore
    ) -> None:
        for before in (None, Mark(7, 1, "a")):
            marks = [Mark(START + at, 1, "a") for at in range(8)]
            done = await asyncio.gather(*(store.set_watermark(before, one) for one in marks))
            assert sum(done) == 1
            found = await store.watermark()
            assert found == marks[done.index(True)]
            assert await store.set_watermark(found, Mark(7, 1, "a"))

    async def test_the_watermark_is_no_message(self, store: MessageStore) -> None:
        await store.set_watermark(None, Mark(START, 1, "a"))
        assert await store.head() == 0
        assert await store.purge(MAX_ID) == 0
        assert await store.watermark() == Mark(START, 1, "a")

    async def test_a_store_that_is_put_in_its_place_has_another_name(
        self, store: MessageStore, place: Place
    ) -> None:
        """While it is open; it is opened again then."""
        before = await store.identity()
        await store.write(records(2))
        await store.set_watermark(None, Mark(START, 1, "a"))
        await place.replace()
        with pytest.raises(StoreUnavailable):
            await store.identity()
        await store.open()
        assert await store.identity() != before
        assert await store.watermark() is None
        assert await store.head() == 0
        await store.write(records(3))
        expect(await store.channel_page("alice,bob", Bounds(10)), records(3))

    @pytest.mark.parametrize(
        "other",
        [
            {"to": ("carol", "dave")},
            {"sender": "bob"},
            {"client_id": "another"},
            {"client_id": None},
        ],
        ids=["conversation", "sender", "client_id", "no_client_id"],
    )
    async def test_an_equal_content_under_an_id_is_another_message_where_its_key_differs(
        self, store: MessageStore, other: dict[str, Any]
    ) -> None:
        held = record(2, "ok", client_id="k")
        await store.write([held])
        false = record(2, "ok", **{"client_id": "k", **other})
        assert false.digest == held.digest
        rejections = await store.write([record(1), false, record(3)])
        assert [(one.record, one.code) for one in rejections] == [(false, "digest_conflict")]
        expect(await store.channel_page("alice,bob", Bounds(10)), [record(1), held, record(3)])
        assert await store.channel_page("carol,dave", Bounds(10)) == []
        assert await store.conversations("carol", before=MAX_ID, limit=10) == []

    async def test_an_equal_content_under_an_id_of_one_batch_is_another_message(
        self, store: MessageStore
    ) -> None:
        first, second = record(2, "ok"), record(2, "ok", to=("carol", "dave"))
        rejections = await store.write([first, second])
        assert [(one.record, one.code) for one in rejections] == [(second, "digest_conflict")]
        assert await store.channel_page("carol,dave", Bounds(10)) == []

    async def test_opening_and_closing_twice_is_harmless(self, store: MessageStore) -> None:
        await store.open()
        await store.write(records(2))
        assert await store.head() == START + 2 * STEP
        await store.close()
        await store.close()

    async def test_what_was_written_outlives_the_store(
        self, store: MessageStore, place: Place
    ) -> None:
        await store.write(records(3))
        await store.close()
        again = place.make()
        await again.open()
        expect(await again.channel_page("alice,bob", Bounds(10)), records(3))
        await again.close()

    async def test_unopened_and_closed_stores_say_so(self, place: Place) -> None:
        store = place.make()
        with pytest.raises(StoreUnavailable):
            await store.write(records(1))
        with pytest.raises(StoreUnavailable):
            await store.channel_page("alice,bob", Bounds(10))
        await store.open()
        await store.close()
        with pytest.raises(StoreUnavailable):
            await store.write(records(1))
        with pytest.raises(StoreUnavailable):
            await store.get(START)

    async def test_versions_are_told_without_changing_anything(self, place: Place) -> None:
        store = place.make()
        assert (await store.versions()).found == 0
        assert (await store.versions()).found == 0
        await store.open()
        versions = await store.versions()
        assert versions.found == versions.current > 0
        await store.close()

    async def test_a_newer_version_is_not_touched(self, place: Place) -> None:
        store = place.make()
        await store.open()
        await store.write(records(1))
        newer = (await store.versions()).current + 1
        await store.close()
        await place.set_version(newer)
        again = place.make()
        with pytest.raises(VersionTooNew):
            await again.open()
        with pytest.raises(StoreUnavailable):
            await again.write(records(1, first=2))
        assert (await again.versions()).found == newer
        await again.close()

    # --- writing

    async def test_an_empty_batch_is_nothing(self, store: MessageStore) -> None:
        assert await store.write([]) == []
        assert await store.head() == 0

    async def test_head_is_the_highest_written(self, store: MessageStore) -> None:
        await store.write(records(5))
        await store.write(records(2, first=3))
        assert await store.head() == START + 5 * STEP

    async def test_a_large_batch_goes_in_whole(self, store: MessageStore) -> None:
        batch = [
            record(number, to=(f"user{number % 7}", f"user{number % 11}", "zoe"))
            for number in range(1, 1501)
        ]
        assert await store.write(batch) == []
        assert await store.count_user("zoe", Bounds(5000)) == 1500
        assert len(await store.user_page("zoe", Bounds(5000))) == 1500

    async def test_writing_again_changes_nothing(self, store: MessageStore) -> None:
        batch = records(4)
        assert await store.write(batch) == []
        assert await store.write(batch[1:3]) == []
        assert await store.write([*batch[2:], record(5)]) == []
        expect(await store.channel_page("alice,bob", Bounds(10)), [*batch, record(5)])

    async def test_another_content_under_an_id_is_refused_and_the_rest_goes_in(
        self, store: MessageStore
    ) -> None:
        await store.write([record(2)])
        false = record(2, "something else")
        rejections = await store.write([record(1), false, record(3)])
        assert [(one.record, one.code) for one in rejections] == [(false, "digest_conflict")]
        expect(await store.channel_page("alice,bob", Bounds(10)), records(3))

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"not JSON",
            b'["an", "array"]',
            b'{"type":"message"}',
            b'{"participants":"alice"}',
            b'{"participants":[1]}',
            b'{"participants":["alice","bob"],"content":"\xff"}',
        ],
    )
    async def test_an_unreadable_body_is_refused_and_the_rest_goes_in(
        self, store: MessageStore, body: bytes
    ) -> None:
        broken = with_body(record(2), body)
        rejections = await store.write([record(1), broken, record(3)])
        assert [(one.record, one.code) for one in rejections] == [(broken, "unreadable_body")]
        expect(await store.channel_page("alice,bob", Bounds(10)), [record(1), record(3)])

    async def test_a_kind_that_it_does_not_know_is_refused(self, store: MessageStore) -> None:
        strange = other_kind(1)
        rejections = await store.write([strange])
        assert [(one.record, one.code) for one in rejections] == [(strange, "unknown_kind")]
        assert await store.head() == 0

    async def test_a_refused_batch_leaves_no_conversation(self, store: MessageStore) -> None:
        await store.write([with_body(record(1), b"{}")])
        assert await store.conversations("alice", before=MAX_ID, limit=10) == []

    async def test_two_writers_of_the_same_batch_do_no_harm(self, place: Place) -> None:
        stores = [place.make() for _ in range(2)]
        for store in stores:
            await store.open()
        batch = [record(number, to=("alice", f"user{number % 9}")) for number in range(1, 60)]
        results = await asyncio.gather(*(store.write(batch) for store in stores))
        assert results == [[], []]
        expect(await stores[0].user_page("alice", Bounds(100)), batch)
        newest = await stores[1].conversations("alice", before=MAX_ID, limit=100)
        assert [one.last_id for one in newest] == [one.id for one in reversed(batch[-9:])]
        for store in stores:
            await store.close()

    # --- what was written is what is read

    @pytest.mark.parametrize(
        "metadata",
        [
            {},
            {"a": None, "b": True, "c": [], "d": {}},
            {"int": 1, "float": 1.0, "negative": -0.0, "small": 5e-324, "large": 1.7e308},
            {"31": 2**31 - 1, "32": 2**31, "63": 2**63 - 1, "-63": -(2**63)},
            {"64": 2**63},
            {"64": 2**64 - 1},
            {"many": -(10**40)},
            {"$set": {"$where": 1}},
            {"deep": [{"$ref": "c", "$id": 1}]},
            {"a.b": {"c.d": 1}},
            {"": {"": 1}},
            {"a\0b": "c\0d"},
            {"_id": "mine", "rev": 1, "v": 99, "body": "x"},
            {"z": 1, "a": 2, "é": "\U0001f600", "text": "\u2028\x7f"},
            {"deep": {"er": {"and": {"deeper": [1, [2, [3]]]}}}},
            {"date": "2026-11-21T15:04:05.123Z", "oid": "507f1f77bcf86cd799439011"},
        ],
    )
    async def test_metadata_comes_back_as_it_was(
        self, store: MessageStore, metadata: dict[str, Any]
    ) -> None:
        written = record(1, metadata=metadata, client_id="k")
        assert await store.write([written]) == []
        entry = await store.get(written.id)
        assert entry is not None
        expect([entry], [written])
        (conversation,) = await store.conversations("alice", before=MAX_ID, limit=1)
        assert value(conversation.last_message) == value(written.body)

    @pytest.mark.parametrize(
        "change",
        [
            {"reply_to": "0000000000000001"},
            {"metadata": None},
            {"client_id": None},
            {"content": ""},
            {"content": {"rich": [1, 2.0]}},
            {"channel": "elsewhere"},
            {"created_at": "yesterday"},
            {"type": "other"},
        ],
    )
    async def test_members_from_another_time_come_back_as_they_were(
        self, store: MessageStore, change: dict[str, Any]
    ) -> None:
        body = json.loads(record(1).body) | change
        written = with_body(record(1), json.dumps(body).encode())
        assert await store.write([written]) == []
        expect(await store.user_page("alice", Bounds(1)), [written])

    @pytest.mark.parametrize(
        "content", ["\U0001f600 ｡", '"\\\u0001\u001f\r\n\t', "$a.b", " ", "x" * 16_000, "￿é"]
    )
    async def test_content_comes_back_as_it_was(self, store: MessageStore, content: str) -> None:
        written = record(1, content)
        await store.write([written])
        expect(await store.channel_page("alice,bob", Bounds(1)), [written])

    async def test_a_conversation_at_every_bound(self, store: MessageStore) -> None:
        users = tuple(sorted(f"{number:03d}" + "\U0001f600" * 125 for number in range(256)))
        written = record(1, "\U00010348" * 16_000, to=users, metadata={"m": "x" * 4080})
        assert await store.write([written]) == []
        expect(await store.channel_page(written.channel, Bounds(1)), [written])
        for user in (users[0], users[-1]):
            expect(await store.user_page(user, Bounds(1)), [written])
            (conversation,) = await store.conversations(user, before=MAX_ID, limit=1)
            assert conversation.participants == users

    async def test_ids_at_both_ends_are_taken_as_bounds(self, store: MessageStore) -> None:
        await store.write(records(2))
        assert len(await store.channel_page("alice,bob", Bounds(5, after=0, before=MAX_ID))) == 2
        assert await store.channel_page("alice,bob", Bounds(5, after=MAX_ID)) == []
        assert await store.channel_page("alice,bob", Bounds(5, before=0)) == []
        assert await store.get(MAX_ID) is None
        assert await store.get(0) is None

    # --- pages

    @pytest.mark.parametrize("newest", [True, False])
    @pytest.mark.parametrize("after", [0, 3, 8])
    @pytest.mark.parametrize("before", [1, 4, 7, 99])
    @pytest.mark.parametrize("limit", [1, 2, 100])
    async def test_pages_are_the_stretch_asked_for(
        self, store: MessageStore, newest: bool, after: int, before: int, limit: int
    ) -> None:
        # Odd numbers are ours, even ones another conversation's.
        await store.write(
            [record(n, to=("alice", "bob") if n % 2 else ("alice", "carol")) for n in range(1, 10)]
        )
        bounds = Bounds(limit, START + after * STEP, START + before * STEP, newest)

        def stretch(numbers: list[int]) -> list[int]:
            inside = [START + n * STEP for n in numbers if after < n < before]
            return inside[-limit:] if newest else inside[:limit]

        assert ids(await store.channel_page("alice,bob", bounds)) == stretch([1, 3, 5, 7, 9])
        assert ids(await store.user_page("alice", bounds)) == stretch(list(range(1, 10)))
        assert ids(await store.user_page("carol", bounds)) == stretch([2, 4, 6, 8])
        assert await store.count_user("carol", bounds) == len(stretch([2, 4, 6, 8]))

    async def test_a_users_page_goes_by_audience_and_nothing_else(
        self, store: MessageStore
    ) -> None:
        whole = record(1, to=("alice", "bob", "carol"))
        left = Record(
            id=whole.id + STEP,
            kind=whole.kind,
            channel=whole.channel,
            audience=("alice", "carol"),
            sender=whole.sender,
            origin=whole.origin,
            client_id=None,
            digest=whole.digest,
            body=whole.body,
        )
        await store.write([whole])
        await store.write([left])
        assert ids(await store.user_page("bob", Bounds(9))) == [whole.id]
        assert ids(await store.user_page("carol", Bounds(9))) == [whole.id, left.id]
        assert ids(await store.channel_page(whole.channel, Bounds(9))) == [whole.id, left.id]
        assert await store.conversations("bob", before=MAX_ID, limit=9) == []
        assert len(await store.conversations("carol", before=MAX_ID, limit=9)) == 1

    async def test_a_user_or_channel_is_never_taken_for_another(self, store: MessageStore) -> None:
        names = ["a", "A", "a ", "á", "a%", "a_", "$a", "a.b", "null", "0"]
        await store.write(
            [record(n, to=(name.strip() + "x", "z")) for n, name in enumerate(names, 1)]
        )
        for name in names:
            user = name.strip() + "x"
            expected = [n for n, other in enumerate(names, 1) if other.strip() + "x" == user]
            found = ids(await store.user_page(user, Bounds(20)))
            assert found == [START + n * STEP for n in expected], name

    @pytest.mark.parametrize("newest", [True, False])
    async def test_a_page_ends_with_the_message_that_passes_its_bytes(
        self, store: MessageStore, newest: bool
    ) -> None:
        # More than MongoDB sends in one batch, and the large one behind it.
        await store.write([record(n, "x" * (4000 if n == 130 else 40)) for n in range(1, 261)])
        entries = await store.channel_page("alice,bob", Bounds(1000, newest=newest))
        assert len(entries) == 260
        size = {entry.id: len(entry.body) for entry in entries}
        expected = ids(entries)[::-1] if newest else ids(entries)

        def taken(max_bytes: int, limit: int = 1000) -> list[int]:
            found: list[int] = []
            for one in expected[:limit]:
                found.append(one)
                if sum(size[each] for each in found) > max_bytes and len(found) > 1:
                    break
            return sorted(found)

        for max_bytes in (0, size[expected[0]], 10_000, sum(size.values()) - 1, 1 << 40):
            bounds = Bounds(1000, newest=newest, max_bytes=max_bytes)
            assert ids(await store.channel_page("alice,bob", bounds)) == taken(max_bytes)
            assert ids(await store.user_page("bob", bounds)) == taken(max_bytes)
            assert await store.count_user("bob", bounds) == 260
        bounds = Bounds(3, newest=newest, max_bytes=1 << 40)
        assert ids(await store.channel_page("alice,bob", bounds)) == taken(1 << 40, 3)

    async def test_a_page_is_a_mebibyte_unless_told_otherwise(self, store: MessageStore) -> None:
        await store.write(records(20, content="x" * 100_000))
        found = await store.channel_page("alice,bob", Bounds(1000))
        assert sum(len(entry.body) for entry in found[1:]) <= MAX_PAGE_BYTES
        assert sum(len(entry.body) for entry in found) > MAX_PAGE_BYTES

    # --- conversations

    async def test_a_listing_ends_with_the_message_that_passes_its_bytes(
        self, store: MessageStore
    ) -> None:
        await store.write([record(n, "x" * 3000, to=("alice", f"u{n}")) for n in range(1, 151)])
        for max_bytes, count in ((0, 2), (7000, 3), (1 << 40, 150)):
            found = await store.conversations(
                "alice", before=MAX_ID, limit=1000, max_bytes=max_bytes
            )
            assert [one.channel for one in found] == [
                f"alice,u{n}" for n in range(150, 150 - count, -1)
            ]
        assert len(await store.conversations("alice", before=MAX_ID, limit=1000)) == 150

    async def test_conversations_come_newest_first_and_page_by_last_id(
        self, store: MessageStore
    ) -> None:
        await store.write([record(n, to=("alice", f"user{n % 4}")) for n in range(1, 10)])
        first = await store.conversations("alice", before=MAX_ID, limit=3)
        assert [one.channel for one in first] == ["alice,user1", "alice,user0", "alice,user3"]
        assert [one.last_id for one in first] == [START + n * STEP for n in (9, 8, 7)]
        assert value(first[0].last_message) == value(record(9, to=("alice", "user1")).body)
        assert first[0].participants == ("alice", "user1")
        rest = await store.conversations("alice", before=first[-1].last_id, limit=3)
        assert [one.channel for one in rest] == ["alice,user2"]
        assert await store.conversations("alice", before=MAX_ID, limit=0) == []

    async def test_a_conversation_never_goes_back(self, store: MessageStore) -> None:
        await store.write([record(5)])
        await store.write(records(3))
        await store.write([record(4)])
        (conversation,) = await store.conversations("bob", before=MAX_ID, limit=5)
        assert conversation.last_id == START + 5 * STEP
        assert value(conversation.last_message) == value(record(5).body)

    async def test_the_members_of_a_conversation_are_told_to_its_members(
        self, store: MessageStore
    ) -> None:
        many = tuple(f"{name}-of-a-conversation-with-a-long-key" for name in "abcdefgh")
        await store.write([record(1, to=many), record(2, to=("alice", "bob"))])
        await store.write([record(3, to=many)])
        key = record(1, to=many).channel
        assert key.startswith(",sha256:")
        for user in many:
            assert await store.members(user, key) == Members(many, START + 3 * STEP)
        assert await store.members("bob", "alice,bob") == Members(
            ("alice", "bob"), START + 2 * STEP
        )
        assert await store.members("alice", key) is None
        assert await store.members("alice", ",sha256:" + "0" * 64) is None
        assert await store.members("carol", "alice,bob") is None

    # --- client ids

    async def test_the_first_message_of_a_client_id_is_found(self, store: MessageStore) -> None:
        await store.write(
            [
                record(1, "other", sender="bob", client_id="k"),
                record(2, "elsewhere", to=("alice", "carol"), client_id="k"),
                record(3, "first", client_id="k"),
                record(4, "second", client_id="k"),
                record(5),
            ]
        )
        found = START + 3 * STEP, record(3, "first").digest
        assert await store.find_client_id("alice", "alice,bob", "k") == found
        later = (START + 4 * STEP, record(4, "second").digest)
        assert await store.find_client_id("alice", "alice,bob", "k", after=found[0] - 1) == found
        assert await store.find_client_id("alice", "alice,bob", "k", after=found[0]) == later
        assert await store.find_client_id("alice", "alice,bob", "k", after=later[0]) is None
        assert await store.find_client_id("alice", "alice,bob", "k", after=MAX_ID) is None
        assert await store.find_client_id("alice", "alice,bob", "K") is None
        assert await store.find_client_id("carol", "alice,carol", "k") is None

    async def test_the_newest_that_a_store_knows_may_be_a_dead_letter(
        self, store: MessageStore
    ) -> None:
        identity = await store.identity()
        assert await store.dead_letters.newest() is None
        assert await state_of(store) == (identity, None, 0, None)
        put = [letter(record(3, "third")), letter(record(1, "first"))]
        await store.dead_letters.put(put)
        assert await store.dead_letters.newest() == put[0]
        await store.write([record(2, "second")])
        assert await state_of(store) == (identity, None, put[0].id, record(3, "third").body)
        damaged = DeadLetter(START + 4 * STEP, "damaged", "why", 1, b"no record")
        await store.dead_letters.put([damaged])
        assert await state_of(store) == (identity, None, damaged.id, None)
        await store.write([record(5, "fifth")])
        found = await state_of(store)
        assert found.head == START + 5 * STEP
        assert json.loads(found.newest or b"") == json.loads(record(5, "fifth").body)

    async def test_a_client_id_is_found_among_the_dead_letters(self, store: MessageStore) -> None:
        aside = [record(2, "aside", client_id="k"), record(5, "second", client_id="j"), record(6)]
        await store.write([record(1), record(3, "stored", client_id="j")])
        await store.dead_letters.put([letter(one) for one in aside])
        of = ("alice", "alice,bob")
        assert await store.find_client_id(*of, "k") == (aside[0].id, aside[0].digest)
        assert await store.find_client_id(*of, "k", dead_letters=False) is None
        assert await store.find_client_id(*of, "k", after=aside[0].id) is None
        assert await store.find_client_id("bob", "alice,bob", "k") is None
        first = (START + 3 * STEP, record(3, "stored").digest)
        assert await store.find_client_id(*of, "j") == first
        second = (aside[1].id, aside[1].digest)
        assert await store.find_client_id(*of, "j", after=first[0]) == second
        await store.write([aside[0]])  # replayed, and not dropped yet
        assert await store.find_client_id(*of, "k") == (aside[0].id, aside[0].digest)
        await store.dead_letters.drop([one.id for one in aside])
        assert await store.find_client_id(*of, "k") == (aside[0].id, aside[0].digest)
        assert await store.find_client_id(*of, "j") == first

    async def test_a_letter_that_is_no_record_has_no_key(self, store: MessageStore) -> None:
        await store.dead_letters.put([DeadLetter(START, "damaged", "why", 1, b"no record")])
        assert await store.past_client_ids(limit=5, since_ms=FAR_MS) == (0, [])
        assert await store.dead_letters.count() == 1

    async def test_what_a_new_log_must_know_of_client_ids(self, store: MessageStore) -> None:
        assert await store.past_client_ids(limit=5, since_ms=FAR_MS) == (0, [])
        ms = id_ms(START)
        far = ms + 1_000_000
        ahead = [
            record(1, client_id=uuid7_at(far + 1)),
            record(2, client_id=uuid7_at(far + 7)),
            record(3, client_id=uuid7_at(far + 3)),
            record(4, client_id=uuid7_at(far + 5), sender="bob"),
            record(5, client_id=uuid7_at(far + 4), to=("carol", "bob")),
        ]
        usual = [
            record(6, client_id=uuid7_at(ms + AHEAD_MS), to=("dora", "bob")),
            record(7, client_id=uuid7_at(0), to=("dora", "bob")),
            record(8, client_id="another string", to=("dora", "bob")),
            record(9),
        ]
        await store.write([*ahead, *usual])
        newest = id_ms(START + 9 * STEP)
        expected = [("alice", far + 7), ("bob", far + 5), ("carol", far + 4)]
        assert await store.past_client_ids(limit=5, since_ms=far) == (newest, expected)
        assert await store.past_client_ids(limit=2, since_ms=far) == (newest, expected[:2])
        put = record(12, client_id=uuid7_at(far + 6), sender="bob")
        await store.dead_letters.put([letter(put)])
        expected[1] = ("bob", far + 6)
        assert await store.past_client_ids(limit=5, since_ms=far) == (id_ms(put.id), expected)
        later = accept(draft("late"), id_at(far + 6 - AHEAD_MS))  # what is not after it is bounded
        await store.write([later])
        assert await store.past_client_ids(limit=5, since_ms=far + 6) == (
            id_ms(later.id),
            [("alice", far + 7)],
        )
        # Asked for more, because the newest is ahead of a clock: all that are listed.
        found = await store.past_client_ids(limit=5, since_ms=ms - AHEAD_MS - 1)
        assert found == (id_ms(later.id), expected)

    async def test_the_client_ids_of_messages_can_be_read_in_order(
        self, store: MessageStore
    ) -> None:
        assert await store.client_ids_above(0, 5) == []
        sent = [record(1, client_id="b"), record(2), record(3, client_id="A", sender="bob")]
        await store.write(sent)
        await store.dead_letters.put([letter(record(4, client_id="aside"))])
        expected = [(one.id, one.sender, one.client_id) for one in sent]
        assert await store.client_ids_above(0, 5) == expected
        assert await store.client_ids_above(0, 2) == expected[:2]
        assert await store.client_ids_above(sent[0].id, 5) == expected[1:]
        assert await store.client_ids_above(MAX_ID, 5) == []

    # --- retention

    async def test_a_purge_takes_the_oldest_in_bounded_batches(self, store: MessageStore) -> None:
        await store.write(records(10))
        before = START + 8 * STEP
        assert await store.purge(before, limit=4) == 4
        assert ids(await store.user_page("bob", Bounds(20)))[0] == START + 5 * STEP
        assert await store.purge(before, limit=4) == 3
        assert await store.purge(before, limit=4) == 0
        assert ids(await store.channel_page("alice,bob", Bounds(20))) == [
            START + n * STEP for n in (8, 9, 10)
        ]
        assert await store.count_user("alice", Bounds(20)) == 3
        assert await store.head() == START + 10 * STEP

    async def test_a_conversation_goes_with_its_newest_message(self, store: MessageStore) -> None:
        await store.write(
            [
                record(1, to=("alice", "old")),
                record(2, to=("alice", "bob")),
                record(3, to=("alice", "bob")),
            ]
        )
        await store.purge(START + 3 * STEP)
        found = await store.conversations("alice", before=MAX_ID, limit=9)
        assert [one.channel for one in found] == ["alice,bob"]
        assert await store.conversations("old", before=MAX_ID, limit=9) == []
        await store.write([record(4, to=("alice", "old"))])
        assert len(await store.conversations("old", before=MAX_ID, limit=9)) == 1

    # --- dead letters

    async def test_dead_letters_are_kept_with_reason_and_bytes(
        self, store: MessageStore, place: Place
    ) -> None:
        bad = [with_body(record(n), b"\x00\xff" * n) for n in (3, 1, 2)]
        letters = [DeadLetter(one.id, "code", f"reason {one.id}", 17, pack(one)) for one in bad]
        await store.dead_letters.put(letters)
        await store.close()
        again = place.make()
        await again.open()
        box = again.dead_letters
        assert await box.count() == 3
        ordered = sorted(letters)
        assert await box.list() == ordered
        assert await box.list(limit=2) == ordered[:2]
        assert await box.list(after=ordered[0].id, limit=1) == ordered[1:2]
        assert await box.list(limit=0) == []
        found = await box.get(bad[0].id)
        assert found is not None
        assert unpack(found.id, found.data) == bad[0]
        assert await box.get(bad[0].id + 1) is None
        assert await box.drop([bad[0].id, bad[0].id + 1]) == 1
        assert await box.count() == 2
        await again.close()

    async def test_putting_one_aside_again_replaces_its_reason(self, store: MessageStore) -> None:
        letter = DeadLetter(START, "first", "because", 1, b"bytes")
        await store.dead_letters.put([letter])
        await store.dead_letters.put([letter._replace(code="second", at_ms=2)])
        assert await store.dead_letters.list() == [letter._replace(code="second", at_ms=2)]

    async def test_a_dead_letter_may_be_larger_than_any_document(self, store: MessageStore) -> None:
        data = bytes(range(256)) * 80_000
        await store.dead_letters.put([DeadLetter(START, "too_large", "why", 1, data)])
        found = await store.dead_letters.get(START)
        assert found is not None
        assert found.data == data
        assert await store.dead_letters.drop([START]) == 1
        await store.dead_letters.put([DeadLetter(START, "small", "why", 1, b"x")])
        assert (await store.dead_letters.list())[0].data == b"x"

    # --- both at once

    async def test_readers_meanwhile_see_a_prefix_without_holes(self, store: MessageStore) -> None:
        written: list[int] = []
        finished = False

        async def write() -> None:
            nonlocal finished
            for first in range(1, 200, 20):
                batch = records(20, first=first)
                await store.write(batch)
                written.extend(one.id for one in batch)
            finished = True

        async def read() -> None:
            while not finished:
                promised = list(written)
                found = ids(await store.channel_page("alice,bob", Bounds(1000)))
                assert found[: len(promised)] == promised
                assert found == sorted(found)

        await asyncio.gather(write(), read(), read())
        assert len(await store.channel_page("alice,bob", Bounds(1000))) == 200
