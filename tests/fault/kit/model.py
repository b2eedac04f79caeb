"""A log, its stores and a list of what was acknowledged, under everything that befalls disks
and clocks: random, and the same for the same seed.

What is judged is what the parts that answer clients say: pages, listings, single messages,
resumes and retries, of :class:`History`, :class:`Resumer` and the log itself. What *can* be
answered is read from the files, behind the service's back: a message that is in the log's
file or in the store must be answered, and only what is in neither may be missing. Whatever
is short must say so.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from chatsvc.client.uuid7 import build_uuid7
from chatsvc.core.conversation import Conversation
from chatsvc.core.errors import LogUnavailable, StoreUnavailable
from chatsvc.core.ids import MAX_ID
from chatsvc.core.limits import Limits
from chatsvc.core.page import NO_BYTE_BOUND, Bounds, Entry
from chatsvc.core.record import Record, unpack
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.resume import Resumer
from chatsvc.features.messages.service import AllowAll, MessageService
from chatsvc.log.base import Appended
from chatsvc.log.local.elapsed import Instant
from chatsvc.log.local.log import LocalLog
from chatsvc.log.local.worker import call_in_thread
from chatsvc.log.reconcile import EpochEntry, Mark, StoreState
from chatsvc.storage.history.history import History
from chatsvc.storage.past import learn_past
from chatsvc.storage.persister import batches
from chatsvc.storage.persister.persister import Persister
from chatsvc.storage.ports.messages import Rejection
from chatsvc.storage.sqlite.store import SqliteStore
from chatsvc.storage.store_state import state_of

CONVERSATIONS = (("alice", "bob"), ("alice", "carol"), ("alice", "bob", "carol"))
USERS = ("alice", "bob", "carol")
HOUR_MS = 3_600_000
WINDOW_MS = 600_000
REFUSED = "refused"
"""In the content of messages that the store does not take."""


class Sent(NamedTuple):
    """What was acknowledged."""

    id: int
    content: str
    users: tuple[str, ...]
    channel: str
    sender: str
    client_id: str | None
    lived: float


class Held(NamedTuple):
    """A message as it lies in a file."""

    id: int
    content: str
    sender: str
    channel: str
    users: tuple[str, ...]


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


class Unsteady(SqliteStore):
    """Goes away when told to; may take a part of a batch, in any order, or lose an answer.

    Some messages it never takes.
    """

    def __init__(self, path: Path, dice: random.Random) -> None:
        super().__init__(path)
        self.path = path
        self.away = False
        self.partly = False
        self.answer_lost = False
        self._dice = dice

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable("away")

    async def identity(self) -> str:
        self._check()
        return await super().identity()

    async def watermark(self) -> Mark | None:
        self._check()
        return await super().watermark()

    async def head(self) -> int:
        self._check()
        return await super().head()

    async def set_watermark(self, expected: Mark | None, new: Mark) -> bool:
        self._check()
        done = await super().set_watermark(expected, new)
        if self.answer_lost:
            self.answer_lost = False
            raise StoreUnavailable("the answer was lost")
        return done

    async def write(self, records: Sequence[Record]) -> list[Rejection]:
        self._check()
        fit = [one for one in records if REFUSED.encode() not in one.body]
        if self.partly:
            self.partly = False
            await super().write([one for one in fit if self._dice.random() < 0.5])
            raise StoreUnavailable("a part of it")
        rejections = await super().write(fit)
        refused = [one for one in records if one not in fit]
        return rejections + [Rejection(one, "unfit", "the model says so") for one in refused]

    async def channel_page(self, channel: str, bounds: Bounds) -> list[Entry]:
        self._check()
        return await super().channel_page(channel, bounds)

    async def user_page(self, user: str, bounds: Bounds) -> list[Entry]:
        self._check()
        return await super().user_page(user, bounds)

    async def count_user(self, user: str, bounds: Bounds) -> int:
        self._check()
        return await super().count_user(user, bounds)

    async def conversations(
        self, user: str, *, before: int, limit: int, max_bytes: int = 1 << 20
    ) -> list[Conversation]:
        self._check()
        return await super().conversations(user, before=before, limit=limit, max_bytes=max_bytes)

    async def get(self, message_id: int) -> Entry | None:
        self._check()
        return await super().get(message_id)

    async def open(self) -> None:
        self._check()
        await super().open()


@dataclass
class Client:
    """A user who reads: ``seen`` holds what was handled, ``cursor`` where that ended.

    ``lost``: a log was put back that ends before the cursor. Only a new epoch can tell the
    two pasts apart, and only a store that has seen the other one makes a log begin it.
    ``forked``: the log has accepted something before that.
    ``logs_ago``: how often since then the log was replaced. One knows where it began, and
    not where one before it did: under a clock that went back between the two, that may
    have been below what had been given out before.
    """

    user: str
    cursor: str
    seen: set[str]
    lost: bool = False
    forked: bool = False
    logs_ago: int = 0


@dataclass
class Options:
    """What a run may do; each is drawn once, from its seed."""

    retention_ms: int
    recent_bytes: int
    batch: int
    look: bool
    margins: tuple[int, int]


@dataclass
class World:
    """One run. ``clock_ms`` is the wall clock, ``lived`` the seconds that have passed,
    ``deleted`` what this log has trimmed."""

    folder: Path
    dice: random.Random
    options: Options
    clock_ms: int = 1_795_000_000_000
    lived: float = 1000.0
    sent: dict[str, Sent] = field(default_factory=dict)
    readmitted: set[str] = field(default_factory=set)
    clients: list[Client] = field(default_factory=list)
    log_backups: list[tuple[Path, dict[int, str]]] = field(default_factory=list)
    deleted: dict[int, str] = field(default_factory=dict)
    store_backups: list[Path] = field(default_factory=list)
    checks: int = 0
    trace: list[str] = field(default_factory=list)

    # --- the parts

    async def begin(self) -> None:
        self.log_folder = self.folder / "log-0"
        self.store = Unsteady(self.folder / "store.db", self.dice)
        self.serial = 0
        self.log_is_older = False
        await self.store.open()
        await self.open_log(self.dice.random() < 0.7)

    async def open_log(self, store_there: bool) -> None:
        state: StoreState | None = None
        if store_there and not self.store.away:
            await self.store.open()
            state = await state_of(self.store)
        self.log = await LocalLog.open(
            self.log_folder,
            recent_bytes=self.options.recent_bytes,
            backlog_bytes=1 << 30,
            idempotency_ms=WINDOW_MS,
            idempotency_keys=1000,
            retention_ms=self.options.retention_ms,
            elapsed_clock=lambda: Instant("boot", self.lived),
            store=state,
        )
        if state:
            self.log_is_older = False
            await learn_past(self.log, self.store)  # as the service does
        self.history = History(self.store, self.log.tail, breaker_seconds=0.0)
        self.service = MessageService(
            log=self.log, policy=AllowAll(), client_ids=self.history, limits=Limits()
        )
        self.hub = Hub()
        self.resumer = Resumer(
            epoch=self.log.epoch,
            epochs=self.log.epochs,
            tail=self.log.tail,
            hub=self.hub,
            backfill=self.history,
            max_messages=10_000,
        )
        self.log.on_new_epoch(self._epoch_listeners)
        self.live = {user: Live() for user in USERS}
        for user, live in self.live.items():
            live.seen = self.sent_to(user, MAX_ID)
        self.log.tail.listen(self._heard)
        self.persister = self._persister()

    def _persister(self) -> Persister:
        return Persister(
            self.log,
            self.store,
            attempts=self.dice.choice([1, 2]),
            batch=self.options.batch,
            batch_ms=0,
            first_wait=0.0,
            look_seconds=0.0 if self.options.look else 1e9,
        )

    def _epoch_listeners(self, epochs: tuple[EpochEntry, ...]) -> None:
        self.resumer.begin_epoch(epochs)
        for live in self.live.values():
            live.gaps.append((epochs[-1].begun, self.log.tail.head))

    def _heard(self, records: Sequence[Record]) -> None:
        for record in records:
            content = json.loads(record.body)["content"]
            for user in record.audience:
                self.live[user].seen.add(content)

    async def close_log(self) -> None:
        await self.persister.stop(drain=False)
        await self.log.close()

    async def end(self) -> None:
        await self.close_log()
        await self.store.close()

    # --- what the files hold

    def in_log(self) -> dict[int, Held]:
        db = sqlite3.connect(f"{(self.log_folder / 'log.db').as_uri()}?mode=ro", uri=True)
        try:
            rows = db.execute("SELECT id, data FROM records").fetchall()
        finally:
            db.close()
        return {row[0]: held(unpack(row[0], row[1]).body) for row in rows}

    def in_store(self) -> dict[int, Held]:
        if not self.store.path.exists():
            return {}
        db = sqlite3.connect(f"{self.store.path.as_uri()}?mode=ro", uri=True)
        try:
            rows = db.execute("SELECT id, body FROM messages").fetchall()
        finally:
            db.close()
        return {row[0]: held(row[1]) for row in rows}

    def in_letters(self) -> dict[int, Held]:
        """The dead letters in the store."""
        if not self.store.path.exists():
            return {}
        db = sqlite3.connect(f"{self.store.path.as_uri()}?mode=ro", uri=True)
        try:
            rows = db.execute("SELECT id, data FROM dead_letters").fetchall()
        finally:
            db.close()
        return {row[0]: held(unpack(row[0], row[1]).body) for row in rows}

    def unreadable(self) -> set[str]:
        """Contents that only dead letters hold, or the log's file below what is in memory."""
        letters = {one.content for one in self.in_letters().values()}
        return letters - {one.content for one in self.in_memory().values()}

    def sent_to(self, user: str, up_to: int) -> set[str]:
        """What was ever acknowledged to a user, up to an id."""
        return {one.content for one in self.sent.values() if user in one.users and one.id <= up_to}

    def in_memory(self) -> dict[int, Held]:
        everything = Bounds(1 << 20, max_bytes=NO_BYTE_BOUND)
        return {one.id: held(one.body) for one in self.log.tail.page(everything)}

    def present(self) -> list[Held]:
        """What can be answered, by id; each content once.

        A message that became a dead letter is readable while it is in memory.
        """
        found: dict[str, Held] = {}
        for part in (self.in_store(), self.in_memory(), self.in_log()):
            found |= {one.content: one for one in part.values()}
        unreadable = self.unreadable()
        return sorted(one for one in found.values() if one.content not in unreadable)

    def doubled(self) -> set[str]:
        """Contents under two ids.

        The log gave another id to a message, because the store held something else under the
        first; then an older store was put back, which has the message under that.
        """
        parts = (self.in_store(), self.in_memory(), self.in_log())
        places = {(key, one.content) for part in parts for key, one in part.items()}
        contents = [content for _, content in places]
        return {content for content in contents if contents.count(content) > 1}

    def deleted_and_lost(self) -> list[int]:
        """What this log has deleted and no file holds any more."""
        there = {one.content for one in (*self.present(), *self.in_letters().values())}
        return [position for position, content in self.deleted.items() if content not in there]

    # --- steps

    async def send(self) -> None:
        for client in self.clients:
            if client.lost and client.cursor.startswith(f"{self.log.epoch}."):
                client.forked = True
        for _ in range(self.dice.randint(1, 6)):
            to = self.dice.choice(CONVERSATIONS)
            sender = self.dice.choice(to)
            content = f"m{len(self.sent)}"
            if self.dice.random() < 0.08:
                content += f" {REFUSED}"
            client_id = self.client_id() if self.dice.random() < 0.7 else None
            try:
                appended = await self.submit(to, sender, content, client_id)
            except StoreUnavailable:
                assert client_id is not None, "needs no store"
                continue  # whether it was used cannot be told: nothing was kept
            assert not appended.duplicate, "nobody has sent it before"
            assert json.loads(appended.body)["content"] == content
            self.sent[content] = Sent(
                appended.id, content, to, ",".join(to), sender, client_id, self.lived
            )

    async def submit(
        self, to: Sequence[str], sender: str, content: str, client_id: str | None
    ) -> Appended:
        return await self.service.submit(sender, "", list(to), content, client_id)

    def client_id(self) -> str:
        """A UUIDv7, minted by a client whose clock is right, or not; or some other string."""
        if self.dice.random() < 0.25:
            return f"k{self.next_serial()}"
        skew = self.dice.choice([0, 0, 0, -200, 5_000, -HOUR_MS, HOUR_MS, 30 * HOUR_MS])
        return str(build_uuid7(max(1, self.clock_ms + skew), self.dice.getrandbits(74)))

    async def persist(self) -> None:
        self.store.partly = self.dice.random() < 0.15
        self.store.answer_lost = self.dice.random() < 0.1
        for _ in range(self.dice.randint(1, 3)):
            await self.round()
        self.store.partly = self.store.answer_lost = False

    async def round(self) -> None:
        """What the persister does by itself."""
        before = self.log.epoch
        await self.persister._round()
        if self.log.met is not None and not self.persister._attached.must_look:
            self.log_is_older = False
        if self.log.epoch != before:
            self.note("(new epoch)")

    async def drain(self) -> None:
        """Store all there is, with a store that answers."""
        self.store.away = False
        await self.store.open()
        for _ in range(400):
            if not self.persister._source.has_work() and not self.persister._attached.must_look:
                return
            await self.round()
        raise AssertionError("the persister does not come to an end")

    async def run_maintenance(self) -> None:
        before = self.in_log()
        self.log.maintenance.run()
        await self.settled()
        for gone in before.keys() - self.in_log().keys():
            self.deleted[gone] = before[gone].content

    async def settled(self) -> None:
        await call_in_thread(lambda: None, self.log._worker.maintain)

    async def step_clock(self) -> None:
        step = self.dice.choice([1, 1000, 60_000, HOUR_MS, 25 * HOUR_MS, 24 * 365 * HOUR_MS])
        self.clock_ms = max(1000, self.clock_ms + self.dice.choice([1, -1]) * step)

    async def live_on(self) -> None:
        await self.run_maintenance()
        self.lived += self.dice.choice([1.0, 700.0, 5000.0, 90_000.0])
        await self.run_maintenance()

    async def restart(self) -> None:
        await self.close_log()
        await self.open_log(self.dice.random() < 0.7)

    async def crash(self) -> None:
        """What was in memory alone is gone."""
        await self.settled()
        after = self.next_log()
        shutil.copytree(self.log_folder, after)
        await self.close_log()
        self.log_folder = after
        await self.open_log(self.dice.random() < 0.7)

    async def fail_to_save(self) -> None:
        """A moment of a full disk, in which housekeeping is due."""
        real = self.log._file.set_metas

        def full(values: object) -> None:
            raise LogUnavailable("full", code="disk_full")

        self.log._file.set_metas = full  # type: ignore[method-assign]
        await self.run_maintenance()
        self.log._file.set_metas = real  # type: ignore[method-assign]
        await self.run_maintenance()

    async def store_goes_or_comes(self) -> None:
        self.store.away = not self.store.away
        if not self.store.away:
            await self.store.open()  # as the service does for its readers

    async def back_up_log(self) -> None:
        await self.settled()
        path = copy(self.log_folder / "log.db", self.folder, "log-backup")
        self.log_backups.append((path, dict(self.deleted)))

    async def back_up_store(self) -> None:
        if self.store.path.exists():
            self.store_backups.append(copy(self.store.path, self.folder, "store-backup"))

    async def restore_log(self) -> None:
        if not self.log_backups:
            return
        await self.close_log()
        self.log_folder = self.next_log()
        self.log_folder.mkdir()
        backup, deleted = self.dice.choice(self.log_backups)
        shutil.copy(backup, self.log_folder / "log.db")
        self.deleted = dict(deleted)
        head = max(self.in_log(), default=0)
        for client in self.clients:
            client.lost = client.lost or int(client.cursor.partition(".")[2], 16) > head
        await self.after_loss()

    async def lose_log(self) -> None:
        await self.close_log()
        self.log_folder = self.next_log()
        self.deleted = {}
        await self.after_loss()

    async def after_loss(self) -> None:
        self.log_is_older = True
        for client in self.clients:
            client.logs_ago += 1
        if self.dice.random() < 0.5:
            await self.another_epoch_of_the_store()
        await self.open_log(self.dice.random() < 0.5)

    async def restore_store(self) -> None:
        """While the service is stopped, or under it."""
        running = self.dice.random() < 0.5
        if not running:
            await self.close_log()
        await self.another_epoch_of_the_store(running=running)
        if not running:
            self.log_is_older = True  # or the store is a stranger: neither knows the other
            await self.open_log(self.dice.random() < 0.7)

    async def another_epoch_of_the_store(self, *, running: bool = False) -> None:
        """An older copy of this or of another one, or an empty one, in its place."""
        await self.back_up_store()
        if not running:
            await self.store.close()
        put = self.folder / f"put-{self.next_serial()}"
        if self.store_backups and self.dice.random() < 0.8:
            shutil.copy(self.dice.choice(self.store_backups), put)
            put.rename(self.store.path)
        elif not running:
            for path in self.folder.glob("store.db*"):
                path.unlink()
        if running:
            self.persister._attached.must_look = True  # a minute has passed
            away, self.store.away = self.store.away, False
            await self.round()
            self.store.away = away
        else:
            away = self.store.away
            self.store = Unsteady(self.store.path, self.dice)
            self.store.away = away
            if not away:
                await self.store.open()

    async def quarantine(self) -> None:
        """An operator takes a row out of the log that was stored."""
        await self.close_log()
        stored = self.in_store()
        rows = [key for key in self.in_log() if key in stored]
        if rows:
            from chatsvc.log.local.verify import BadRow, remove

            gone = self.dice.choice(rows)
            self.deleted[gone] = self.in_log()[gone].content
            remove(self.log_folder / "log.db", (BadRow(gone, "test", b""),))
        await self.open_log(self.dice.random() < 0.7)

    def next_serial(self) -> int:
        self.serial += 1
        return self.serial

    def next_log(self) -> Path:
        return self.folder / f"log-{self.next_serial()}"

    def describe(self) -> str:
        """Where everything stands, for who reads a failure."""
        tail = self.log.tail
        parts = {
            "log": self.in_log(),
            "memory": self.in_memory(),
            "store": self.in_store(),
            "letters": self.in_letters(),
        }
        lines = [
            f"{name}: " + ", ".join(f"{k:x} {v.content}" for k, v in sorted(part.items()))
            for name, part in parts.items()
        ]
        positions = self.log._positions._positions
        lines.append(
            f"floor {tail.floor:x} stored {tail.stored:x} watermark {tail.watermark:x} "
            f"head {tail.head:x} base {tail.base:x} hole {tail.hole} {positions} "
            f"met {self.log.met} look {self.persister._attached.must_look} "
            f"at {self.persister._source.position:x}"
        )
        return "\n".join(lines)

    @property
    def confirmed(self) -> bool:
        """Whether the log knows the store that is there now."""
        return self.log.met is not None and not self.persister._attached.must_look

    def note(self, text: str) -> None:
        self.trace.append(text)


