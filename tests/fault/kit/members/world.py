"""A log, a store and everything between them, put together as the service does."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from chatsvc.core.errors import StoreUnavailable, Unavailable
from chatsvc.core.ids import MAX_ID
from chatsvc.core.membership import is_member_channel
from chatsvc.core.projection import NO_PROJECTIONS
from chatsvc.core.record import Record
from chatsvc.delivery.fanout import Fanout
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.resume import Resumer
from chatsvc.delivery.selection import Selection
from chatsvc.delivery.subscriptions import Subscriptions
from chatsvc.log.local.elapsed import Instant
from chatsvc.log.local.log import LocalLog
from chatsvc.log.local.worker import call_in_thread
from chatsvc.log.reconcile import EpochEntry, StoreState
from chatsvc.log.state import StateDue
from chatsvc.storage.history.history import History
from chatsvc.storage.history.store_access import StoreAccess
from chatsvc.storage.memberships import StoredMemberships
from chatsvc.storage.past import learn_past
from chatsvc.storage.persister.persister import Persister
from chatsvc.storage.projections.builder import ProjectionBuilder
from chatsvc.storage.store_state import state_of
from tests.contract.support.projected import BOTH
from tests.fault.kit.members.feature import KINDS, Groups, content_of
from tests.fault.kit.members.old import Past
from tests.fault.kit.members.places import Place, Store
from tests.fault.kit.members.readers import Followed, Paged, Reader
from tests.fault.kit.model_data import copy

USERS: Final = ("alice", "bob", "carol")
CHANNELS: Final = (",g:one", ",r:two")
HOUR_MS: Final = 3_600_000


@dataclass(frozen=True)
class Options:
    """What holds for a whole run.

    Args:
        recent_bytes: how much of what is stored stays in memory.
        batch: how many records are stored at once.
        attempts: how often a round tries.
        collide: whether the clock stands while a log or a store is put back, so that two pasts
            use the same ids.
        seed: of what the store takes of a part of a batch.
        same_store: whether no store is put back that was filled before an empty one took its
            place.
        lose_rows: whether a log is put back, or a store copied, while the store has rows of records
            that the log alone has.
        past: what the released version left there; ``None``: nothing.
        knows: whether the program knows the projections from the beginning.
    """

    recent_bytes: int = 0
    batch: int = 3
    attempts: int = 1
    collide: bool = False
    seed: int = 0
    same_store: bool = True
    lose_rows: bool = False
    past: Past | None = None
    knows: bool = True


@dataclass
class World:
    """One run.

    ``accepted`` has every record that the log ever accepted, by its content, under each id that
    it had; ``entitled`` to whom it was when it was accepted. ``members`` are those of the present
    past, by channel. ``is_older``: the log was put back, and has met no store since.
    ``store_is_partial``: the store was put back in the middle of a batch.
    ``projections`` are those that the program knows at present.
    """

    folder: Path
    options: Options
    place: Place
    clock_ms: int = 1_795_000_000_000
    lived: float = 1000.0
    accepted: dict[str, list[Record]] = field(default_factory=dict)
    entitled: dict[str, set[str]] = field(default_factory=dict)
    members: dict[str, set[str]] = field(default_factory=dict)
    log_backups: list[Path] = field(default_factory=list)
    store_backups: list[Any] = field(default_factory=list)
    is_older: bool = False
    store_is_partial: bool = False
    serial: int = 0

    async def begin(self) -> None:
        self.log_folder = self.folder / "log-0"
        self.dice = random.Random(self.options.seed)
        self.projections = BOTH if self.options.knows else NO_PROJECTIONS
        if self.options.past is not None:
            self._begin_with(self.options.past)
        self.store = self.make_store()
        await self.store.open()
        self.readers: list[Reader] = [kind(user) for user in USERS for kind in (Followed, Paged)]
        await self.open_log(store_there=True)
        for reader in self.readers:
            reader.epoch = self.log.epoch

    def _begin_with(self, past: Past) -> None:
        for record in past.write(self.log_folder, self.place):
            content = content_of(record.body)
            self.accepted[content], self.entitled[content] = [record], set(record.audience)
        self.clock_ms += 60_000
        # Either may be put back, and is upgraded again then.
        self.log_backups.append(copy(self.log_folder / "log.db", self.folder, "log-backup"))
        self.store_backups.append(self.place.back_up())

    def make_store(self) -> Store:
        return self.place.make(self.projections, self.dice)

    async def open_log(self, *, store_there: bool) -> None:
        state: StoreState | None = None
        if store_there:
            with suppress(StoreUnavailable):  # the start does not need it
                await self.store.open()
                state = await state_of(self.store)
        self.log = log = await LocalLog.open(
            self.log_folder,
            recent_bytes=self.options.recent_bytes,
            backlog_bytes=1 << 30,
            idempotency_ms=1000,
            idempotency_keys=1000,
            retention_ms=0,
            elapsed_clock=lambda: Instant("boot", self.lived),
            store=state,
        )
        if state is not None:
            await learn_past(log, self.store)
            self.is_older = False
        self._read_members()
        log.state.on_adopted(self._merge_pasts)
        log.tail.listen(self._note)
        self._build_readers_side()
        self.groups = Groups(log, self.next_content)
        self.builder = ProjectionBuilder(self.store, log, self.projections, pause_seconds=0.0)
        self.persister = Persister(
            log,
            self.store,
            attempts=self.options.attempts,
            batch=self.options.batch,
            batch_ms=0,
            first_wait=0.0,
            look_seconds=1e9,
            kinds=KINDS,
        )

    def _build_readers_side(self) -> None:
        log, store = self.log, self.store
        access = StoreAccess(0.0, store.reads_at_once)
        memberships = StoredMemberships(log.state, log.tail, store, access)
        self.history = History(store, log.tail, kinds=KINDS, memberships=memberships, access=access)
        self.hub = Hub(Subscriptions(log.state.intervals, lambda: log.tail.head, log.state.filters))
        log.state.on_adopted(self.hub.resubscribe)
        selection = Selection(KINDS, self.hub.subscriptions.filters)
        self.resumer = Resumer(
            epoch=log.epoch,
            epochs=log.epochs,
            tail=log.tail,
            hub=self.hub,
            backfill=self.history.records,
            selection=selection,
            max_messages=10_000,
            intervals_of=log.state.intervals,
            filters_of=log.state.filters,
        )
        fanout = Fanout(self.hub, selection, log.acknowledgements, self.resumer.take_over)
        log.tail.listen(fanout.accept)
        log.on_new_epoch(self._begin_epoch)

    def _begin_epoch(self, epochs: tuple[EpochEntry, ...]) -> None:
        self.resumer.begin_epoch(epochs)
        head = self.log.tail.head
        for reader in self.readers:
            if isinstance(reader, Followed):
                reader.receive()  # what it was sent before that
                reader.was_reset(epochs[-1], head)

    def _read_members(self) -> None:
        """Whoever is a member of the past that the log now has."""
        try:
            self.members = {
                channel: {user for user in USERS if self._is_member(channel, user)}
                for channel in CHANNELS
            }
        except Unavailable:
            self.members = {channel: set() for channel in CHANNELS}

    async def _merge_pasts(self) -> None:
        """Whoever was a member of the store's past receives what this log accepted meanwhile."""
        self._read_members()
        for user in USERS:
            for channel in CHANNELS:
                for interval in self.log.state.intervals_in(user, channel):
                    for content, some in self.accepted.items():
                        if any(
                            one.channel == channel and not one.audience and interval.holds(one.id)
                            for one in some
                        ):
                            self.entitled[content].add(user)

    def _is_member(self, channel: str, user: str) -> bool:
        return any(one.last == MAX_ID for one in self.log.state.intervals_in(user, channel))

    def _note(self, records: Sequence[Record]) -> None:
        for record in records:
            content = content_of(record.body)
            self.accepted.setdefault(content, []).append(record)
            audience = self.entitled.setdefault(content, set())
            before = self.members.get(record.channel, set())
            after = set(before)
            if record.state is not None and is_member_channel(record.channel):
                for member in record.state.members:
                    (after.add if member.is_present else after.discard)(member.user)
                if record.state.channel is not None and record.state.channel.dissolved:
                    after.clear()
                self.members[record.channel] = after
            audience |= set(record.audience) or before | after

    async def close_log(self) -> None:
        for reader in self.readers:
            reader.disconnect(self)
        await self.persister.stop(drain=False)
        await self.log.close()

    async def end(self) -> None:
        await self.close_log()
        await self.store.close()

    async def round(self) -> None:
        """What the persister does by itself."""
        await self.persister._round()
        if self.log.attached_store is not None:
            self.is_older = False

    @property
    def is_quiet(self) -> bool:
        """Whether the persister has nothing to do."""
        persister = self.persister
        due = self.log.exchange.state_due is not StateDue.NOTHING
        return not (persister._source.has_work() or persister._attached.must_look or due)

    async def drain(self) -> None:
        """Store all there is, with a store that answers."""
        self.store.make_steady()
        await self.store.open()
        self.persister._attached.must_look = True  # a minute has passed
        for _ in range(400):
            if self.is_quiet:
                break
            await self.round()
        else:
            raise AssertionError("the persister does not come to an end")
        await self.builder.build()

    async def settled(self) -> None:
        """The log's thread has done what it was given."""
        await call_in_thread(lambda: None, self.log._worker.maintain)

    def next_content(self) -> str:
        return f"c{self.next_serial()}"

    def next_serial(self) -> int:
        self.serial += 1
        return self.serial
