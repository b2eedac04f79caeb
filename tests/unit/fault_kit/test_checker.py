"""The checker finds each fault in a history that holds it, and nothing in clean ones."""

from __future__ import annotations

import pytest

from tests.fault.kit.checker import Fault
from tests.unit.support.story import Story, clean, ident, message, only


@pytest.fixture
def story() -> Story:
    return Story()


def test_clean_conversation(story: Story) -> None:
    story.connect()
    story.sent(1, "m1")
    story.receive(1, "m1")
    story.sent(2, "m2")
    story.read(message(1, "m1"), message(2, "m2"))
    story.receive(2, "m2")
    story.settle(2)
    story.history(message(1, "m1"), message(2, "m2"))
    verdict = story.judge()
    clean(verdict)
    assert verdict.totals["messages acknowledged"] == 2
    assert verdict.totals["deliveries"] == 2
    assert verdict.totals["reads"] == 1


@pytest.mark.parametrize("was_accepted", [True, False])
def test_unknown_may_be_either(story: Story, was_accepted: bool) -> None:
    story.connect()
    story.send("m1")("unknown")
    if was_accepted:
        story.receive(1, "m1")
    story.settle(5)
    story.history(*([message(1, "m1")] if was_accepted else []))
    clean(story.judge())


def test_unknown_that_one_saw_is_for_all(story: Story) -> None:
    story.connect()
    story.connect("c")
    story.send("m1", "a,b,c")("unknown")
    story.receive(1, "m1", channel="a,b,c")
    story.settle(1)
    story.settle(1, "c")
    story.history(message(1, "m1", "a,b,c"), channel="a,b,c")
    only(story.judge(), Fault.SILENT_GAP)


def test_a_retry_of_an_unknown_is_the_same_message(story: Story) -> None:
    story.connect()
    story.send("m1")("unknown")
    story.sent(2, "m2")
    story.send("m1")(id=ident(1), duplicate=True)
    story.receive(1, "m1")
    story.receive(2, "m2")
    story.settle(2)
    story.history(message(1, "m1"), message(2, "m2"))
    clean(story.judge())


def test_acknowledged_and_lost(story: Story) -> None:
    story.sent(1, "m1")
    story.sent(2, "m2")
    story.history(message(2, "m2"))
    only(story.judge(), Fault.LOST)


def test_given_out_and_lost(story: Story) -> None:
    story.connect()
    story.send("m1")("unknown")
    story.receive(1, "m1")
    story.settle(1)
    story.history()
    only(story.judge(), Fault.LOST)


def test_lost_from_the_history_over_all_conversations(story: Story) -> None:
    story.sent(1, "m1")
    story.history(message(1, "m1"))
    story.history(user="a", channel=None)
    only(story.judge(), Fault.LOST)


def test_a_history_nobody_read_is_no_proof(story: Story) -> None:
    story.sent(1, "m1")
    clean(story.judge(), decided=False)


def test_a_history_read_too_early_is_no_proof(story: Story) -> None:
    story.sent(1, "m1")
    story.history(message(1, "m1"))
    story.sent(2, "m2")
    verdict = story.judge()
    clean(verdict, decided=False)
    assert "after 1 of its messages" in verdict.open_ends[0]


def test_delivered_twice(story: Story) -> None:
    story.connect()
    story.sent(1, "m1")
    story.receive(1, "m1")
    story.connect(since=1)
    story.receive(1, "m1")
    story.settle(1)
    story.history(message(1, "m1"))
    only(story.judge(), Fault.DOUBLED)


def test_a_retry_that_became_a_second_message(story: Story) -> None:
    story.send("m1")("unknown")
    story.sent(1, "m1")
    story.send("m1")(id=ident(2), duplicate=False)
    story.history(message(1, "m1"))
    only(story.judge(), Fault.DOUBLED)


def test_two_messages_of_one_id(story: Story) -> None:
    story.sent(1, "m1")
    story.sent(1, "m2", channel="a,c")
    verdict = story.judge()
    assert verdict.counts[Fault.DOUBLED] == 1


def test_twice_in_a_page(story: Story) -> None:
    story.sent(1, "m1")
    story.read(message(1, "m1"), message(1, "m1"))
    story.history(message(1, "m1"))
    only(story.judge(), Fault.DOUBLED)


def test_delivered_out_of_order(story: Story) -> None:
    story.connect()
    story.sent(1, "m1")
    story.sent(2, "m2")
    story.receive(2, "m2")
    story.receive(1, "m1")
    story.settle(2)
    story.history(message(1, "m1"), message(2, "m2"))
    only(story.judge(), Fault.OUT_OF_ORDER)


