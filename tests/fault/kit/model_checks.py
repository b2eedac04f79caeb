"""What a :class:`~tests.fault.kit.model.World` answers, against what its files hold."""

from __future__ import annotations

import json
from collections.abc import Iterable

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import MAX_ID, format_id, id_ms, parse_id, uuid7_ms
from chatsvc.core.page import Bounds, Page
from chatsvc.delivery.connection import Connection
from chatsvc.log.key_bounds import AHEAD_MS
from tests.fault.kit.model import World
from tests.fault.kit.model_data import CONVERSATIONS, USERS, WINDOW_MS, Client, Held, Sent


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def writelines(self, frames: Iterable[bytes]) -> None:
        self.data += b"".join(frames)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        raise AssertionError("cut")


async def check(world: World, *, settled: bool = False) -> None:
    """Ask for something of everything, and compare."""
    world.checks += 1
    everything = present = world.present()
    if world.log_is_older:
        # One that was put back and has met no store since cannot know what it has lost. As
        # soon as it does, whoever is connected is told, and fetches it.
        held = (*world.in_log().values(), *world.in_memory().values())
        known = {one.content for one in held}
        floor = world.log.tail.floor
        present = [one for one in present if one.content in known or one.id <= floor]
    world.readmitted = world.doubled()
    contents = [one.content for one in present]
    assert len(set(contents)) == len(contents) or world.readmitted, "twice"
    for one in present:
        assert world.sent[one.content].channel == one.channel
    must = settled
    for user in USERS:
        records = [one for one in present if user in one.users]
        mine = [one for one in records if one.is_message]
        maybe = [one for one in everything if user in one.users and one.is_message]
        await check_pages(world, mine, maybe, None, user, must)
        await check_conversations(world, mine, user, must)
        await check_resume(world, records, user, must)
        await check_records(world, records, user, must)
    for people in CONVERSATIONS:
        channel = ",".join(people)
        here = [one for one in present if one.channel == channel and one.is_message]
        maybe = [one for one in everything if one.channel == channel and one.is_message]
        await check_pages(world, here, maybe, channel, people[0], must)
    await check_single(world, present, must)
    if not world.log_is_older:
        await check_retries(world, present, must)
    if not world.log_is_older:
        check_live(world, present)


async def check_pages(
    world: World,
    mine: list[Held],
    maybe: list[Held],
    channel: str | None,
    user: str,
    must: bool,
) -> None:
    """``mine`` must be there; ``maybe`` may."""
    dice, history = world.dice, world.history
    ids = [one.id for one in mine] or [1 << 50]
    bound = dice.choice(ids) + dice.choice([-1, 0, 1])
    limit = dice.randint(1, 7)
    for bounds in (
        Bounds(limit),
        Bounds(limit, before=bound),
        Bounds(limit, after=bound, newest=False),
        Bounds(limit, after=0, newest=False),
    ):
        try:
            page = (
                await history.user_page(user, bounds)
                if channel is None
                else await history.channel_page(channel, bounds)
            )
        except StoreUnavailable:
            assert world.store.unavailable, "nothing is away"
            continue
        inside = [one for one in mine if bounds.after < one.id < bounds.before]
        kept = inside[-limit:] if bounds.newest else inside[:limit]
        found = [json.loads(entry.body)["content"] for entry in page.entries]
        check_lost(world, page, bounds)
        if page.complete and len(mine) == len(maybe) and not world.readmitted:
            assert found == [one.content for one in kept], (bounds, found, kept)
            assert page.has_more == (len(inside) > limit)
        else:
            assert not must or world.readmitted, "not complete, though nothing is missing"
            assert set(found) <= {one.content for one in maybe}, (bounds, found, maybe)


def check_lost(world: World, page: Page, bounds: Bounds) -> None:
    """What the log has deleted and the store lacks is named wherever it would have been."""
    if not page.complete or not world.confirmed:
        return
    low = page.entries[0].id if page.has_more and page.entries and bounds.newest else bounds.after
    high = (
        page.entries[-1].id
        if page.has_more and page.entries and not bounds.newest
        else bounds.before
    )
    for position in world.deleted_and_lost():
        if low < position < high:
            assert page.lost is not None, f"{position:x} is lost, and nobody is told"
            assert page.lost[0] < position <= page.lost[1]


async def check_conversations(world: World, mine: list[Held], user: str, must: bool) -> None:
    letters = world.in_letters().keys()
    last = {one.channel: one.id for one in mine if one.id not in letters}
    in_memory = {one.channel: one.id for one in mine}
    found: list[tuple[str, int]] = []
    before = MAX_ID
    complete = True
    for _ in range(20):
        try:
            page = await world.history.conversations(
                user, before=before, limit=world.dice.randint(1, 2)
            )
        except StoreUnavailable:
            assert world.store.unavailable
            return
        found += [(one.channel, one.last_id) for one in page.conversations]
        complete = complete and page.complete
        if not page.has_more:
            break
        before = page.conversations[-1].last_id
    else:
        raise AssertionError("a listing that does not end")
    if complete and not world.log_is_older:
        assert found == sorted(found, key=lambda item: -item[1])
        assert set(last) <= {channel for channel, _ in found}
        for channel, last_id in found:  # a dead letter is listed while memory answers
            assert last_id in (last.get(channel), in_memory.get(channel)), (found, last, in_memory)
        assert len({channel for channel, _ in found}) == len(found)
    else:
        assert not must


