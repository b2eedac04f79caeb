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
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chatsvc.core.change import draft_change
from chatsvc.core.ids import MAX_ID
from chatsvc.core.kinds import Kind
from chatsvc.core.limits import Limits
from chatsvc.core.page import NO_BYTE_BOUND, Bounds
from chatsvc.core.record import Record, unpack
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.resume import Resumer
from chatsvc.delivery.selection import Selection
from chatsvc.features.messages.service import AllowAll, MessageService
from chatsvc.log.base import Appended
from chatsvc.log.local.elapsed import Instant
from chatsvc.log.local.log import LocalLog
from chatsvc.log.local.worker import call_in_thread
from chatsvc.log.reconcile import EpochEntry, StoreState
from chatsvc.storage.history.history import History
from chatsvc.storage.past import learn_past
from chatsvc.storage.persister.persister import Persister
from chatsvc.storage.store_state import state_of
from testkit.records import KINDS
from tests.fault.kit.model_data import (
    USERS,
    WINDOW_MS,
    Client,
    Held,
    Live,
    Options,
    Sent,
    held,
    outdated,
    read_rows,
    read_store,
)
from tests.fault.kit.unsteady_store import UnsteadySqlite


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
        self.store = UnsteadySqlite(self.folder / "store.db", self.dice)
        self.serial = 0
        self.log_is_older = False
        await self.store.open()
        await self.open_log(self.dice.random() < 0.7)

    async def open_log(self, store_there: bool) -> None:
        state: StoreState | None = None
        if store_there and not self.store.unavailable:
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
        self.history = History(self.store, self.log.tail, breaker_seconds=0.0, kinds=KINDS)
        self.service = MessageService(
            log=self.log, policy=AllowAll(), client_ids=self.history, limits=Limits()
        )
        self.hub = Hub()
        self.resumer = Resumer(
            epoch=self.log.epoch,
            epochs=self.log.epochs,
            tail=self.log.tail,
            hub=self.hub,
            backfill=self.history.records,
            selection=Selection(KINDS, {}),
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
            kinds=KINDS,
        )

    def _epoch_listeners(self, epochs: tuple[EpochEntry, ...]) -> None:
        self.resumer.begin_epoch(epochs)
        for live in self.live.values():
            live.gaps.append((epochs[-1].begun, self.log.tail.head))

    def _heard(self, records: Sequence[Record]) -> None:
        for record in records:
            content = json.loads(record.body)["content"]
            for user in record.audience:
                if user in self.live:
                    self.live[user].seen.add(content)

    async def close_log(self) -> None:
        await self.persister.stop(drain=False)
        await self.log.close()

    async def end(self) -> None:
        await self.close_log()
        await self.store.close()

    # --- what the files hold

    def in_log(self) -> dict[int, Held]:
        rows = read_rows(self.log_folder / "log.db", "SELECT id, data FROM records")
        return {key: held(unpack(key, data).body) for key, data in rows}

    def in_store(self) -> dict[int, Held]:
        if not self.store.path.exists():
            return {}
        found = map(held, read_store(self.store.path))
        return {one.id: one for one in found}

    def in_letters(self) -> dict[int, Held]:
        """The dead letters in the store."""
        if not self.store.path.exists():
            return {}
        rows = read_rows(self.store.path, "SELECT id, data FROM dead_letters")
        return {key: held(unpack(key, data).body) for key, data in rows}

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
        """What must be answered, by id; each content once.

        A message that became a dead letter is readable while it is in memory. Of a ``latest``
        kind only the newest must be there.
        """
        found: dict[str, Held] = {}
        for part in (self.in_store(), self.in_memory(), self.in_log()):
            found |= {one.content: one for one in part.values()}
        unreadable = self.unreadable() | outdated(found.values())
        return sorted(one for one in found.values() if one.content not in unreadable)

    def outdated(self) -> set[str]:
        """Contents of records that a later one has replaced, and that may be answered or not."""
        parts = (self.in_store(), self.in_memory(), self.in_log())
        return outdated({one for part in parts for one in part.values()})

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
        newest: dict[tuple[str, str], int] = {}
        for one in self.present():
            if one.target is not None:
                newest[one.channel, one.target] = one.id  # ascending

        def is_lost(position: int, content: str) -> bool:
            sent = self.sent[content]
            if sent.kind == "read" and position < newest.get((sent.channel, sent.sender), 0):
                return False  # a later one has replaced it
            return content not in there

        return [
            position for position, content in self.deleted.items() if is_lost(position, content)
        ]

    # --- what goes on

    async def submit(
        self, to: Sequence[str], sender: str, content: str, client_id: str | None
    ) -> Appended:
        return await self.service.submit(sender, "", list(to), content, client_id)

    async def change(
        self, kind: str, to: tuple[str, ...], sender: str, content: str, target: str
    ) -> Appended:
        """Append a record that is no message."""
        return await self.log.append(
            draft_change(
                Kind(name=kind),
                channel=",".join(to),
                audience=to,
                sender=sender,
                fields={"content": content, "target": target},
                target=target,
            )
        )

    async def round(self) -> None:
        """What the persister does by itself."""
        before = self.log.epoch
        await self.persister._round()
        if self.log.attached_store is not None and not self.persister._attached.must_look:
            self.log_is_older = False
        if self.log.epoch != before:
            self.note("(new epoch)")

    async def drain(self) -> None:
        """Store all there is, with a store that answers."""
        self.store.unavailable = False
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
            f"met {self.log.attached_store} look {self.persister._attached.must_look} "
            f"at {self.persister._source.position:x}"
        )
        return "\n".join(lines)

    @property
    def confirmed(self) -> bool:
        """Whether the log knows the store that is there now."""
        return self.log.attached_store is not None and not self.persister._attached.must_look

    def note(self, text: str) -> None:
        self.trace.append(text)
