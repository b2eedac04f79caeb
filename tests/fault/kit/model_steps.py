"""What befalls a :class:`~tests.fault.kit.model.World`: the steps of a run, and their weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

from chatsvc.client.uuid7 import build_uuid7
from chatsvc.core.errors import LogUnavailable, StoreUnavailable
from chatsvc.log.local.verify import BadRow, remove
from tests.fault.kit.model import World
from tests.fault.kit.model_data import CONVERSATIONS, HOUR_MS, Sent, copy
from tests.fault.kit.unsteady_store import REFUSED, UnsteadySqlite


async def send(world: World) -> None:
    for client in world.clients:
        if client.lost and client.cursor.startswith(f"{world.log.epoch}."):
            client.forked = True
    for _ in range(world.dice.randint(1, 6)):
        to = world.dice.choice(CONVERSATIONS)
        sender = world.dice.choice(to)
        content = f"m{len(world.sent)}"
        if world.dice.random() < 0.3:
            await send_change(world, to, sender, content)
            continue
        if world.dice.random() < 0.08:
            content += f" {REFUSED}"
        client_id = fresh_client_id(world) if world.dice.random() < 0.7 else None
        try:
            appended = await world.submit(to, sender, content, client_id)
        except StoreUnavailable:
            assert client_id is not None, "needs no store"
            continue  # whether it was used cannot be told: nothing was kept
        assert not appended.duplicate, "nobody has sent it before"
        assert json.loads(appended.body)["content"] == content
        world.sent[content] = Sent(
            appended.id, content, to, ",".join(to), sender, client_id, world.lived
        )


async def send_change(world: World, to: tuple[str, ...], sender: str, content: str) -> None:
    """An edit of something, or how far somebody has read."""
    kind = world.dice.choice(["edit", "read"])
    appended = await world.change(kind, to, sender, content, sender)
    world.sent[content] = Sent(
        appended.id, content, to, ",".join(to), sender, None, world.lived, kind
    )


def fresh_client_id(world: World) -> str:
    """A UUIDv7, minted by a client whose clock is right, or not; or some other string."""
    if world.dice.random() < 0.25:
        return f"k{world.next_serial()}"
    skew = world.dice.choice([0, 0, 0, -200, 5_000, -HOUR_MS, HOUR_MS, 30 * HOUR_MS])
    return str(build_uuid7(max(1, world.clock_ms + skew), world.dice.getrandbits(74)))


async def persist(world: World) -> None:
    world.store.partly = world.dice.random() < 0.15
    world.store.answer_lost = world.dice.random() < 0.1
    for _ in range(world.dice.randint(1, 3)):
        await world.round()
    world.store.partly = world.store.answer_lost = False


async def step_clock(world: World) -> None:
    step = world.dice.choice([1, 1000, 60_000, HOUR_MS, 25 * HOUR_MS, 24 * 365 * HOUR_MS])
    world.clock_ms = max(1000, world.clock_ms + world.dice.choice([1, -1]) * step)


async def live_on(world: World) -> None:
    await world.run_maintenance()
    world.lived += world.dice.choice([1.0, 700.0, 5000.0, 90_000.0])
    await world.run_maintenance()


async def restart(world: World) -> None:
    await world.close_log()
    await world.open_log(world.dice.random() < 0.7)


async def crash(world: World) -> None:
    """What was in memory alone is gone."""
    await world.settled()
    after = world.next_log()
    shutil.copytree(world.log_folder, after)
    await world.close_log()
    world.log_folder = after
    await world.open_log(world.dice.random() < 0.7)


async def fail_to_save(world: World) -> None:
    """A moment of a full disk, in which housekeeping is due."""
    real = world.log._file.set_metas

    def full(values: object) -> None:
        raise LogUnavailable("full", code="disk_full")

    world.log._file.set_metas = full  # type: ignore[method-assign]
    await world.run_maintenance()
    world.log._file.set_metas = real  # type: ignore[method-assign]
    await world.run_maintenance()


async def store_goes_or_comes(world: World) -> None:
    world.store.unavailable = not world.store.unavailable
    if not world.store.unavailable:
        await world.store.open()  # as the service does for its readers


async def back_up_log(world: World) -> None:
    await world.settled()
    path = copy(world.log_folder / "log.db", world.folder, "log-backup")
    world.log_backups.append((path, dict(world.deleted)))


async def back_up_store(world: World) -> None:
    if world.store.path.exists():
        world.store_backups.append(copy(world.store.path, world.folder, "store-backup"))


async def restore_log(world: World) -> None:
    if not world.log_backups:
        return
    await world.close_log()
    world.log_folder = world.next_log()
    world.log_folder.mkdir()
    backup, deleted = world.dice.choice(world.log_backups)
    shutil.copy(backup, world.log_folder / "log.db")
    world.deleted = dict(deleted)
    head = max(world.in_log(), default=0)
    for client in world.clients:
        client.lost = client.lost or int(client.cursor.partition(".")[2], 16) > head
    await after_loss(world)


async def lose_log(world: World) -> None:
    await world.close_log()
    world.log_folder = world.next_log()
    world.deleted = {}
    await after_loss(world)


async def after_loss(world: World) -> None:
    world.log_is_older = True
    for client in world.clients:
        client.logs_ago += 1
    if world.dice.random() < 0.5:
        await another_epoch_of_the_store(world)
    await world.open_log(world.dice.random() < 0.5)


async def restore_store(world: World) -> None:
    """While the service is stopped, or under it."""
    running = world.dice.random() < 0.5
    if not running:
        await world.close_log()
    await another_epoch_of_the_store(world, running=running)
    if not running:
        world.log_is_older = True  # or the store is a stranger: neither knows the other
        await world.open_log(world.dice.random() < 0.7)


async def another_epoch_of_the_store(world: World, *, running: bool = False) -> None:
    """An older copy of this or of another one, or an empty one, in its place."""
    await back_up_store(world)
    if not running:
        await world.store.close()
    put = world.folder / f"put-{world.next_serial()}"
    if world.store_backups and world.dice.random() < 0.8:
        shutil.copy(world.dice.choice(world.store_backups), put)
        put.rename(world.store.path)
    elif not running:
        for path in world.folder.glob("store.db*"):
            path.unlink()
    if running:
        world.persister._attached.must_look = True  # a minute has passed
        away, world.store.unavailable = world.store.unavailable, False
        await world.round()
        world.store.unavailable = away
    else:
        away = world.store.unavailable
        world.store = UnsteadySqlite(world.store.path, world.dice)
        world.store.unavailable = away
        if not away:
            await world.store.open()


async def quarantine(world: World) -> None:
    """An operator takes a row out of the log that was stored."""
    await world.close_log()
    stored = world.in_store()
    rows = [key for key in world.in_log() if key in stored]
    if rows:
        gone = world.dice.choice(rows)
        world.deleted[gone] = world.in_log()[gone].content
        remove(world.log_folder / "log.db", (BadRow(gone, "test", b""),))
    await world.open_log(world.dice.random() < 0.7)


STEPS: tuple[tuple[int, Callable[[World], Any]], ...] = (
    (10, send),
    (8, persist),
    (4, World.run_maintenance),
    (4, step_clock),
    (4, live_on),
    (3, restart),
    (2, crash),
    (1, fail_to_save),
    (3, store_goes_or_comes),
    (2, back_up_log),
    (2, back_up_store),
    (1, restore_log),
    (1, lose_log),
    (2, restore_store),
    (1, quarantine),
)
