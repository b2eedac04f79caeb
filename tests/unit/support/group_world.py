"""Groups of two services on one log in a file, whose commits a test lets through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final, NamedTuple

from chatsvc.core.errors import ChatError, LogUnavailable
from chatsvc.core.limits import Limits
from chatsvc.core.page import Bounds
from chatsvc.core.record import Draft, Record
from chatsvc.features.groups.members import GroupMembers
from chatsvc.features.groups.service import GroupPatch, GroupService
from chatsvc.features.groups.settings import GroupSettings, HistoryPolicy, JoinPolicy, Role
from chatsvc.features.messages.member_sends import MemberSends
from chatsvc.log.deciding import Deciding
from chatsvc.log.group_commit import Done, Outcome
from chatsvc.log.local.log import LocalLog
from chatsvc.log.merging import Merging
from chatsvc.storage.history.repeats import Repeats
from testkit.group_model import GroupModel, Op
from tests.unit.support.commit_disk import turn

FIRST: Final = "a"
"""Who creates the group."""
KEY: Final = "the club"
"""The ``client_id`` of its creation."""
SETTINGS: Final = GroupSettings(name="Club", join=JoinPolicy.OPEN)


class Asked(NamedTuple):
    """A request that has its answer, and the records before and after it."""

    op: Op
    code: str
    after: int
    up_to: int


class NoStore:
    """A store that knows no ``client_id`` and has no record."""

    async def find_client_id(
        self, sender: str, channel: str, client_id: str, *, after: int
    ) -> tuple[int, bytes] | None:
        return None

    async def body(self, record_id: int, *, reader: str) -> bytes | None:
        return None


class Gate:
    """Holds each commit of a log until it is let through or failed."""

    def __init__(self, log: LocalLog) -> None:
        self._commit = log._commit
        self._write = self._commit._write
        self._commit._write = self._hold
        self._held: tuple[list[Draft], Done] | None = None

    def _hold(self, drafts: list[Draft], done: Done) -> None:
        assert self._held is None, "one write at a time"
        self._held = drafts, done

    async def let_through(self) -> None:
        """Until it is durable, and answered."""
        if self._held is None:
            return
        (drafts, done), self._held = self._held, None
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def durable(outcomes: Sequence[Outcome]) -> None:
            done(outcomes)
            written.set_result(None)

        self._write(drafts, durable)
        await written

    def fail(self) -> None:
        if self._held is not None:
            (drafts, done), self._held = self._held, None
            done([LogUnavailable("the disk is full", code="disk_full")] * len(drafts))


class Service:
    """What one process decides by."""

    def __init__(self, log: LocalLog, limits: Limits) -> None:
        deciding, merging = Deciding(log, pause=_turn), Merging(Deciding(log, pause=_turn))
        store = NoStore()
        self.groups = GroupService(
            log=log, deciding=deciding, repeats=Repeats(log, store, store), limits=limits
        )
        self.members = GroupMembers(log=log, merging=merging, limits=limits)
        self.sends = MemberSends(log=log, deciding=deciding, client_ids=store, limits=limits)


async def _turn(_attempt: int) -> None:
    await turn()


class GroupWorld:
    """A group, who asks for changes of it, and what they were answered."""

    def __init__(self, log: LocalLog, *, capacity: int) -> None:
        self.log = log
        self.capacity = capacity
        limits = Limits(group_members=capacity)
        self.services = [Service(log, limits), Service(log, limits)]
        self.gate = Gate(log)
        self.channel = ""
        self.asked: list[Asked] = []
        self.said: dict[tuple[str, int], list[str]] = {}
        self._answered: list[tuple[Op, str, int]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._number = 0
        self.start = log.tail.head

    async def create(self, *others: str) -> None:
        """Create the group, under a ``client_id`` of the file's head."""
        key = f"{KEY} {self.start:x}"
        task = asyncio.ensure_future(self.services[0].groups.create(FIRST, SETTINGS, others, key))
        while not task.done():
            await turn()
            await self.gate.let_through()
        self.channel = task.result().group.channel

    def ask(self, op: Op, service: int) -> None:
        """Ask for something; sends in the order of calls."""
        if op.what in ("add", "kick") and op.actor == op.user:
            op = Op("join" if op.what == "add" else "leave", op.actor)
        after = self.log.tail.head
        self._number += 1
        number = self._number
        try:
            answer = self._call(op, self.services[service], str(number))
        except ChatError as exc:
            self._answered.append((op, exc.code, after))
            return
        if op.what == "send":
            self.said.setdefault((op.actor, service), []).append(str(number))
        self._tasks.append(asyncio.ensure_future(self._note(op, answer, after)))

    async def _note(self, op: Op, answer: Awaitable[object], after: int) -> None:
        try:
            await answer
        except ChatError as exc:
            self._answered.append((op, exc.code, after))
        else:
            self._answered.append((op, "", after))

    def _call(self, op: Op, service: Service, number: str) -> Awaitable[object]:
        groups, members, channel = service.groups, service.members, self.channel
        match op.what:
            case "join":
                return members.put(channel, op.actor, op.actor, None)
            case "add":
                return members.put(channel, op.actor, op.user, None)
            case "role":
                return members.put(channel, op.actor, op.user, Role(op.value))
            case "leave":
                return members.remove(channel, op.actor, op.actor)
            case "kick":
                return members.remove(channel, op.actor, op.user)
            case "delete":
                return groups.delete(op.actor, channel)
            case "send":
                return service.sends.submit(op.actor, "", channel, number)
        return groups.update(op.actor, channel, patch_of(op.value, number))

    async def step(self, name: str) -> None:
        """``turn``, ``finish`` or ``fail``."""
        await turn()
        if name == "finish":
            await self.gate.let_through()
        elif name == "fail":
            self.gate.fail()
        self._take_answers()

    def _take_answers(self) -> None:
        # What was decided by rows that were ahead of the head is behind it now.
        head = self.log.tail.head
        self.asked += [Asked(*one, head) for one in self._answered]
        self._answered.clear()

    async def end(self) -> None:
        """Until everybody has an answer."""
        while not all(task.done() for task in self._tasks):
            await self.step("finish")
        await self.step("turn")
        for task in self._tasks:
            task.result()

    def records(self) -> list[Record]:
        bounds = Bounds(1_000_000, after=self.start, newest=False)
        return [one for one in self.log.tail.page(bounds) if one.channel == self.channel]


