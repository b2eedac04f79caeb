"""What must be equal for everybody once all is quiet."""

from __future__ import annotations

import json
from collections.abc import Iterable

from chatsvc.core.filters import Filters
from chatsvc.core.ids import MAX_ID, STEP
from chatsvc.core.membership import is_member_channel
from chatsvc.core.page import Bounds
from chatsvc.core.participants import channel_key
from chatsvc.core.record import Record, unpack
from chatsvc.core.state_rows import ChannelRow, FilterRow, MemberRow, StatePage, StateRow
from chatsvc.storage.state_rows import RowKey, newest_rows, row_key, rows_of
from tests.contract.support.projected import BOTH, expected
from tests.contract.support.projected import rows_of as stored_rows
from tests.fault.kit.members.feature import KINDS, content_of
from tests.fault.kit.members.old import SETS
from tests.fault.kit.members.readers import Reader, not_received
from tests.fault.kit.members.steps import deploy
from tests.fault.kit.members.world import CHANNELS, USERS, World
from tests.fault.kit.model_data import read_rows

Rows = dict[RowKey, StateRow]


async def check(world: World) -> None:
    """Drain, and compare everything, with a program that knows every projection."""
    world.store.make_steady()
    await deploy(world, "both")
    await world.drain()
    logged, stored = await _log_rows(world), await _store_rows(world)
    check_state(world, logged, stored)
    records = await present(world)
    check_fold(world, records, stored)
    await check_pages(world, records, stored)
    await check_readers(world, records, stored)
    await check_projections(world)


async def _log_rows(world: World) -> Rows:
    return await _all(world.log.exchange.state_page)


async def _store_rows(world: World) -> Rows:
    return await _all(world.store.state_page)


async def _all(read: object) -> Rows:
    rows: list[StateRow] = []
    after = ""
    while True:
        page: StatePage = await read(after, 100)  # type: ignore[operator]
        rows += page.rows
        after = page.after
        if not after:
            return {row_key(row): row for row in rows}


def _present(row: StateRow) -> bool:
    return not isinstance(row, MemberRow) or row.member.is_present


def check_state(world: World, logged: Rows, stored: Rows) -> None:
    """The rows of the log are those of the store, and counts are the members."""
    for key, row in logged.items():
        held = stored.get(key)
        assert held is not None, f"only in the log: {row}"
        if world.options.collide:
            held = held._replace(rev=row.rev)  # a record that got another id stored it again
        assert held == row, f"log {row}, store {stored[key]}"
    for key, row in stored.items():
        assert key in logged or not _present(row), f"only in the store: {row}"
    for channel in CHANNELS:
        state = world.log.state.channel(channel)
        present = [
            row.member
            for row in logged.values()
            if isinstance(row, MemberRow) and row.channel == channel and row.member.is_present
        ]
        if state is None:
            assert not present
            continue
        users = {one.user for one in present}
        assert len(users) == len(present), f"twice a member: {present}"
        if not state.dissolved:
            assert state.count == len(users), f"{channel}: {state}, {sorted(users)}"
        else:
            assert state.count == 0


async def present(world: World) -> list[Record]:
    """Every record that is in the store or in the log, as the log accepted it, by id."""
    found = {one.id: one for one in await world.store.scan(0, 1 << 62, 1 << 20, 1 << 30)}
    rows = read_rows(world.log_folder / "log.db", "SELECT id, data FROM records")
    for key, data in rows:
        one = unpack(key, data)
        held = found.setdefault(key, one)
        assert content_of(held.body) == content_of(one.body), f"two under one id: {held}, {one}"
    return [found[key] for key in sorted(found)]


def as_accepted(world: World, record: Record) -> Record:
    """The record with its envelope, which a store does not keep."""
    for one in world.accepted[content_of(record.body)]:
        if one.id == record.id:
            return one
    raise AssertionError(f"nobody was given this id: {record}")


def check_fold(world: World, records: Iterable[Record], stored: Rows) -> None:
    """No row is older than what the records that there are say, and none is made up."""
    if world.options.collide:
        return  # a record that got another id has changed rows under the one before, too
    for row in newest_rows(rows_of(as_accepted(world, one) for one in records)):
        held = stored.get(row_key(row))
        assert held is not None, f"{row} is lost"
        assert held.rev >= row.rev, f"{row} is lost: {held}"
    known = {one.id for some in world.accepted.values() for one in some}
    # Where two pasts are put together, a row gets a rev of its own, just above an id.
    assert {row.rev - row.rev % STEP for row in stored.values()} <= known | {0}


def _is_for(record: Record, user: str, stored: Rows) -> bool:
    if record.audience:
        return user in record.audience
    if not is_member_channel(record.channel):
        return False
    channel = stored.get(("channel", record.channel))
    dissolved = channel.state.dissolved if isinstance(channel, ChannelRow) else 0
    return any(
        row.member.joined <= record.id <= (row.member.left or dissolved or 1 << 62)
        for row in stored.values()
        if isinstance(row, MemberRow)
        and (row.channel, row.member.user) == (record.channel, user)
        and row.member.joined
    )


