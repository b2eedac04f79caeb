"""The checker finds what reads lack, and knows what proves nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fault.kit.checker import Fault
from tests.unit.support.story import Story, clean, ident, message, only


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.mark.parametrize("known_by", ["ack", "delivery"])
def test_read_later_than_known(story: Story, known_by: str) -> None:
    story.connect()
    end = story.send("m1")
    if known_by == "ack":
        end(id=ident(1), duplicate=False)
    story.receive(1, "m1")
    story.read()
    if known_by == "delivery":
        end(id=ident(1), duplicate=False)
    story.settle(1)
    story.history(message(1, "m1"))
    only(story.judge(), Fault.STALE_READ)


def test_a_read_that_began_before_the_ack_may_lack_it(story: Story) -> None:
    end = story.begin("read", user="b", channel="a,b", after=None, before=None)
    story.sent(1, "m1")
    end(messages=[], has_more=False, complete=True)
    story.history(message(1, "m1"))
    clean(story.judge())


@pytest.mark.parametrize(
    ("page", "more", "stale"),
    [
        ((3, 4), {"has_more": True}, False),
        ((2, 4), {"has_more": True}, True),
        ((2, 3), {"after": 1, "has_more": True}, False),
        ((2, 4), {"after": 1, "has_more": True}, True),
        ((2, 3), {"after": 1}, True),
        ((1, 2), {"before": 3}, False),
        ((1,), {"before": 3}, True),
        ((3, 4), {"complete": False}, False),
        ((1, 4), {"complete": False}, True),
        ((), {"complete": False}, False),
    ],
)
def test_what_a_page_must_hold(
    story: Story, page: tuple[int, ...], more: dict[str, Any], stale: bool
) -> None:
    for number in (1, 2, 3, 4):
        story.sent(number, f"m{number}")
    bounds = {key: ident(value) for key, value in more.items() if key in {"after", "before"}}
    story.read(*(message(number, f"m{number}") for number in page), **{**more, **bounds})
    story.history(*(message(number, f"m{number}") for number in (1, 2, 3, 4)))
    assert bool(story.judge().counts[Fault.STALE_READ]) is stale


def test_a_read_over_all_conversations(story: Story) -> None:
    story.sent(1, "m1")
    story.sent(2, "m2", "b,c", "c")
    story.read(message(2, "m2", "b,c", "c"), channel=None)
    story.history(message(1, "m1"))
    story.history(message(2, "m2", "b,c", "c"), channel="b,c")
    only(story.judge(), Fault.STALE_READ)


def test_a_listener_that_did_not_settle_is_no_proof(story: Story) -> None:
    story.connect()
    story.sent(1, "m1")
    story.history(message(1, "m1"))
    clean(story.judge(), decided=False)