async def check_single(world: World, present: list[Held], must: bool) -> None:
    stored = world.in_store() | world.in_letters()
    for one in world.dice.sample(present, min(5, len(present))):
        if not one.is_message:
            continue
        try:
            found = await world.history.get(one.id)
        except StoreUnavailable:
            assert not must
            continue
        assert found is not None, f"{one} is not found"
        entry, state = found
        content = json.loads(entry.body)["content"]
        # Two may have one id until the store is there to tell.
        assert content == one.content or (world.store.unavailable and content in world.sent)
        if state == "stored" and world.confirmed:
            assert one.id in stored, f"{one} is not stored"


def can_be_told(world: World, one: Sent) -> bool:
    """Whether the same ``client_id`` must be the same message."""
    minted_ms = uuid7_ms(one.client_id or "")
    if minted_ms is None:
        return world.lived - one.lived < WINDOW_MS / 1000
    # Minted ahead, and its time has come meanwhile: the store alone knows the sender's bound.
    return minted_ms <= id_ms(one.id) + AHEAD_MS or not world.log.past_is_unknown


async def check_retries(world: World, present: list[Held], must: bool) -> None:
    """Who does not know what became of a send repeats it, and it is the same message."""
    there = {one.content for one in (*present, *world.in_letters().values())}
    candidates = [
        one
        for one in world.sent.values()
        if one.client_id is not None and one.content in there and can_be_told(world, one)
    ]
    for one in world.dice.sample(candidates, min(3, len(candidates))):
        try:
            again = await world.submit(one.users, one.sender, one.content, one.client_id)
        except StoreUnavailable:
            assert not must, "cannot be told, though everything is there"
            continue
        assert again.duplicate, f"{one} was accepted twice"
        assert json.loads(again.body)["content"] == one.content


async def check_resume(world: World, mine: list[Held], user: str, must: bool) -> None:
    """A client that was here before comes back; and one that is here now is remembered."""
    theirs = [
        one
        for one in world.clients
        if one.user == user
        and one.logs_ago < 2
        and not one.forked
        and not (one.lost and one.cursor.startswith(world.log.epoch + "."))
    ]
    for client in world.dice.sample(theirs, min(2, len(theirs))):
        plan = await world.resumer.plan(user, client.cursor)
        connection = Connection(user, "d", echo=True, buffer_limit=1 << 30)
        wire = Wire()
        connection.transport = wire  # type: ignore[assignment]
        await world.resumer.run(connection, plan)
        world.hub.discard(connection)
        frames = read_frames(wire.data)
        gaps = [
            (parse_id(frame["from"]), parse_id(frame["to"]))
            for frame in frames
            if frame["type"] == "gap"
        ]
        older = world.outdated()
        got = [
            frame["content"]
            for frame in frames
            if "content" in frame and frame["content"] not in older
        ]
        assert len(set(got)) == len(got) or world.readmitted, "twice"
        position = parse_id(client.cursor.partition(".")[2])
        same_epoch = client.cursor.startswith(world.log.epoch + ".")
        if plan.recovered:
            assert same_epoch
            if not gaps and not world.log_is_older and not world.readmitted:
                assert got == [one.content for one in mine if one.id > position]
        for one in mine:
            assert (
                one.content in got
                or one.content in client.seen
                or any(low < one.id <= high for low, high in gaps)
            ), f"{one} is passed over: {client.cursor}, {plan}, {gaps}"
    if mine:
        at = world.dice.choice(mine).id
        # Also what has since been lost, and may come back with the store that holds it.
        seen = world.sent_to(user, at) | {one.content for one in mine if one.id <= at}
        world.clients.append(Client(user, f"{world.log.epoch}.{format_id(at)}", seen))


async def check_records(world: World, mine: list[Held], user: str, must: bool) -> None:
    """Pages of records of every kind, or of some, to the end."""
    kinds = world.dice.choice([None, frozenset({"message"}), frozenset({"edit", "read"})])
    after = world.dice.choice([0, *(one.id for one in mine)])
    wanted = [one for one in mine if one.id > after and (kinds is None or one.kind in kinds)]
    found: list[str] = []
    complete = True
    position, has_more = after, True
    while has_more:
        bounds = Bounds(world.dice.randint(1, 5), after=position, newest=False)
        try:
            page = await world.history.records.user_page(user, bounds, kinds)
        except StoreUnavailable:
            assert world.store.unavailable, "nothing is away"
            return
        found += [json.loads(entry.body)["content"] for entry in page.entries]
        complete = complete and page.complete
        has_more = page.has_more
        assert page.up_to > position or not has_more, "a page that does not move on"
        position = page.up_to
    older = world.outdated()
    kept = [content for content in found if content not in older]
    if complete and not world.log_is_older and not world.readmitted:
        assert kept == [one.content for one in wanted], (user, kinds, after)
    else:
        assert not must or world.readmitted, "not complete, though nothing is missing"


def check_live(world: World, present: list[Held]) -> None:
    """Whoever stayed connected was sent everything, or told to fetch it."""
    for user, live in world.live.items():
        for one in present:
            if user in one.users and one.content not in live.seen:
                assert any(low < one.id <= high for low, high in live.gaps), (
                    f"{one} never came to {user}, who is connected"
                )


def read_frames(data: bytes) -> list[dict[str, str]]:
    """Text frames as the server writes them: unmasked, never in parts."""
    found: list[dict[str, str]] = []
    at = 0
    while at < len(data):
        length = data[at + 1]
        start = at + 2
        if length == 126:
            length, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        elif length == 127:
            length, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
        found.append(json.loads(data[start : start + length]))
        at = start + length
    return found