@dataclass
class Live:
    """A socket that stays open: what it was sent, and what it was told to fetch."""

    seen: set[str] = field(default_factory=set)
    gaps: list[tuple[int, int]] = field(default_factory=list)


def held(body: bytes) -> Held:
    message = json.loads(body)
    return Held(
        int(message["id"], 16),
        message["content"],
        message["sender"],
        message["channel"],
        tuple(message["participants"]),
    )


def copy(path: Path, folder: Path, name: str) -> Path:
    """A consistent copy of a database that may be in use."""
    target = folder / f"{name}-{len(list(folder.glob(f'{name}-*')))}"
    source = sqlite3.connect(path)
    try:
        copied = sqlite3.connect(target)
        try:
            source.backup(copied)
        finally:
            copied.close()
    finally:
        source.close()
    return target


STEPS: tuple[tuple[int, Callable[[World], Any]], ...] = (
    (10, World.send),
    (8, World.persist),
    (4, World.run_maintenance),
    (4, World.step_clock),
    (4, World.live_on),
    (3, World.restart),
    (2, World.crash),
    (1, World.fail_to_save),
    (3, World.store_goes_or_comes),
    (2, World.back_up_log),
    (2, World.back_up_store),
    (1, World.restore_log),
    (1, World.lose_log),
    (2, World.restore_store),
    (1, World.quarantine),
)


