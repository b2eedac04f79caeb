"""Retries of requests that became one record with others are answered as the first were."""

from __future__ import annotations

import msgspec
import pytest

from chatsvc.core.errors import ChatError, Conflict, StoreUnavailable
from chatsvc.core.ids import now_ms
from chatsvc.core.membership import RequestKey
from chatsvc.core.record import Draft
from chatsvc.log.base import Appended
from chatsvc.storage.history.repeats import Repeats
from testkit.client_ids import uuid7_at
from testkit.group_drafts import GROUP, joining, wish_to_join
from tests.unit.support.fake_log import FakeLog

WISH = wish_to_join("bob", uuid7_at(now_ms()))
KEY = ("bob", GROUP, WISH.client_id)


def other_content() -> Draft:
    return msgspec.structs.replace(WISH, digest=b"another")


class Store:
    """What it holds under the key, and the body of that record; ``None``: it does not answer."""

    def __init__(self) -> None:
        self.used: tuple[int, bytes] | None = None
        self.bodies: dict[int, bytes] | None = {}
        self.asked: list[object] = []

    async def find_client_id(
        self, sender: str, channel: str, client_id: str, *, after: int
    ) -> tuple[int, bytes] | None:
        self.asked.append((sender, channel, client_id))
        return self.used

    async def body(self, record_id: int, *, reader: str) -> bytes | None:
        self.asked.append((record_id, reader))
        if self.bodies is None:
            raise StoreUnavailable("away")
        return self.bodies.get(record_id)


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def repeats(log: FakeLog, store: Store) -> Repeats:
    return Repeats(log, store, store)


async def joined(log: FakeLog) -> Appended:
    """Of several, as one record."""
    keys = (RequestKey("alice", "k", b"x"), RequestKey("bob", str(WISH.client_id), WISH.digest))
    return await log.append(msgspec.structs.replace(joining("alice", "bob"), keys=keys))


async def test_what_is_new_is_not_asked_for(log: FakeLog, store: Store, repeats: Repeats) -> None:
    for wish in (WISH, wish_to_join("bob"), wish_to_join("bob", "no UUIDv7")):
        assert await repeats.find(wish) is None
        assert repeats.remembered([wish])[0] is None
    assert store.asked == []


async def test_what_the_log_remembers_has_the_body_of_the_record(
    log: FakeLog, store: Store, repeats: Repeats
) -> None:
    first = await joined(log)
    store.bodies = {first.id: first.body}
    assert await repeats.find(WISH) == Appended(first.id, first.body, True)
    assert repeats.remembered([WISH])[0] == Appended(first.id, first.body, True)
    assert store.asked == [(first.id, "bob")]
    assert await repeats.find(wish_to_join("carol", WISH.client_id)) is None


async def test_what_the_log_has_forgotten_is_asked_of_the_store(
    log: FakeLog, store: Store, repeats: Repeats
) -> None:
    log.forget_keys()
    assert await repeats.find(WISH) is None
    store.used, store.bodies = (7, WISH.digest), {7: b"{}"}
    assert await repeats.find(WISH) == Appended(7, b"{}", True)
    assert store.asked == [KEY, KEY, (7, "bob")]
    assert repeats.remembered([WISH])[0] is None


@pytest.mark.parametrize("bodies", [{}, None], ids=["a dead letter", "the store is away"])
async def test_without_the_record_the_answer_is_made_of_the_request(
    log: FakeLog, store: Store, repeats: Repeats, bodies: dict[int, bytes] | None
) -> None:
    first = await joined(log)
    store.bodies = bodies
    again = await repeats.find(WISH)
    assert again is not None
    assert (again.id, again.duplicate) == (first.id, True)
    assert msgspec.json.decode(again.body)["users"] == ["bob"]


async def test_another_content_is_a_conflict_before_a_body_is_asked_for(
    log: FakeLog, store: Store, repeats: Repeats
) -> None:
    first = await joined(log)
    with pytest.raises(Conflict) as caught:
        await repeats.find(other_content())
    assert caught.value.extra["id"] == f"{first.id:016x}"
    assert store.asked == []
    assert isinstance(repeats.remembered([other_content()])[0], Conflict)


async def test_a_store_that_is_being_filled_proves_nothing(
    log: FakeLog, store: Store, repeats: Repeats
) -> None:
    log.forget_keys()
    log.refilling = True
    with pytest.raises(ChatError, match="being filled again"):
        await repeats.find(WISH)
    store.used = (7, WISH.digest)
    found = await repeats.find(WISH)
    assert found is not None
    assert found.id == 7
