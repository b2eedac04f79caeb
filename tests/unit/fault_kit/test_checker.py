"""The checker finds each fault in a history that holds it, and nothing in clean ones."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.fault.kit.checker import Fault, Verdict, check, check_files
from tests.fault.kit.recorder import Recorder

START = "0000000000000000"


class Story:
    """Writes a recording by hand, one tick a line."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.calls = 0

    def event(self, process: str, kind: str, op: str, call: int = 0, **value: Any) -> None:
        event = {"process": process, "type": kind, "op": op, "time": len(self.lines) + 1}
        self.lines.append(msgspec.json.encode({**event, "value": value, "call": call}))

    def begin(self, op: str, **value: Any) -> Callable[..., None]:
        self.calls += 1
        call = self.calls
        self.event("p", "invoke", op, call, **value)

        def end(kind: str = "ok", **more: Any) -> None:
            self.event("p", kind, op, call, **{**value, **more})

        return end

    def send(self, name: str, channel: str = "a,b", sender: str = "a", **more: Any) -> Any:
        return self.begin("send", **message(None, name, channel, sender), **more)

    def sent(self, number: int, name: str, channel: str = "a,b", sender: str = "a") -> None:
        self.send(name, channel, sender)(id=ident(number), duplicate=False)

    def connect(
        self, user: str = "b", *, since: int | None = None, at: int = 0, **more: Any
    ) -> None:
        value = {
            "user": user,
            "listener": f"l:{user}",
            "connection": "c",
            "device": "phone",
            "echo": False,
            "since": None if since is None else f"e.{ident(since)}",
            "recovered": None,
            "position": ident(at),
        }
        self.event("l", "ok", "connect", **{**value, **more})

    def receive(self, number: int, name: str, *, user: str = "b", **message_of: Any) -> None:
        self.event(
            "l", "ok", "receive", listener=f"l:{user}", **message(number, name, **message_of)
        )

    def gap(self, low: int, high: int) -> None:
        self.event("l", "ok", "gap", listener="l:b", **{"from": ident(low), "to": ident(high)})

    def fetch(self, low: int, high: int, *messages: dict[str, Any]) -> None:
        bounds = {"from": ident(low), "to": ident(high)}
        self.event("l", "ok", "fetch", listener="l:b", messages=messages, **bounds)

    def settle(self, up_to: int, user: str = "b") -> None:
        self.event("l", "ok", "settle", listener=f"l:{user}", up_to=ident(up_to))

    def read(
        self, *messages: dict[str, Any], user: str = "b", channel: str | None = "a,b", **more: Any
    ) -> None:
        asked = {"user": user, "channel": channel, "after": None, "before": None, **more}
        end = self.begin("read", **asked)
        end(messages=messages, **{"has_more": False, "complete": True, **more})

    def history(
        self, *messages: dict[str, Any], user: str = "b", channel: str | None = "a,b"
    ) -> None:
        self.begin("history", user=user, channel=channel)(messages=messages)

    def judge(self) -> Verdict:
        return check(self.lines)


def ident(number: int) -> str:
    return f"{number:016x}"


def message(
    number: int | None, name: str, channel: str = "a,b", sender: str = "a", content: str = ""
) -> dict[str, Any]:
    """A message of this name; without a number, as it is sent."""
    known = {
        "sender": sender,
        "client_id": name,
        "channel": channel,
        "content": content or f"text of {name}",
    }
    return known if number is None else {"id": ident(number), **known}


@pytest.fixture
def story() -> Story:
    return Story()


def only(verdict: Verdict, fault: Fault, times: int = 1) -> None:
    found = {kind: count for kind, count in verdict.counts.items() if count}
    assert found == {fault: times}, str(verdict)
    assert len(verdict.evidence[fault]) == times


def clean(verdict: Verdict, *, decided: bool = True) -> None:
    assert verdict.clean, str(verdict)
    assert bool(verdict.open_ends) is not decided, str(verdict)


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


@pytest.mark.parametrize("line", [b"{", b'{"process":"p"}', b"[]"])
def test_a_line_that_is_no_event(line: bytes) -> None:
    with pytest.raises(ValueError, match="line 1"):
        check([line])


def test_an_end_without_a_beginning(story: Story) -> None:
    story.event("p", "ok", "send", 7, **message(1, "m1"))
    with pytest.raises(ValueError, match="did not begin"):
        story.judge()


def test_command_line(story: Story, tmp_path: Path) -> None:
    story.sent(1, "m1")
    story.history()
    path = tmp_path / "run.jsonl"
    path.write_bytes(b"\n".join(story.lines))
    done = subprocess.run(
        [sys.executable, "-m", "tests.fault.kit.checker", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "accepted and lost: 1" in done.stdout


def test_recordings_of_several_processes_are_one_run(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    with Recorder(first) as sender, Recorder(second) as reader:
        call = sender.invoke("s", "send", **message(None, "m1"))
        call.ok(id=ident(1), duplicate=False)
        read = reader.invoke("r", "history", user="b", channel="a,b")
        read.ok(messages=[message(1, "m1")])
    clean(check_files(second, first))


def test_a_call_ends_once(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run.jsonl") as recorder:
        call = recorder.invoke("s", "send", **message(None, "m1"))
        call.unknown()
        with pytest.raises(RuntimeError, match="twice"):
            call.ok()