def patch_of(field: str, text: str) -> GroupPatch:
    """A change of one field, to what it was never before if it is free text."""
    match field:
        case "name":
            return GroupPatch(name=f"Club {text}")
        case "avatar":
            return GroupPatch(avatar=text)
        case "history":
            return GroupPatch(history=HistoryPolicy.FROM_JOIN)
    return GroupPatch(join=JoinPolicy.OPEN if field == "open" else JoinPolicy.INVITE)


def replay(world: GroupWorld) -> GroupModel:
    """Go through the records, and check what was answered, and what the rows say at the end."""
    model, waiting = GroupModel(world.capacity), list(world.asked)
    codes: list[set[str]] = [set() for _ in waiting]
    for record in [None, *world.records()]:
        if record is not None:
            model.apply(record)
        at = world.start if record is None else record.id
        following = [one.id for one in world.records() if one.id > at]
        last = following[0] - 1 if following else 1 << 63
        for place, one in enumerate(waiting):
            if one.after <= last and at <= one.up_to:
                codes[place].add(model.refusal(one.op))
    for place, one in enumerate(waiting):
        if one.code != "disk_full":
            assert one.code in codes[place], f"{one.op} was answered {one.code!r}"
    _check_rows(world, model)
    _check_order(world, model)
    return model


def _check_rows(world: GroupWorld, model: GroupModel) -> None:
    state, channel = world.log.state, world.channel
    row = state.channel(channel)
    assert row is not None
    assert row.count == len(model.present)
    assert (row.dissolved != 0) == model.is_deleted
    model.check_settings(row.settings)
    listed = state.members_page(channel, (0, ""), 1000).members
    assert [one.user for one in listed] == ([] if model.is_deleted else model.in_order())
    assert [one.role for one in listed] == [model.role_of(one.user) for one in listed]


def _check_order(world: GroupWorld, model: GroupModel) -> None:
    """What one user says to one service is accepted in the order of calls."""
    said = {content: at for at, (_, content) in enumerate(model.said)}
    for contents in world.said.values():
        places = [said[one] for one in contents if one in said]
        assert places == sorted(places)
