"""What the harness reads, counts and reckons."""

from __future__ import annotations

import asyncio
import json
import os

import pytest

from bench import http_load
from bench.contenders import people, sample
from bench.peers.bare import frame
from bench.processes import Failed, cpu_of_stat, on, pss_of_rollup
from bench.report import Figure, Figures, micros_per, short, tables
from bench.sockets import FrameCounter, frame_size, text_frame
from testkit.blocks import Tasks, percentile

TICKS = os.sysconf("SC_CLK_TCK")


def test_cpu_is_user_and_system_time_whatever_the_program_is_called() -> None:
    stat = f"1 (a (b) c) S {' '.join(['9'] * 10)} {3 * TICKS} {TICKS} 7 7 20 0"
    assert cpu_of_stat(stat) == 4.0


def test_memory_is_the_proportional_share() -> None:
    assert pss_of_rollup("Rss:     900 kB\nPss:     512 kB\nPss_Dirty: 1 kB\n") == 512 * 1024
    with pytest.raises(Failed):
        pss_of_rollup("Rss: 1 kB\n")


def test_micros_are_of_one_unit() -> None:
    assert micros_per(3.0, 1_000_000) == 3.0


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 3.0), (0.99, 4.0), (1, 4.0)])
def test_a_percentile_is_one_of_the_values(share: float, value: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == value
    assert percentile([], share) == 0.0


async def fail(exc: Exception) -> None:
    raise exc


@pytest.mark.parametrize("lost", [ConnectionResetError(), EOFError(), TimeoutError()])
async def test_tasks_end_with_their_block(lost: Exception) -> None:
    async with Tasks() as tasks:
        tasks.start(asyncio.sleep(3600))
        tasks.start(fail(lost))
        await asyncio.sleep(0)
    assert all(task.done() for task in tasks._tasks)


async def test_what_ended_a_task_is_raised_at_the_end_of_its_block() -> None:
    with pytest.raises(ZeroDivisionError):
        async with Tasks() as tasks:
            tasks.start(fail(ZeroDivisionError()))
            await asyncio.sleep(0)
    with pytest.raises(KeyError):
        async with Tasks() as tasks:
            tasks.start(fail(ZeroDivisionError()))
            await asyncio.sleep(0)
            raise KeyError


@pytest.mark.parametrize(("value", "text"), [(0.123, "0.12"), (12.34, "12.3"), (12_345, "12,345")])
def test_figures_show_what_counts(value: float, text: str) -> None:
    assert short(value) == text


def test_the_median_is_shown_with_minimum_and_maximum() -> None:
    assert Figure("s", "c", "w", "µs", (3.0, 1.0, 2.0)).shown() == "2.00 (1.00–3.00)"
    assert Figure("s", "c", "w", "µs", (1.0,)).shown() == "1.00"


def test_a_table_has_a_row_for_each_contender_and_a_column_for_each_figure() -> None:
    figures = Figures()
    figures.add("Fan-out", "chatsvc", "1 at once", "µs", 1.0)
    figures.add("Fan-out", "chatsvc", "1 at once", "µs", 3.0)
    figures.add("Fan-out", "peer", "8 at once", "µs", 4.0)
    assert tables(figures.all()).splitlines() == [
        "**Fan-out**",
        "",
        "|  | 1 at once, µs | 8 at once, µs |",
        "| --- | ---: | ---: |",
        "| chatsvc | 2.00 (1.00–3.00) |  |",
        "| peer |  | 4.00 |",
    ]


@pytest.mark.parametrize("size", [1, 125, 126, 65_535, 65_536])
def test_the_size_of_a_frame_is_read_from_its_head(size: int) -> None:
    whole = frame(b"x" * size)
    assert frame_size(whole) == len(whole) == len(text_frame(b"x" * size)) - 4
    assert frame_size(whole[:1]) == 0


def test_frames_are_counted_however_they_are_cut() -> None:
    message, ping = frame(b"m" * 300), b"\x89\x00"
    stream = message * 3 + ping + frame(b"another") + message
    for step in (1, 7, 100, 304, len(stream)):
        counter = FrameCounter(len(message))
        for at in range(0, len(stream), step):
            counter.feed(stream[at : at + step])
        assert counter.count == 4


def test_the_first_text_frame_says_the_size_where_none_is_given() -> None:
    counter = FrameCounter()
    assert counter.feed(b"\x89\x00" + frame(b"ack") * 2) == 2


def test_the_peers_carry_what_the_service_makes() -> None:
    message = json.loads(sample(people(2)))
    assert message["participants"] == ["sender", "u00000", "u00001"]
    assert message["channel"] == "sender,u00000,u00001"
    assert message["content"]


def test_processes_begun_on_a_core_stay_there_and_we_do_not() -> None:
    usual = os.sched_getaffinity(0)
    with on({min(usual)}):
        assert os.sched_getaffinity(0) == {min(usual)}
    assert os.sched_getaffinity(0) == usual


def test_a_request_is_whole() -> None:
    head, _, body = http_load.request("POST", "/x", {"A": "b"}, b"{}").partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /x HTTP/1.1"
    assert b"Content-Length: 2" in lines
    assert b"A: b" in lines
    assert body == b"{}"
