"""Client ids are minted by the server's time, whatever this machine's clock says."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from chatsvc.client import server_clock as module
from chatsvc.client.server_clock import ServerClock, elapsed_ms, wall_ms
from chatsvc.core.ids import uuid7_ms

T0 = 1_700_000_000_000
HOUR = 3_600_000


class Machine:
    """A machine whose wall clock is wrong; both clocks are moved by hand."""

    def __init__(self) -> None:
        self.wall = T0 - HOUR
        self.elapsed = 5000

    def sleep(self, ms: int) -> None:
        self.wall += ms
        self.elapsed += ms


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def clock(machine: Machine) -> ServerClock:
    return ServerClock(wall=lambda: machine.wall, elapsed=lambda: machine.elapsed)


def test_until_the_first_answer_it_is_this_machines(machine: Machine, clock: ServerClock) -> None:
    assert clock.now_ms() == machine.wall
    assert uuid7_ms(clock.mint()) == machine.wall


def test_hello_names_the_time_to_the_millisecond(machine: Machine, clock: ServerClock) -> None:
    clock.observe_time("2023-11-14T22:13:20.123Z")
    assert clock.now_ms() == T0 + 123
    machine.sleep(7)
    assert uuid7_ms(clock.mint()) == T0 + 130
    machine.wall += 400 * HOUR
    assert clock.now_ms() == T0 + 130, "a step of this machine's clock is no time"


@pytest.mark.parametrize("text", ["", "yesterday", "2023-11-14T22:13:20", "12:00", "\ud800"])
def test_a_time_that_cannot_be_read_changes_nothing(
    machine: Machine, clock: ServerClock, text: str
) -> None:
    clock.observe_time(text)
    assert clock.now_ms() == machine.wall


@pytest.mark.parametrize("text", [None, "", "soon", "Tue, 99 Nov 2023 22:13:20 GMT"])
def test_a_date_that_cannot_be_read_changes_nothing(
    machine: Machine, clock: ServerClock, text: str | None
) -> None:
    clock.observe_date(text)
    assert clock.now_ms() == machine.wall


def test_the_date_of_an_answer_has_whole_seconds(clock: ServerClock) -> None:
    clock.observe_date(formatdate(T0 // 1000, usegmt=True))
    assert clock.now_ms() == T0 + 500


@pytest.mark.parametrize("off", [-900, 0, 999, 1900])
def test_a_date_that_agrees_changes_nothing(clock: ServerClock, off: int) -> None:
    clock.observe_time("2023-11-14T22:13:20.123Z")
    clock.observe_date(formatdate((T0 + off) // 1000, usegmt=True))
    assert clock.now_ms() == T0 + 123


def test_a_date_may_differ_by_its_whole_seconds_and_a_second_under_way(clock: ServerClock) -> None:
    clock.observe_time("2023-11-14T22:13:20.000Z")
    clock.observe_date(formatdate(T0 // 1000 + 1, usegmt=True))
    assert clock.now_ms() == T0


@pytest.mark.parametrize("zone", ["GMT", "-0000", "+0000"])
def test_a_date_is_utc_wherever_this_machine_is(
    monkeypatch: pytest.MonkeyPatch, clock: ServerClock, zone: str
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        clock.observe_date(f"Tue, 14 Nov 2023 22:13:20 {zone}")
        assert clock.now_ms() == T0 + 500
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("off", [-HOUR, -3000, 3000, HOUR])
def test_a_date_that_differs_is_the_servers_new_time(clock: ServerClock, off: int) -> None:
    clock.observe_time("2023-11-14T22:13:20.123Z")
    clock.observe_date(formatdate((T0 + off) // 1000, usegmt=True))
    assert clock.now_ms() == T0 + off + 500


def test_the_first_id_is_minted_at_its_time_whatever_that_is() -> None:
    clock = ServerClock(wall=lambda: 0, elapsed=lambda: 0)
    assert uuid7_ms(clock.mint()) == 0


def test_ids_never_go_back(machine: Machine, clock: ServerClock) -> None:
    clock.observe_time("2023-11-14T22:13:20.000Z")
    first = clock.mint()
    clock.observe_time("2023-11-14T21:13:20.000Z")
    later = [clock.mint() for _ in range(3)]
    assert [uuid7_ms(client_id) for client_id in (first, *later)] == [T0, T0 + 1, T0 + 2, T0 + 3]
    machine.sleep(2 * HOUR)
    assert uuid7_ms(clock.mint()) == T0 + HOUR


def test_milliseconds_of_the_machines_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    nanoseconds = 3_000_002_999_999
    monkeypatch.setattr(module.time, "time_ns", lambda: nanoseconds)
    assert wall_ms() == 3_000_002
    assert isinstance(wall_ms(), int)

    def boot_time(clock: int) -> int:
        assert clock == 7
        return nanoseconds

    monkeypatch.setattr(module, "_BOOT_CLOCK", 7)
    monkeypatch.setattr(module.time, "clock_gettime_ns", boot_time)
    assert elapsed_ms() == 3_000_002
    monkeypatch.setattr(module, "_BOOT_CLOCK", None)
    monkeypatch.setattr(module.time, "monotonic_ns", lambda: 2 * nanoseconds)
    assert elapsed_ms() == 6_000_005
    assert isinstance(elapsed_ms(), int)


def test_the_machines_clocks() -> None:
    clock = ServerClock()
    before = wall_ms()
    minted_ms = uuid7_ms(clock.mint())
    assert minted_ms is not None
    assert before <= minted_ms <= wall_ms()
    assert elapsed_ms() <= elapsed_ms()
    assert len({clock.mint() for _ in range(1000)}) == 1000
