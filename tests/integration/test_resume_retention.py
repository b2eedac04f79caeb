"""A client that was away for longer than messages are kept is told that it may have missed some."""

from __future__ import annotations

from pathlib import Path

from chatsvc.delivery.hub import Hub
from chatsvc.delivery.resume import Resumer
from chatsvc.log.local.elapsed import Instant
from chatsvc.log.local.log import LocalLog
from chatsvc.storage.history.history import History
from chatsvc.storage.persister.persister import Persister
from chatsvc.storage.retention import Expiry, Retention
from chatsvc.storage.sqlite.store import SqliteStore
from chatsvc.storage.store_state import state_of
from testkit.drafts import draft
from testkit.selecting import SELECTION
from testkit.waiting import until

DAY_SECONDS = 86_400


async def test_a_cursor_below_what_expired_is_not_recovered(tmp_path: Path) -> None:
    lived = [1000.0]
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    log = await LocalLog.open(
        tmp_path,
        recent_bytes=0,
        backlog_bytes=1 << 30,
        idempotency_ms=600_000,
        idempotency_keys=1000,
        retention_ms=0,
        store=await state_of(store),
        elapsed_clock=lambda: Instant("boot", lived[0]),
    )
    persister = Persister(log, store, batch_ms=0)
    persister.start()
    expiry = Expiry(1, log.older_than)
    history = History(store, log.tail, expiry=expiry)
    resumer = Resumer(
        epoch=log.epoch,
        epochs=log.epochs,
        tail=log.tail,
        hub=Hub(),
        backfill=history.records,
        selection=SELECTION,
        max_messages=1000,
    )
    seen = await log.append(draft("seen"))
    missed = await log.append(draft("missed"))
    await until(lambda: log.tail.stored == missed.id)
    log.maintenance.run()
    lived[0] += DAY_SECONDS + 1
    log.maintenance.run()
    await Retention(store, log.tail, expiry, pause_seconds=0).sweep()
    kept = await log.append(draft("kept"))
    await until(lambda: log.tail.stored == kept.id)

    plan = await resumer.plan("bob", resumer.cursor(seen.id))
    assert (plan.recovered, plan.gap_from) == (False, seen.id)
    plan = await resumer.plan("bob", resumer.cursor(missed.id))
    assert plan.recovered

    await persister.stop(drain=True)
    await log.close()
    await store.close()
