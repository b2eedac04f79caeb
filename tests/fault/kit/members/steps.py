"""What users do, and what befalls log and store: the steps of a run, as values that shrink."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress
from typing import Any, Final, NamedTuple

import msgspec

from chatsvc.core.errors import ChatError, Unavailable
from chatsvc.core.kinds import Kind
from chatsvc.core.projection import NO_PROJECTIONS, Projections
from tests.contract.support.projected import BOTH, SENDERS, one_version
from tests.fault.kit.members.feature import EDIT, READ
from tests.fault.kit.members.old import SETS
from tests.fault.kit.members.world import World
from tests.fault.kit.model_data import copy

PROGRAMS: Final = {
    "none": NO_PROJECTIONS,
    "one": Projections([SENDERS]),
    "both": BOTH,
    "newer": Projections([one_version(2), SENDERS]),
}
"""The projections that a program may know."""


class Step(NamedTuple):
    """One step: its name, and what it is done with."""

    name: str
    values: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(map(repr, self.values))})"

    async def take(self, world: World) -> None:
        """Do it; what is refused because something is unavailable was not done."""
        with suppress(Unavailable):  # the service answers 503
            await STEPS[self.name](world, *self.values)
        for _ in range(4):
            await asyncio.sleep(0)  # deliveries go out


async def join(world: World, channel: str, users: list[str]) -> None:
    """All at once."""
    done = await asyncio.gather(
        *(world.groups.join(channel, user) for user in users), return_exceptions=True
    )
    for one in done:
        if isinstance(one, BaseException) and not isinstance(one, ChatError):
            raise one


async def leave(world: World, channel: str, user: str) -> None:
    await world.groups.leave(channel, user)


async def remove(world: World, channel: str, user: str, by: str, named: bool) -> None:
    await world.groups.remove(channel, user, by, named=named)


async def dissolve(world: World, channel: str) -> None:
    await world.groups.dissolve(channel)


async def say(world: World, channel: str, user: str, count: int) -> None:
    for _ in range(count):
        await world.groups.say(channel, user)


async def change(world: World, channel: str, user: str, ops: list[Any], to: list[str]) -> None:
    """An edit that changes rows, for the members or for those it names."""
    text = msgspec.json.encode(ops).decode()
    await world.groups.change(channel, user, EDIT, to=to, text=text)


async def mark_read(world: World, channel: str, user: str) -> None:
    await world.groups.change(channel, user, READ)


async def say_to_set(world: World, number: int, ops: list[Any] | None) -> None:
    text = None if ops is None else msgspec.json.encode(ops).decode()
    await world.groups.say_to_set(SETS[number], text)


async def tell(world: World, channel: str, user: str, kind: str) -> None:
    """A change of some kind to the members."""
    await world.groups.change(channel, user, Kind(name=kind))


async def block(world: World, user: str, other: str, ends: bool) -> None:
    await world.groups.block(user, other, ends=ends)


async def persist(world: World, rounds: int, how: str) -> None:
    """Rounds of the persister; ``how`` the first one fails."""
    world.store.partly, world.store.answer_lost = how == "partly", how == "answer lost"
    for _ in range(rounds):
        await world.round()
    world.store.partly = world.store.answer_lost = False


async def break_exchange(world: World, pages: int) -> None:
    """The next exchange of the state ends after so many pages."""
    world.store.exchanges_left = pages


async def write_again(world: World, back: int) -> None:
    """A persister that should have ended writes an old batch, and no watermark."""
    batches = world.store.batches
    if batches and not world.store.unavailable:
        await world.store.write(batches[-1 - back % len(batches)])


async def build(world: World) -> None:
    await world.builder.build()


async def begin_anew(world: World, name: str) -> None:
    """The rows of a projection are built anew, as after a new version of it."""
    if not world.store.unavailable and name in {one.name for one in world.projections}:
        await world.store.projections.begin_anew(name)


async def purge(world: World) -> None:
    if not world.store.unavailable:
        await world.builder.purge()


async def live_on(world: World, seconds: int) -> None:
    """Time passes, and the log forgets what is stored."""
    for _ in range(2):
        world.log.maintenance.run()
        await world.settled()
        world.lived += seconds
        world.clock_ms += seconds * 1000


async def restart(world: World, store_there: bool) -> None:
    await world.close_log()
    await world.open_log(store_there=store_there)


async def crash(world: World, store_there: bool) -> None:
    """What was in memory alone is lost."""
    await world.settled()
    after = world.folder / f"log-{world.next_serial()}"
    shutil.copytree(world.log_folder, after)
    await world.close_log()
    world.log_folder = after
    await world.open_log(store_there=store_there)


async def lose_store(world: World) -> None:
    world.store.unavailable = True
    world.persister.store_lost()


async def regain_store(world: World) -> None:
    world.store.unavailable = False
    await world.store.open()
    world.persister.store_back()


async def back_up_log(world: World) -> None:
    await world.settled()
    world.log_backups.append(copy(world.log_folder / "log.db", world.folder, "log-backup"))


async def back_up_store(world: World) -> None:
    if not await _has_rows_to_lose(world):
        world.store_backups.append(world.place.back_up())


async def _has_rows_to_lose(world: World) -> bool:
    """Whether the store has rows of records that the log alone has, and may not lose."""
    if world.options.lose_rows or world.store.unavailable:
        return False
    return await world.store.has_rows_above()


async def put_log_back(world: World, back: int, store_there: bool) -> None:
    """An older log, or none where there is no backup."""
    if await _has_rows_to_lose(world):
        return
    await world.close_log()
    for reader in world.readers:
        if world.store_is_partial and not store_there:
            reader.cannot_be_told()
        reader.log_is_lost(world.log.epoch, was_older=world.is_older)
    world.is_older = True
    _pass_time(world)
    world.store.batches.clear()  # of a past that may be no more
    world.log_folder = world.folder / f"log-{world.next_serial()}"
    world.log_folder.mkdir()
    if back >= 0 and world.log_backups:
        backup = world.log_backups[-1 - back % len(world.log_backups)]
        shutil.copy(backup, world.log_folder / "log.db")
    await world.open_log(store_there=store_there)
    for reader in world.readers:
        reader.log_was_put_back(world.log.epoch, world.log.tail.head)


async def lose_log(world: World, store_there: bool) -> None:
    await put_log_back(world, -1, store_there)


async def put_store_back(world: World, back: int, when: str) -> None:
    """An older store, or an empty one where there is none.

    While the service is stopped, under it, or in the middle of the next batch: between two
    parts of it, or between the batch and its watermark; with the file opened anew then.
    """
    if when == "stopped":
        await world.close_log()
        _pass_time(world)
        await _swap(world, back)
        await world.open_log(store_there=not world.store.unavailable)
        return

    async def swap() -> None:
        await _swap(world, back, running=True)
        world.persister.store_lost()  # as the probe finds
        await world.store.open()

    if when == "running":
        await swap()
    elif when == "in a batch":
        world.store_is_partial = True
        world.store.between = swap
        await world.round()
    else:
        world.store.before_mark = swap
        await world.round()
    world.store.between = world.store.before_mark = None


async def _swap(world: World, back: int, *, running: bool = False) -> None:
    store, backups = world.store, list(world.store_backups)
    await back_up_store(world)
    empty = back < 0 or not backups
    if empty and running:
        return  # the one that is gone is not made anew under a service
    store.batches.clear()
    backup = None if empty else backups[-1 - back % len(backups)]
    if running:
        world.place.replace(backup)
        return
    await store.close()
    world.place.put(backup)
    if empty and world.options.same_store:
        world.store_backups.clear()
    await _open_another(world)


async def _open_another(world: World) -> None:
    """Another object over the same store."""
    before, world.store = world.store, world.make_store()
    world.store.unavailable = before.unavailable
    if not before.unavailable:
        await world.store.open()


async def deploy(world: World, program: str) -> None:
    """Another program, which knows other projections, or another version of them."""
    if world.projections is PROGRAMS[program]:
        return
    await world.close_log()
    await world.store.close()
    world.projections = PROGRAMS[program]
    await _open_another(world)
    await world.open_log(store_there=not world.store.unavailable)


def _pass_time(world: World) -> None:
    """What is accepted from now on has other ids, whatever is put back."""
    if not world.options.collide:
        world.clock_ms += 60_000


async def read(world: World, number: int) -> None:
    """One of the clients reads what there is."""
    reader = world.readers[number % len(world.readers)]
    await reader.catch_up(world)


async def fetch(world: World, number: int) -> None:
    """One of the clients fetches what lies in its gaps."""
    await world.readers[number % len(world.readers)].fetch(world)


async def disconnect(world: World, number: int) -> None:
    world.readers[number % len(world.readers)].disconnect(world)


STEPS: Final = {
    one.__name__: one
    for one in (
        join,
        leave,
        remove,
        dissolve,
        say,
        change,
        mark_read,
        say_to_set,
        tell,
        block,
        persist,
        break_exchange,
        write_again,
        build,
        begin_anew,
        purge,
        live_on,
        deploy,
        restart,
        crash,
        lose_store,
        regain_store,
        back_up_log,
        back_up_store,
        put_log_back,
        lose_log,
        put_store_back,
        read,
        fetch,
        disconnect,
    )
}
