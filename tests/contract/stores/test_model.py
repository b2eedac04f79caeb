"""Each store against a simple model of what it promises, at random."""

from __future__ import annotations

import random

import pytest

from chatsvc.core.ids import MAX_ID, STEP
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record
from chatsvc.storage.ports.message_store import MessageStore
from chatsvc.storage.sqlite import listing, purging
from testkit.records import START, change, record
from tests.contract.support.stored import expect, ids

SETS = [
    ("a",),
    ("a", "b"),
    ("a", "b", "c", "d"),
    ("b", "c", "d", "e"),
    ("a", "b", "c", "d", "e"),
    ("a", "c", "d", "e", "f"),
    ("b", "c", "d", "e", "f", "g"),
    tuple(f"{name}{'x' * 60}" for name in "abcdef"),  # its channel is a digest
]
USERS = sorted({user for people in SETS for user in people})
BATCHES = 12


class Model:
    """What should be in the store."""

    def __init__(self) -> None:
        self.held: dict[int, Record] = {}

    def write(self, records: list[Record]) -> None:
        for one in records:
            if one.kind == "read":
                about = one.channel, one.target
                same = [
                    other.id
                    for other in self.held.values()
                    if other.kind == "read" and (other.channel, other.target) == about
                ]
                if any(other > one.id for other in same):
                    continue
                for other in same:
                    del self.held[other]
            self.held[one.id] = one

    def purge(self, before: int) -> None:
        self.held = {number: one for number, one in self.held.items() if number >= before}

    def of(self, user: str, *, changes: bool) -> list[Record]:
        """The user's records, or messages alone, ascending."""
        return [
            self.held[number]
            for number in sorted(self.held)
            if user in self.held[number].audience
            and (changes or self.held[number].kind == "message")
        ]


def page(records: list[Record], bounds: Bounds) -> list[Record]:
    inside = [one for one in records if bounds.after < one.id < bounds.before]
    return inside[-bounds.limit :] if bounds.newest else inside[: bounds.limit]


class Story:
    """Batches at random, written to the store and to the model alike."""

    def __init__(self, store: MessageStore, seed: int) -> None:
        self.store = store
        self.model = Model()
        self.dice = random.Random(seed)
        self.number = 0
        self._purged = 0
        self._written: list[Record] = []

    async def go_on(self) -> None:
        """A batch, some of it written before, or one of it later; and a purge at times."""
        dice = self.dice
        batch = [self._made() for _ in range(dice.randrange(1, 12))]
        if dice.random() < 0.3 and len(self._written) > 3:
            again = [one for one in dice.sample(self._written, 3) if one.id >= self._purged]
            batch = sorted([*again, *batch], key=lambda one: one.id)
        self._written += [one for one in batch if one not in self._written]
        late = [batch.pop(dice.randrange(len(batch)))] if dice.random() < 0.3 else []
        for part in (batch, late):
            assert await self.store.write(part) == []
            self.model.write(part)
        if dice.random() < 0.3:
            self._purged = START + dice.randrange(max(self.number - 15, 0), self.number + 1) * STEP
            while await self.store.purge(self._purged, limit=dice.randrange(1, 9)):
                pass
            self.model.purge(self._purged)

    def _made(self) -> Record:
        self.number += 1
        dice, to = self.dice, self.dice.choice(SETS)
        sender, client_id = dice.choice(to), dice.choice([None, f"k{self.number}"])
        kind = dice.choice(["message", "message", "edit", "read", "read"])
        if kind == "message":
            return record(self.number, to=to, sender=sender, client_id=client_id)
        return change(
            self.number,
            kind,
            to=to,
            sender=sender,
            target=dice.choice(["", "x", "y"]) if kind == "read" else "",
            text=f"t{self.number}",
            client_id=client_id,
        )

    def bounds(self) -> Bounds:
        dice = self.dice
        return Bounds(
            dice.choice([1, 2, 5, 100]),
            dice.choice([0, START + dice.randrange(self.number) * STEP]),
            dice.choice([MAX_ID, START + dice.randrange(self.number + 2) * STEP]),
            dice.random() < 0.5,
        )


@pytest.mark.parametrize("seed", range(3))
async def test_a_store_is_what_the_model_says(
    store: MessageStore, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "SORTED_AT_ONCE", 1)
    monkeypatch.setattr(listing, "WALKED", 4)
    monkeypatch.setattr(purging, "PURGED_ROWS", 12)
    story = Story(store, seed)
    for _ in range(BATCHES):
        await story.go_on()
        assert await store.head() == max(story.model.held, default=0)
        for user in story.dice.sample(USERS, 5):
            await check_user(store, story.model, user, story.bounds())
        for people in SETS:
            await check_conversation(store, story.model, people)
        await check_client_ids(store, story.model)


async def check_user(store: MessageStore, model: Model, user: str, bounds: Bounds) -> None:
    wanted = page(model.of(user, changes=True), bounds)
    found = await store.user_records(user, bounds)
    expect(found, wanted)
    assert [one.kind for one in found] == [one.kind for one in wanted]
    assert await store.count_user_records(user, bounds) == len(wanted)
    messages = model.of(user, changes=False)
    expect(await store.user_page(user, bounds), page(messages, bounds))
    assert await store.count_user(user, bounds) == len(page(messages, bounds))
    newest = {one.channel: one.id for one in messages}
    below = sorted((one for one in newest.values() if one < bounds.before), reverse=True)
    listed = await store.conversations(user, before=bounds.before, limit=bounds.limit)
    assert [one.last_id for one in listed] == below[: bounds.limit]


async def check_conversation(store: MessageStore, model: Model, people: tuple[str, ...]) -> None:
    channel = record(1, to=people).channel
    own = [one for one in model.of(people[0], changes=True) if one.channel == channel]
    messages = [one.id for one in own if one.kind == "message"]
    records = await store.channel_records(channel, Bounds(100), reader=people[0])
    assert ids(records) == [one.id for one in own]
    assert ids(await store.channel_page(channel, Bounds(100))) == messages
    members = await store.members(people[0], channel)
    assert members == ((people, own[-1].id) if own else None)
    assert await store.members("mallory", channel) is None


async def check_client_ids(store: MessageStore, model: Model) -> None:
    held = [model.held[number] for number in sorted(model.held)]
    for one in held:
        if one.client_id is not None:
            key = one.sender, one.channel, one.client_id
            assert await store.find_client_id(*key) == (one.id, one.digest)
    expected = [(one.id, one.sender, one.client_id) for one in held]
    assert await store.client_ids_above(0, 7) == expected[:7]
    assert await store.client_ids_above(0, 1000) == expected
