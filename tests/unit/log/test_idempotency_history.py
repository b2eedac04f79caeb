"""Any history of sends, clock steps, restarts and losses, against a model that knows it all.

The log's file and the store are plain lists here; the memory of keys, what it saves and
what it reads back are the program's own.
"""

from __future__ import annotations

import copy
from typing import NamedTuple, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from chatsvc.core.ids import MAX_ID, id_ms, next_id, uuid7_ms
from chatsvc.log.idempotency import Key, KeyWindow
from chatsvc.log.key_bounds import AHEAD_MS
from chatsvc.log.local.elapsed import ElapsedHeads
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.key_file import KEYS_FORGOTTEN, SavedKeys, open_keys
from chatsvc.log.reconcile import Mark, StoreState
from testkit.boot import Boot
from testkit.client_ids import uuid7_at

T0 = 1_700_000_000_000
WINDOW_MS = 60_000
HOUR = 3_600_000
SENDERS = ("anna", "bert", "cleo")


class Row(NamedTuple):
    id: int
    key: Key


class MemoryFile:
    """What :class:`~chatsvc.log.local.file.LogFile` is to the memory of keys."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.values: dict[str, str | int] = {"epoch": "1"}

    def meta(self, name: str) -> object:
        return self.values.get(name)

    def set_meta(self, name: str, value: str | int) -> None:
        self.values[name] = value

    def head(self) -> int:
        return max((row.id for row in self.rows), default=0)


class History(RuleBasedStateMachine):
    """``accepted`` holds each UUIDv7 key and the record it was accepted as."""

    def __init__(self) -> None:
        super().__init__()
        self.true_ms = self.wall_ms = T0
        self.boot = Boot()
        self.epochs = 1
        self.file = MemoryFile()
        self.backup = copy.deepcopy(self.file)
        self.store: list[Row] = []
        self.mark: Mark | None = None
        self.accepted: dict[Key, int] = {}
        self.used: list[Key] = []
        self.latest: dict[str, int] = {}  # minted by each sender, in Unix ms
        self.odd: set[str] = set()
        self.minted = 0
        self.per_sender = 5
        self.open()

    # The service

    @property
    def epoch(self) -> str:
        return str(self.file.meta("epoch"))

    def open(self) -> None:
        store_head = max((row.id for row in self.store), default=0)
        head = self.file.head()
        self.watermark = store_head
        if store_head > head:  # a new log, or an older one
            self.epochs += 1
            self.file.set_meta("epoch", str(self.epochs))
        self.elapsed = ElapsedHeads(cast("str | None", self.file.meta("elapsed")), clock=self.boot)
        self.keys: KeyWindow = open_keys(
            cast(LogFile, self.file),
            epoch=self.epoch,
            window_ms=WINDOW_MS,
            max_keys=9,
            max_keys_per_sender=self.per_sender,
            stored=self.watermark,
            store=StoreState("s", self.mark, store_head),
            clock=lambda: self.wall_ms,
            lived=lambda: self.elapsed.lived,
        )
        self.saved = SavedKeys(cast(LogFile, self.file), self.keys)
        for row in self.file.rows:
            if row.id > self.keys.position:
                self.keys.add(row.key, row.id, b"")
                self.keys.forget(0, MAX_ID)
        self.last = max(head, store_head)
        if self.keys.bounds.unmet:
            ahead = {
                row.key[0]: uuid7_ms(row.key[2]) or 0
                for row in sorted(self.store, key=lambda row: uuid7_ms(row.key[2]) or 0)
                if (uuid7_ms(row.key[2]) or 0) > id_ms(row.id) + AHEAD_MS
            }
            self.keys.bounds.learn_past(
                id_ms(store_head) + AHEAD_MS if store_head else 0,
                sorted(ahead.items(), key=lambda item: -item[1]),
            )
        self.saved.prepare(self.epoch, 0.0)()

    def submit(self, key: Key, *, fresh: bool) -> None:
        """As the message service does."""
        known = self.keys.get(key)
        if known is None and self.keys.may_have_forgotten(key):
            minted_ms = uuid7_ms(key[2]) or 0
            if fresh and key[0] not in self.odd and minted_ms > self.latest.get(key[0], 0):
                assert minted_ms <= self.keys.bounds._past_ms, "for another sender's sake"
            above = self.keys.bounds.used_above(key[2])
            found = next((row for row in self.store if row.key == key and row.id > above), None)
            if found is not None or self.watermark < self.keys.forgotten_to:
                assert found is None or self.accepted.get(key, found.id) == found.id
                return
        if known is not None:
            assert self.accepted.get(key, known.id) == known.id
            return
        if uuid7_ms(key[2]) is not None:
            assert key not in self.accepted, "accepted twice"
        self.last = next_id(self.last, self.wall_ms)
        self.file.rows.append(Row(self.last, key))
        self.accepted[key] = self.last
        self.used.append(key)
        self.latest[key[0]] = max(self.latest.get(key[0], 0), uuid7_ms(key[2]) or 0)
        self.keys.add(key, self.last, b"")
        self.forget()

    def forget(self) -> None:
        self.keys.forget(self.elapsed.older_than(WINDOW_MS / 1000), self.watermark)

    def restart(self) -> None:
        # What neither has was lost with a log, or with a store: nobody can know of it. The
        # same goes for what an older log has, from below what the store holds.
        stored = {row.id for row in self.store}
        newest = max(stored, default=0)
        kept = [row for row in self.file.rows if row.id > newest or row.id in stored]
        self.accepted = {row.key: row.id for row in [*self.store, *kept]}
        self.open()

    # What happens

    @rule(
        sender=st.sampled_from(SENDERS),
        wrong=st.sampled_from([0, 0, 0, 0, -HOUR, 4_000, 20_000, HOUR, 500 * HOUR]),
    )
    def send(self, sender: str, wrong: int) -> None:
        if wrong:
            self.odd.add(sender)
        self.minted += 1
        client_id = uuid7_at(self.true_ms + wrong, self.minted)
        self.submit((sender, "channel", client_id), fresh=not wrong)

    @rule(sender=st.sampled_from(SENDERS), number=st.integers(0, 3))
    def send_plain(self, sender: str, number: int) -> None:
        key = (sender, "channel", f"plain {number}")
        if self.keys.get(key) is None:
            self.accepted.pop(key, None)  # forgotten, and good for another message
        self.submit(key, fresh=False)

    @precondition(lambda self: self.used)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(self.used))
        if uuid7_ms(key[2]) is not None:
            self.submit(key, fresh=False)

    @rule(count=st.integers(1, 6))
    def be_stored(self, count: int) -> None:
        waiting = [row for row in self.file.rows if row.id > self.watermark][:count]
        self.store += [row for row in waiting if row not in self.store]
        self.watermark = max([self.watermark, *(row.id for row in waiting)])
        window_start = self.elapsed.older_than(WINDOW_MS / 1000)
        window_start = max(window_start, self.keys.bounds.plain_after)
        self.mark = Mark(self.watermark, 1, "a", window_start=window_start)
        self.forget()

    @rule(seconds=st.sampled_from([0, 1, 10, 61, 1000]))
    def time_passes(self, seconds: int) -> None:
        self.elapsed.note(self.last)
        self.boot.seconds += seconds
        self.true_ms += seconds * 1000
        self.wall_ms += seconds * 1000
        self.forget()

    @rule(trimmed=st.booleans())
    def everything_is_forgotten(self, trimmed: bool) -> None:
        self.be_stored(len(self.file.rows))
        self.time_passes(61)
        if trimmed:
            self.save_and_trim()

    @rule(wrong=st.sampled_from([0, 0, HOUR, -HOUR, 100 * HOUR, -T0 + 1000]))
    def the_clock_is_set(self, wrong: int) -> None:
        self.wall_ms = self.true_ms + wrong

    @rule()
    def save_and_trim(self) -> None:
        self.elapsed.note(self.last)
        self.file.set_meta("elapsed", self.elapsed.save().decode())
        self.saved.prepare(self.epoch, 0.0)()
        up_to = min(self.watermark, self.saved.position)
        newest = self.file.head()
        self.file.rows = [row for row in self.file.rows if row.id > up_to or row.id == newest]

    @rule(seconds=st.sampled_from([0, 61]), same_boot=st.booleans())
    def die_and_start(self, seconds: int, same_boot: bool) -> None:
        self.true_ms += seconds * 1000
        self.wall_ms += seconds * 1000
        self.boot.seconds += seconds
        if not same_boot:
            self.boot.name += "'"
        self.restart()

    @rule(bound=st.integers(1, 8))
    def start_with_another_bound(self, bound: int) -> None:
        self.per_sender = bound
        self.restart()

    @rule()
    def take_a_backup_of_the_log(self) -> None:
        self.backup = copy.deepcopy(self.file)

    @rule()
    def put_the_log_back(self) -> None:
        if self.backup.head() >= max((row.id for row in self.store), default=0):
            return  # that the log is an older one cannot be seen by the store's head alone
        if any(self.accepted.get(row.key, row.id) != row.id for row in self.backup.rows):
            return  # what was lost with a log, and was sent again since, comes back twice
        self.file = copy.deepcopy(self.backup)
        self.restart()

    @rule()
    def lose_the_log(self) -> None:
        self.file = MemoryFile()
        self.file.values["epoch"] = f"lost {self.epochs}"
        self.epochs += 1
        self.restart()

    @precondition(lambda self: len(self.file.rows) > 1)
    @rule(data=st.data())
    def quarantine(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(self.file.rows[:-1]))
        self.file.rows.remove(row)
        self.file.values |= KEYS_FORGOTTEN
        self.restart()

    @rule(count=st.integers(0, 5))
    def an_older_store_is_put_back(self, count: int) -> None:
        self.store = self.store[:count]
        self.mark = None
        self.restart()


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
