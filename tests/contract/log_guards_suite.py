"""What every log promises of drafts that are appended together, and of guards, as tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import msgspec
import pytest

from chatsvc.core.errors import Conflict, LogUnavailable, Stale
from chatsvc.core.ids import STEP, format_id
from chatsvc.core.page import Bounds
from chatsvc.core.record import Draft
from chatsvc.log.base import MAX_TOGETHER, Appended, MessageLog
from chatsvc.log.deciding import Deciding, Decision
from chatsvc.log.guards import FORGET_AT_ONCE, MAX_KEYS, Guard
from testkit.drafts import draft
from tests.contract.log_suite import ALL, EMPTY, Backend

T = TypeVar("T")
SOON = 30.0


async def soon(future: Awaitable[T]) -> T:
    return await asyncio.wait_for(future, SOON)


def touching(content: str, *keys: str, client_id: str | None = None) -> Draft:
    return msgspec.structs.replace(draft(content, client_id=client_id), touches=keys)


class GuardSuite:
    """Subclasses give the fixtures ``backend`` and ``log`` of :class:`LogSuite`."""

    async def test_all_of_an_append_are_records_in_their_order(self, log: MessageLog) -> None:
        futures = [log.append_all([draft(f"{at}a"), draft(f"{at}b")]) for at in range(200)]
        results = [one for future in futures for one in await soon(future)]
        ids = [one.id for one in results]
        assert ids == sorted(set(ids))
        assert [one.body for one in log.tail.page(ALL)] == [one.body for one in results]
        assert len(await soon(log.append_all([draft()] * MAX_TOGETHER))) == MAX_TOGETHER

    async def test_of_a_repeat_none_is_appended(self, log: MessageLog) -> None:
        drafts = [draft("a", client_id="k"), draft("b")]
        first, early = log.append_all(drafts), log.append_all(drafts)
        ids = [one.id for one in await soon(first)]
        assert len(ids) == 2
        for future in (early, log.append_all(drafts)):
            (again,) = await soon(future)
            assert (again.id, again.duplicate) == (ids[0], True)
        with pytest.raises(Conflict) as raised:
            await soon(log.append_all([draft("another", client_id="k"), draft("b")]))
        assert raised.value.extra == {"id": format_id(ids[0])}
        assert [one.id for one in log.tail.page(ALL)] == ids

    async def test_a_decision_is_stale_once_its_keys_were_touched(self, log: MessageLog) -> None:
        as_of = log.tail.head
        touched = await soon(log.append(touching("a", "r")))
        with pytest.raises(Stale) as raised:
            await soon(log.append_all([draft("b")], Guard(as_of, ("m", "r"))))
        assert raised.value.by == touched.id
        assert log.tail.get(touched.id) is not None
        await soon(log.append_all([draft("c")], Guard(as_of, ("m",))))
        await soon(log.append_all([draft("d")], Guard(log.tail.head, ("m", "r"))))
        assert len(log.tail.page(ALL)) == 3

    async def test_of_decisions_at_once_on_one_key_one_is_accepted(self, log: MessageLog) -> None:
        guard = Guard(log.tail.head, ("r",))
        futures = [log.append_all([touching(str(at), "r")], guard) for at in range(20)]
        heads: list[tuple[int, int]] = []

        def note(done: asyncio.Future[list[Appended]]) -> None:
            error = done.exception()
            assert isinstance(error, Stale)
            heads.append((error.by, log.tail.head))

        for future in futures[1:]:
            future.add_done_callback(note)
        results = await soon(asyncio.gather(*futures, return_exceptions=True))
        first = results[0]
        assert isinstance(first, list)
        assert heads == [(first[0].id, first[0].id)] * 19
        assert len(log.tail.page(ALL)) == 1

    async def test_a_thousand_decisions_at_once_on_one_key_are_all_made(
        self, log: MessageLog
    ) -> None:
        deciding = Deciding(log)

        def join() -> Decision:
            members = sum("r" in one.touches for one in log.tail.page(ALL))
            return Decision([touching(str(members), "r")], Guard(log.tail.head, ("r",)))

        requests = [deciding.decide_again(join) for _ in range(1000)]
        results = await asyncio.wait_for(asyncio.gather(*requests), 10 * SOON)
        assert len({one.id for result in results for one in result}) == 1000
        read = [msgspec.json.decode(one.body)["content"] for one in log.tail.page(ALL)]
        assert read == [str(at) for at in range(1000)]

    async def test_a_client_id_is_looked_at_before_the_guard(self, log: MessageLog) -> None:
        guard = Guard(log.tail.head, ("r",))
        one = touching("a", "r", client_id="k")
        (first,) = await soon(log.append_all([one], guard))
        assert await soon(log.append_all([one], guard)) == [
            Appended(first.id, first.body, duplicate=True)
        ]

    async def test_a_stale_append_refuses_no_other_and_may_be_tried_again(
        self, log: MessageLog
    ) -> None:
        guard = Guard(log.tail.head, ("r",))
        await soon(log.append(touching("a", "r")))
        stale = log.append_all([draft("b", client_id="k")], guard)
        others = [log.append(draft(str(at))) for at in range(5)]
        with pytest.raises(Stale):
            await soon(stale)
        await soon(asyncio.gather(*others))
        (again,) = await soon(log.append_all([draft("b", client_id="k")]))
        assert not again.duplicate

    async def test_after_a_start_a_decision_as_of_the_head_is_not_stale(
        self, backend: Backend
    ) -> None:
        async with backend.died() as log:
            await soon(log.append_all([touching("a", "r"), draft("b")]))
        async with backend.opened() as log:
            guard = Guard(log.tail.head - STEP, ("never touched",))
            with pytest.raises(Stale) as raised:
                await soon(log.append_all([draft("c")], guard))
            assert raised.value.by == log.tail.head
            touching_again = touching("c", "r")
            await soon(log.append_all([touching_again], Guard(log.tail.head, ("r",))))

    async def test_a_key_that_was_touched_long_ago_is_decided_on(self, log: MessageLog) -> None:
        await log.attach_store(EMPTY)
        touched = await soon(log.append(touching("a", "r")))
        for at in range(300):
            await soon(log.append_all([touching(str(at), f"other {at}")]))
        log.advance_watermark(log.tail.head)
        await soon(log.append_all([draft("b")], Guard(touched.id, ("r",))))
        await soon(log.append_all([touching("c", "r")], Guard(log.tail.head, ("r",))))
        assert log.tail.page(Bounds(1))[0].touches == ("r",)

    @pytest.mark.parametrize("held", [True, False])
    async def test_rows_that_are_behind_are_decided_by_where_touches_are_held_for_them(
        self, log: MessageLog, held: bool
    ) -> None:
        """Otherwise whatever is decided by them is stale until they are folded further."""
        await log.attach_store(EMPTY)
        folded_to = (await soon(log.append(draft("a")))).id
        log.hold_touches(folded_to if held else None)
        many = [tuple(f"m/{at}/{n}" for n in range(512)) for at in range(MAX_KEYS // 512 + 9)]
        touched = await soon(log.append_all([touching("b", *keys) for keys in many]))
        for _ in range(MAX_KEYS // FORGET_AT_ONCE):
            log.advance_watermark(log.tail.head)
        untouched, first = (Guard(folded_to, (key,)) for key in ("m/0/512", "m/0/511"))
        with pytest.raises(Stale) as raised:
            await soon(log.append_all([draft("c")], first))
        assert raised.value.by == touched[0 if held else 8].id
        if held:
            await soon(log.append_all([draft("d")], untouched))
            log.hold_touches(None)
            log.advance_watermark(log.tail.head)
        with pytest.raises(Stale):
            await soon(log.append_all([draft("e")], untouched))

    async def test_what_a_record_touches_is_kept_with_it(self, backend: Backend) -> None:
        async with backend.died() as log:
            await soon(log.append_all([touching("a", "r", "m"), draft("b")]))
        async with backend.opened() as log:
            assert [one.touches for one in log.tail.page(ALL)] == [("r", "m"), ()]

    async def test_a_record_that_gets_another_place_touches_its_keys_there(
        self, log: MessageLog
    ) -> None:
        await log.attach_store(EMPTY)
        await soon(log.append(touching("a", "r")))
        (record,) = log.tail.page(ALL)
        as_of = log.tail.head
        await soon(log.readmit([record]))
        with pytest.raises(Stale) as raised:
            await soon(log.append_all([draft("b")], Guard(as_of, ("r",))))
        assert raised.value.by == log.tail.page(ALL)[-1].id

    async def test_a_log_that_is_closing_takes_no_append(self, log: MessageLog) -> None:
        await soon(log.close())
        with pytest.raises(LogUnavailable):
            await soon(log.append_all([draft("a"), draft("b")], Guard(log.tail.head, ("r",))))
