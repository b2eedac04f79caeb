"""What a log does with its file when it is opened."""

from __future__ import annotations

from chatsvc.core.ids import MAX_ID, id_at, now_ms
from chatsvc.core.record import Record
from chatsvc.log.idempotency import KeyWindow
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.positions import head_of, load
from chatsvc.log.local.standing import Settled, check_end, settle
from chatsvc.log.reconcile import StoreState
from chatsvc.log.tail import Tail


def positions_at_start(file: LogFile, store: StoreState | None) -> Settled:
    """What the file says, a new file's beginning, and what follows from the store."""
    positions = load(file)
    empty = not file.head()
    if empty and positions.store is None and not head_of(file, positions):
        # What was before is the store's to answer; where it is away, any beginning will do.
        start = store.extent if store is not None else id_at(now_ms())
        entry = positions.epochs[-1]._replace(begun=start)
        positions = positions._replace(
            epochs=(entry,), stored=start, settled=start, start=start, trimmed=start
        )
    head = head_of(file, positions)
    check_end(file, positions, head)
    if store is not None:
        file.set_meta("trimmed", positions.trimmed)
        return settle(
            file, positions, store, trimmed=positions.trimmed, empty=empty, differ=store.extent
        )
    if positions.unconfirmed is None:
        positions = positions._replace(unconfirmed=head)
    file.set_meta("trimmed", positions.trimmed)  # an earlier program kept no such thing
    file.set_metas(positions.meta())
    refill = file.count_between(positions.stored, positions.settled)
    return Settled(positions, None, positions.stored, refill)


def read_back(file: LogFile, tail: Tail, keys: KeyWindow) -> None:
    """Keys of all above the window's position; into the tail what is above its floor."""
    batch: list[Record] = []
    floor = tail.floor
    for number, record in enumerate(file.read(min(floor, keys.position))):
        if record.client_id is not None and record.id > keys.position:
            keys.add((record.sender, record.channel, record.client_id), record.id, record.digest)
        if number % 1000 == 0:
            keys.forget(0, MAX_ID)  # too many for the bounds are too many here as well
        if record.id > floor:
            batch.append(record)
        if len(batch) == 1000:
            tail.extend(batch)
            batch.clear()
    tail.extend(batch)
    keys.forget(0, MAX_ID)