def test_a_page_out_of_order(story: Story) -> None:
    story.sent(1, "m1")
    story.sent(2, "m2")
    story.read(message(2, "m2"), message(1, "m1"))
    story.history(message(1, "m1"), message(2, "m2"))
    only(story.judge(), Fault.OUT_OF_ORDER)


def test_a_page_beyond_its_bounds(story: Story) -> None:
    story.sent(1, "m1")
    story.sent(2, "m2")
    story.read(message(1, "m1"), message(2, "m2"), after=ident(1))
    story.history(message(1, "m1"), message(2, "m2"))
    only(story.judge(), Fault.OUT_OF_ORDER)


@pytest.mark.parametrize("delivered_first", [True, False])
def test_acknowledged_in_another_order_than_sent(story: Story, delivered_first: bool) -> None:
    story.connect()
    story.sent(2, "m1")
    story.receive(2, "m1")
    story.connect("c")
    later = story.send("m2", "a,c")
    if delivered_first:
        story.receive(1, "m2", channel="a,c", user="c")
    later(id=ident(1), duplicate=False)
    if not delivered_first:
        story.receive(1, "m2", channel="a,c", user="c")
    story.settle(2)
    story.settle(2, "c")
    story.history(message(2, "m1"))
    story.history(message(1, "m2", "a,c"), user="c", channel="a,c")
    only(story.judge(), Fault.OUT_OF_ORDER)


def test_concurrent_sends_may_take_either_order(story: Story) -> None:
    first = story.send("m1")
    second = story.send("m2")
    second(id=ident(1), duplicate=False)
    first(id=ident(2), duplicate=False)
    story.history(message(1, "m2"), message(2, "m1"))
    clean(story.judge())


def test_never_sent(story: Story) -> None:
    story.connect()
    story.receive(1, "ghost")
    story.settle(1)
    story.history(message(1, "ghost"))
    verdict = story.judge()
    assert verdict.counts[Fault.NEVER_SENT] == 1
    assert not verdict.counts[Fault.LOST]


def test_refused_and_given_out(story: Story) -> None:
    story.connect()
    story.send("m1")("fail", status=422)
    story.receive(1, "m1")
    story.settle(1)
    story.history(message(1, "m1"))
    only(story.judge(), Fault.NEVER_SENT)


def test_refused_once_and_accepted_on_retry(story: Story) -> None:
    story.send("m1")("fail", status=401)
    story.sent(1, "m1")
    story.history(message(1, "m1"))
    clean(story.judge())


def test_altered(story: Story) -> None:
    story.connect()
    story.sent(1, "m1")
    story.receive(1, "m1", content="another text")
    story.settle(1)
    story.history(message(1, "m1"))
    only(story.judge(), Fault.ALTERED)


def test_wrong_person(story: Story) -> None:
    story.connect("c")
    story.sent(1, "m1")
    story.receive(1, "m1", user="c")
    story.settle(1, "c")
    story.history(message(1, "m1"))
    only(story.judge(), Fault.WRONG_PERSON)


def test_in_the_history_of_another_conversation(story: Story) -> None:
    story.sent(1, "m1", "a,b,c")
    story.read(message(1, "m1", "a,b,c"))
    story.history(message(1, "m1", "a,b,c"), channel="a,b,c")
    only(story.judge(), Fault.WRONG_PERSON)


def test_to_its_sender(story: Story) -> None:
    story.connect("a")
    story.sent(1, "m1")
    story.receive(1, "m1", user="a")
    story.settle(1, "a")
    story.history(message(1, "m1"))
    only(story.judge(), Fault.TO_SENDER)


@pytest.mark.parametrize("device", ["phone", "desk"])
def test_an_echo_may_be_from_any_device(story: Story, device: str) -> None:
    """A replay leaves out nothing."""
    story.connect("a", echo=True)
    story.send("m1", device=device)(id=ident(1), duplicate=False)
    story.receive(1, "m1", user="a")
    story.settle(1, "a")
    story.history(message(1, "m1"))
    clean(story.judge())


def test_without_echo_ones_own_is_a_fault_from_any_device(story: Story) -> None:
    story.connect("a")
    story.send("m1", device="desk")(id=ident(1), duplicate=False)
    story.receive(1, "m1", user="a")
    story.settle(1, "a")
    story.history(message(1, "m1"))
    only(story.judge(), Fault.TO_SENDER)


def test_an_echo_that_never_came(story: Story) -> None:
    story.connect("a", echo=True)
    story.send("m1", device="desk")(id=ident(1), duplicate=False)
    story.settle(1, "a")
    story.history(message(1, "m1"))
    only(story.judge(), Fault.SILENT_GAP)