def of_user(records: list[Record], user: str, stored: Rows) -> list[Record]:
    """What is the user's of them, without what is hidden; of a ``latest`` kind the newest."""
    filters = Filters(
        row.filter
        for row in stored.values()
        if isinstance(row, FilterRow) and row.filter.user == user
    )
    newest = {
        (one.channel, one.kind, one.target): one.id for one in records if KINDS.is_latest(one.kind)
    }
    return [
        one
        for one in records
        if _is_for(one, user, stored)
        and not filters.hides(one, KINDS.is_blockable)
        and newest.get((one.channel, one.kind, one.target), one.id) == one.id
    ]


async def check_pages(world: World, records: list[Record], stored: Rows) -> None:
    """Pages of changes and of messages have exactly what is a user's."""
    for user in USERS:
        mine = of_user(records, user, stored)
        page = await world.history.records.user_page(user, Bounds(1000, newest=False))
        older = {one.id for one in records if KINDS.is_latest(one.kind)} - {one.id for one in mine}
        found = [one.id for one in page.entries if one.id not in older]
        assert found == [one.id for one in mine], f"changes of {user}"
        messages = [one.id for one in mine if one.kind == "message"]
        listed = await world.history.user_page(user, Bounds(1000))
        assert [one.id for one in listed.entries] == messages, f"messages of {user}"
        for channel in CHANNELS:
            shown = await world.history.channel_page(channel, Bounds(1000), reader=user)
            wanted = [
                one.id
                for one in mine
                if one.channel == channel and one.kind == "message" and not one.audience
            ]
            assert [one.id for one in shown.entries] == wanted, f"{channel} of {user}"
        await check_listing(world, mine, user)
    for people in SETS:
        await check_set(world, records, people)


async def check_set(world: World, records: list[Record], people: tuple[str, ...]) -> None:
    """A page of a conversation has every message in it."""
    channel = channel_key(people)
    shown = await world.history.channel_page(channel, Bounds(1000), reader=people[0])
    wanted = [one.id for one in records if one.channel == channel and one.kind == "message"]
    assert [one.id for one in shown.entries] == wanted, f"{people}"


async def check_listing(world: World, mine: list[Record], user: str) -> None:
    """Conversations are in the order of the newest message in them that is the user's."""
    newest = {
        one.channel: one.id
        for one in mine
        if one.kind == "message" and (one.audience == () or not is_member_channel(one.channel))
    }
    listed = await world.history.conversations(user, before=MAX_ID, limit=100)
    found = [(one.channel, one.last_id) for one in listed.conversations]
    assert found == sorted(newest.items(), key=lambda one: -one[1]), f"conversations of {user}"


async def check_readers(world: World, records: list[Record], stored: Rows) -> None:
    """Each client has received what is its user's, and nothing else that is there."""
    for reader in world.readers:
        await reader.catch_up(world)
        await reader.fetch(world)
        if reader.cannot_know:
            continue
        mine = of_user(records, reader.user, stored)
        lacking = not_received(reader, [(content_of(one.body), one.id) for one in mine])
        assert not lacking, f"{reader} never received {lacking}"
    for user in USERS:
        both = [one for one in world.readers if one.user == user]
        if any(one.cannot_know for one in both):
            continue
        mine = of_user(records, user, stored)
        states = [state_of(one, mine) for one in both]
        assert states[0] == states[1], f"{user}: frames {states[0]}, pages {states[1]}"


def state_of(reader: Reader, mine: Iterable[Record]) -> dict[tuple[str, str, str], list[str]]:
    """What a client shows that was told of nothing else: records, by conversation and kind."""
    shown: dict[tuple[str, str, str], list[str]] = {}
    for one in mine:
        content = content_of(one.body)
        if content in reader.received:
            shown.setdefault((one.channel, one.kind, one.target), []).append(content)
    return shown


async def check_projections(world: World) -> None:
    """Rows are those of one plain fold of the store's records."""
    records = await world.store.scan(0, 1 << 62, 1 << 20, 1 << 30)
    mark = await world.store.watermark()
    for one in BOTH:
        wanted = [
            row for row in expected(one, [r for r in records if r.kind in one.kinds]) if row.rev
        ]
        found = [row for row in await stored_rows(world.store, one) if row.rev]
        assert found == wanted, f"rows of {one.name}"
        position = await world.store.projections.position(one.name)
        assert mark is None or position >= mark.position


def describe(world: World) -> str:
    """Where everything stands, for who reads a failure."""
    lines = [
        f"{content}: {[f'{one.id:x}' for one in some]} {some[-1].kind} {some[-1].channel}"
        f" {some[-1].audience or ''} {json.loads(some[-1].body)['sender']}"
        f" {some[-1].state or ''} for {sorted(world.entitled[content])}"
        for content, some in world.accepted.items()
    ]
    tail = world.log.tail
    lines.append(
        f"floor {tail.floor:x} stored {tail.stored:x} watermark {tail.watermark:x}"
        f" head {tail.head:x} base {tail.base:x} hole {tail.hole}"
        f" epochs {world.log.epochs}"
    )
    lines += map(repr, world.readers)
    return "\n".join(lines)