async def run(
    folder: Path, seed: int, steps: int, set_clock: Callable[[Callable[[], int]], None]
) -> int:
    """One run; how many answers were compared.

    Args:
        set_clock: makes the product's wall clock ask the model.

    Raises:
        AssertionError: with the steps that led there.
    """
    dice = random.Random(seed)
    options = Options(
        retention_ms=dice.choice([0, HOUR_MS]),
        recent_bytes=dice.choice([0, 3_000, 20_000, 1 << 20]),
        batch=dice.choice([1, 3, 8, 500]),
        look=dice.random() < 0.3,
        margins=dice.choice([(0, 0), (2, 10), (1000, 100_000)]),
    )
    world = World(folder, dice, options)
    set_clock(lambda: world.clock_ms)
    with mock.patch.object(batches, "BEHIND_BATCH", options.batch):
        await _walk(world, dice, steps, f"seed {seed}, {options}")
    return world.checks


async def _walk(world: World, dice: random.Random, steps: int, title: str) -> None:
    from tests.fault.kit.model_checks import check

    await world.begin()
    choices = [step for weight, step in STEPS for _ in range(weight)]
    try:
        for _ in range(steps):
            step = dice.choice(choices)
            world.note(step.__name__)
            await step(world)
            if dice.random() < 0.5:
                await check(world)
        world.note("drain")
        await world.drain()
        await check(world, settled=True)
    except BaseException as exc:
        exc.add_note(f"{title}: {' '.join(world.trace)}")
        exc.add_note(world.describe())
        raise
    finally:
        await world.end()
