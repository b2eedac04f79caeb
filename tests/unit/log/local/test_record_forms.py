"""A log whose file holds records of form 1, and of form 2 behind them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from chatsvc.core.errors import Conflict
from chatsvc.core.ids import STEP, format_id, id_at, now_ms
from chatsvc.core.record import Record, accept, checksum
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.log import LocalLog
from chatsvc.log.reconcile import StoreState, fingerprint
from testkit import record_form_1
from testkit.drafts import draft
from tests.unit.support.local_logs import (
    ALL,
    NOTHING,
    Open,
    mark,
    send,
    write_log,
)


def write_before(folder: Path, count: int = 3, **meta: str | int) -> list[Record]:
    """Write a log as a program before form 2 left it: each message with a ``client_id``."""
    first = id_at(now_ms() - 60_000)
    written = [
        record_form_1.as_before(accept(draft(f"old {at}", client_id=f"k{at}"), first + at * STEP))
        for at in range(count)
    ]
    rows = [(one.id, checksum(one.id, data := record_form_1.pack(one)), data) for one in written]
    write_log(folder, rows, **meta)
    return written


def forms_on_disk(folder: Path) -> list[int]:
    """The form of each record in the file."""
    file = LogFile(folder / "log.db")
    try:
        rows = file._db.execute("SELECT data FROM records ORDER BY id").fetchall()
    finally:
        file.abandon()
    return [msgspec.msgpack.decode(data)[0] for (data,) in rows]


async def test_both_forms_are_read_in_their_order(tmp_path: Path, open_log: Open) -> None:
    old = write_before(tmp_path)
    log = await open_log()
    sent = [await send(log, f"new {at}", client_id=f"n{at}") for at in range(2)]
    expected = [*((one.id, one.body) for one in old), *((one.id, one.body) for one in sent)]
    assert [(one.id, one.body) for one in log.tail.page(ALL)] == expected
    await log.close()
    assert forms_on_disk(tmp_path) == [1, 1, 1, 2, 2]
    log = await open_log()
    assert [(one.id, one.body) for one in log.tail.page(ALL)] == expected
    assert [one.body for one in await log.read(0, sent[-1].id, 10, 1 << 20)] == [
        body for _, body in expected
    ]


async def test_a_retry_is_the_same_message_across_the_change_of_form(
    tmp_path: Path, open_log: Open
) -> None:
    old = write_before(tmp_path)
    log = await open_log()
    for _ in range(2):
        again = await send(log, "old 1", client_id="k1")
        assert (again.id, again.duplicate) == (old[1].id, True)
        assert msgspec.json.decode(again.body) == msgspec.json.decode(old[1].body)
        with pytest.raises(Conflict) as raised:
            await send(log, "another", client_id="k1")
        assert raised.value.extra == {"id": format_id(old[1].id)}
        await log.close()
        log = await open_log()
    assert len(log.tail) == 3


async def at_the_head(log: LocalLog) -> StoreState:
    """A store that has everything, whose mark has the content of the last of it."""
    last = log.tail.page(ALL)[-1]
    content = fingerprint(last.body)
    return StoreState("s", mark(log, last.id)._replace(content=content), last.id - 64)


@pytest.mark.parametrize("new", [0, 1], ids=["form 1", "form 2"])
async def test_the_last_record_is_known_to_the_store_after_a_restart(
    tmp_path: Path, open_log: Open, new: int
) -> None:
    write_before(tmp_path)
    log = await open_log(store=NOTHING)
    for at in range(new):
        await send(log, f"new {at}", client_id="n")
    epoch, store = log.epoch, await at_the_head(log)
    await log.close()
    assert forms_on_disk(tmp_path)[-1] == (2 if new else 1)
    log = await open_log(store=store)
    assert log.epoch == epoch, "the store holds nothing that the log does not"
    await log.close()
    assert store.mark is not None
    log = await open_log(store=store._replace(mark=store.mark._replace(content="0" * 32)))
    assert log.epoch != epoch, "of another content it is another record"


async def test_a_record_of_form_1_gets_another_place(tmp_path: Path, open_log: Open) -> None:
    old = write_before(tmp_path)
    log = await open_log(store=NOTHING)
    first = log.tail.page(ALL)[0]
    await log.readmit([first])
    placed = log.tail.page(ALL)[-1]
    assert msgspec.json.decode(placed.body)["id"] == format_id(placed.id)
    members = [one.body.partition(b',"channel"')[2] for one in (placed, old[0])]
    assert members[0] == members[1] != b"", "the rest of it is as it was"
    await log.close()
    log = await open_log()
    assert [one.body for one in log.tail.page(ALL)] == [old[1].body, old[2].body, placed.body]
    again = await send(log, "old 0", client_id="k0")
    assert (again.id, again.duplicate) == (placed.id, True)
