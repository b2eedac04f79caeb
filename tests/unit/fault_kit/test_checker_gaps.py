"""The checker finds what listeners missed without an announced gap."""

from __future__ import annotations

import pytest

from tests.fault.kit.checker import Fault
from tests.unit.support.story import Story, clean, ident, message, only


@pytest.fixture
def story() -> Story:
    return Story()


def test_silent_gap(story: Story) -> None:
    story.connect()
    for number in (1, 2, 3):
        story.sent(number, f"m{number}")
    story.receive(1, "m1")
    story.connect(since=1)
    story.receive(3, "m3")
    story.settle(3)
    story.history(*(message(number, f"m{number}") for number in (1, 2, 3)))
    only(story.judge(), Fault.SILENT_GAP)


def test_a_position_passed_over_a_message(story: Story) -> None:
    story.connect()
    story.sent(1, "m1")
    story.event("l", "ok", "position", listener="l:b", position=ident(1))
    story.history(message(1, "m1"))
    verdict = story.judge()
    only(verdict, Fault.SILENT_GAP)


def test_what_came_before_the_first_connection_is_not_missed(story: Story) -> None:
    story.sent(1, "m1")
    story.connect(at=1)
    story.sent(2, "m2")
    story.receive(2, "m2")
    story.settle(2)
    story.history(message(1, "m1"), message(2, "m2"))
    clean(story.judge())


def test_an_announced_gap_that_was_fetched(story: Story) -> None:
    story.connect()
    for number in (1, 2, 3):
        story.sent(number, f"m{number}")
    story.connect(since=0)
    story.gap(0, 2)
    story.fetch(0, 2, message(1, "m1"), message(2, "m2"))
    story.receive(3, "m3")
    story.settle(3)
    story.history(*(message(number, f"m{number}") for number in (1, 2, 3)))
    clean(story.judge())


def test_an_announced_gap_whose_range_does_not_complete_it(story: Story) -> None:
    story.connect()
    story.sent(1, "m1")
    story.sent(2, "m2")
    story.gap(0, 2)
    story.fetch(0, 2, message(1, "m1"))
    story.settle(2)
    story.history(message(1, "m1"), message(2, "m2"))
    only(story.judge(), Fault.LOST)


def test_an_announced_gap_that_nobody_fetched_is_no_proof(story: Story) -> None:
    story.connect()
    story.sent(1, "m1")
    story.gap(0, 1)
    story.settle(1)
    story.history(message(1, "m1"))
    clean(story.judge(), decided=False)


def test_live_frames_inside_an_announced_gap(story: Story) -> None:
    story.connect()
    story.sent(1, "m1")
    story.gap(0, 2)
    story.receive(1, "m1")
    story.settle(1)
    story.history(message(1, "m1"))
    only(story.judge(), Fault.OUT_OF_ORDER)
