"""What a log does with its file when it is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from chatsvc.core.ids import MAX_ID, id_at, id_ms, now_ms
from chatsvc.core.record import Record
from chatsvc.log.idempotency import KeyWindow
from chatsvc.log.local.attachment import Attachment, attach, check_end
from chatsvc.log.local.elapsed import ElapsedHeads, Instant
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.finishing import finish_in_thread
from chatsvc.log.local.key_file import open_keys
from chatsvc.log.local.positions import Positions, head_of, load
from chatsvc.log.local.state_reader import LocalState, state_of
from chatsvc.log.reconcile import StoreState
from chatsvc.log.state import StateDue
from chatsvc.log.tail import Tail

_MIN_COST: Final = 600
"""No record costs less memory than this and its data."""

_logger = structlog.get_logger("chatsvc.log")


class OpenedFile(NamedTuple):
    """The file of a log, and what was read from it. ``head``: the highest id that was given."""

    file: LogFile
    state: LocalState
    attachment: Attachment
    tail: Tail
    keys: KeyWindow
    elapsed: ElapsedHeads
    head: int


async def open_log_file(
    path: Path,
    *,
    recent_bytes: int,
    window_ms: int,
    max_keys: int,
    max_keys_per_sender: int,
    store: StoreState | None,
    elapsed_clock: Callable[[], Instant],
) -> OpenedFile:
    """Verify the file, attach the store, read what memory has to hold.

    Raises:
        LogDamaged, VersionTooNew: as :class:`~chatsvc.log.local.file.LogFile`.
    """
    file = await _open(path)
    try:
        await finish_in_thread(_make_ready, file)
        attachment = await finish_in_thread(positions_at_start, file, store)
        positions = attachment.positions
        head = head_of(file, positions)
        elapsed = ElapsedHeads(_text(file.meta("elapsed")), clock=elapsed_clock)
        keys = open_keys(
            file,
            epoch=store_epoch(file.meta("epoch"), file.meta("store")),
            window_ms=window_ms,
            max_keys=max_keys,
            max_keys_per_sender=max_keys_per_sender,
            stored=positions.stored,
            store=store,
            clock=_steady_clock(elapsed_clock),
            lived=lambda: elapsed.lived,
        )
        if store is None and keys.bounds.unmet:
            # What was taken out of this log is no newer than its head, whatever clocks say.
            keys.bounds.past_is_unknown(id_ms(head))
        tail = await finish_in_thread(
            _read_tail,
            file,
            positions,
            keys,
            recent_bytes=recent_bytes,
            lately=elapsed.older_than(window_ms / 1000),
            head=head,
            confirmed=store is not None,
        )
        return OpenedFile(file, state_of(file), attachment, tail, keys, elapsed, head)
    except BaseException:
        file.abandon()
        raise


async def _open(path: Path) -> LogFile:
    opened: list[LogFile] = []
    try:
        await finish_in_thread(lambda: opened.append(LogFile(path)))
    except BaseException:
        for file in opened:
            file.abandon()
        raise
    (file,) = opened
    if file.torn_at is not None:
        _logger.warning("log_end_torn", offset=file.torn_at)
    return file


def _make_ready(file: LogFile) -> None:
    file.check_pages()
    file.index_members()  # where it is made, it is made of those pages


def positions_at_start(file: LogFile, store: StoreState | None) -> Attachment:
    """What the file says, a new file's beginning, and what follows from the store."""
    positions = load(file)
    empty = not file.head()
    if empty and positions.store is None and not head_of(file, positions):
        # What was before is the store's to answer; where it is away, any beginning will do.
        start = store.extent if store is not None else id_at(now_ms())
        begun = store.complete_up_to if store is not None else start
        entry = positions.epochs[-1]._replace(begun=begun)
        positions = positions._replace(
            epochs=(entry,), stored=start, settled=start, start=start, trimmed=start
        )
        if store is None:
            positions = positions._replace(state_due=StateDue.ADOPTION)
    head = head_of(file, positions)
    check_end(file, positions, head)
    file.set_meta("trimmed", positions.trimmed)  # an earlier program kept no such thing
    if store is not None:
        return attach(
            file,
            positions,
            store,
            trimmed=positions.trimmed,
            empty=empty,
            differ=store.complete_up_to,
        )
    if positions.unconfirmed is None:
        positions = positions._replace(unconfirmed=head)
    file.set_metas(positions.meta())
    refill = file.count_between(positions.stored, positions.settled)
    return Attachment(positions, None, positions.stored, refill)


def _read_tail(
    file: LogFile,
    positions: Positions,
    keys: KeyWindow,
    *,
    recent_bytes: int,
    lately: int,
    head: int,
    confirmed: bool,
) -> Tail:
    """What memory has to hold: all that was never stored, and of the rest what is recent."""
    recent = file.below_bytes(positions.settled, recent_bytes, _MIN_COST)
    tail = Tail(
        recent_bytes=recent_bytes,
        watermark=positions.settled,
        floor=max(recent, positions.trimmed, min(positions.settled, lately)),
        stored=positions.stored,
        base=positions.known_base,
        hole=positions.hole,
        head=head,
        confirmed=confirmed,
    )
    read_back(file, tail, keys)
    return tail


def read_back(file: LogFile, tail: Tail, keys: KeyWindow) -> None:
    """Keys of all above the window's position; into the tail what is above its floor."""
    batch: list[Record] = []
    floor = tail.floor
    for number, record in enumerate(file.read(min(floor, keys.position))):
        if record.id > keys.position:
            keys.add_record(record)
        if number % 1000 == 0:
            keys.forget(0, MAX_ID)  # too many for the bounds are too many here as well
        if record.id > floor:
            batch.append(record)
        if len(batch) == 1000:
            tail.extend(batch)
            batch.clear()
    tail.extend(batch)
    keys.forget(0, MAX_ID)


def store_epoch(epoch: object, store: object) -> str:
    """Return a name for an epoch of the log together with the store that it fills."""
    return f"{epoch} {store or ''}"


def _steady_clock(seconds: Callable[[], Instant]) -> Callable[[], int]:
    """The wall clock as it is now, in Unix milliseconds, going on with the time that passes.

    What it is set to later is not believed.
    """
    opened_ms, opened = now_ms(), seconds().seconds
    return lambda: opened_ms + round((seconds().seconds - opened) * 1000)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
