"""What a second signal means."""

from __future__ import annotations

import asyncio

import pytest

from chatsvc.app.process import DUPLICATE_SIGNAL_SECONDS, StopSignal


class Ended(Exception):
    """In place of the end of the process."""


def exit_immediately() -> None:
    raise Ended


async def test_a_second_signal_within_a_second_is_the_first_once_more_and_a_later_one_is_not() -> (
    None
):
    now = [1000.0]
    stop = StopSignal(clock=lambda: now[0], exit_immediately=exit_immediately)
    waiting = asyncio.ensure_future(stop.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    stop()
    await waiting
    for passed in (0.0, 0.5, DUPLICATE_SIGNAL_SECONDS):
        now[0] = 1000.0 + passed
        stop()
    now[0] = 1000.0 + DUPLICATE_SIGNAL_SECONDS + 0.001
    with pytest.raises(Ended):
        stop()
    await stop.wait()
