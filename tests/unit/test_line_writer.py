"""Lines are written in their order; one that cannot be written waits for nobody."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from chatsvc.line_writer import LineWriter, write_within

LIMIT = 30.0
PIPE = 4096
Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe that holds little, its two ends."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE)
    yield reading, writing
    for end in (reading, writing):
        try:
            os.close(end)
        except OSError:
            continue  # the test closed it


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def read_to_end(reading: int) -> bytes:
    data = b""
    while piece := os.read(reading, 65536):
        data += piece
    return data


class Reader(threading.Thread):
    """Reads one end until the other is closed."""

    def __init__(self, reading: int) -> None:
        super().__init__(daemon=True)
        self.reading = reading
        self.data = b""
        self.start()

    def run(self) -> None:
        while piece := os.read(self.reading, 65536):
            self.data += piece

    def all(self) -> bytes:
        self.join(LIMIT)
        assert not self.is_alive()
        return self.data


def test_lines_come_whole_and_in_order_from_several_threads(pipe: Pipe) -> None:
    reading, writing = pipe
    reader = Reader(reading)
    writer = LineWriter(writing)

    def write(name: str) -> None:
        for number in range(2000):
            writer.msg(f"{name} {number}".encode())

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert writer.close(LIMIT)
    os.close(writing)
    lines = reader.all().decode().splitlines()
    for name in "abc":
        own = [line for line in lines if line.startswith(name)]
        assert own == [f"{name} {number}" for number in range(2000)]
    assert writer.lost == 0


def test_a_pipe_that_nobody_reads_holds_nobody_up_and_what_is_dropped_is_counted(
    pipe: Pipe,
) -> None:
    reading, writing = pipe
    reports: list[int] = []
    writer = LineWriter(writing, max_bytes=10_000, on_dropped=reports.append)
    line = b"x" * 99
    for _ in range(1000):
        writer.msg(line)
    # 100 lines are waiting, those in the pipe and in the thread's hands included or not.
    assert 1000 - (10_000 + PIPE) // 100 - 1 <= writer.lost <= 900
    assert not writer._closing.is_set()
    assert reports == []
    lost = writer.lost
    reader = Reader(reading)
    wait_for(lambda: sum(reports) == lost)
    writer.msg(b"after")
    assert writer.close(LIMIT)
    os.close(writing)
    lines = reader.all().splitlines()
    assert lines[-1] == b"after"
    assert len(lines) == 1000 - lost + 1
    assert writer.lost == lost


def test_what_is_dropped_is_reported_once(pipe: Pipe) -> None:
    reading, writing = pipe
    reports: list[int] = []
    writer = LineWriter(writing, max_bytes=1000, on_dropped=reports.append)
    for _ in range(3):
        writer.msg(b"x" * 999)
    reader = Reader(reading)
    wait_for(lambda: reports)
    for _ in range(20):
        writer.msg(b"y")
    assert writer.close(LIMIT)
    os.close(writing)
    assert reports == [2]
    assert reader.all().count(b"y") == 20


def test_closing_is_bounded_where_nobody_reads(pipe: Pipe) -> None:
    reading, writing = pipe
    writer = LineWriter(writing)
    for _ in range(200):
        writer.msg(b"x" * 999)
    assert not writer.close(0.05)
    writer.msg(b"too late")
    assert writer.lost == 1
    reader = Reader(reading)
    assert writer.close(LIMIT)
    os.close(writing)
    assert len(reader.all()) == 200 * 1000


def test_closing_twice_and_with_nothing_written(pipe: Pipe) -> None:
    writer = LineWriter(pipe[1])
    assert writer.close(LIMIT)
    assert writer.close(LIMIT)


def test_a_reader_that_left_costs_its_lines_and_nothing_else(pipe: Pipe) -> None:
    reading, writing = pipe
    reports: list[int] = []
    writer = LineWriter(writing, on_dropped=reports.append)
    os.close(reading)
    writer.msg(b"one\ntwo")
    writer.msg(b"three")
    assert writer.close(LIMIT)
    assert writer.lost == 3, "lines as they would have been read"
    assert reports == [], "there is nobody to report to"


def test_a_descriptor_that_does_not_block_is_waited_for_by_the_thread_alone(pipe: Pipe) -> None:
    reading, writing = pipe
    os.set_blocking(writing, False)
    writer = LineWriter(writing)
    for number in range(100):
        writer.msg(f"{number:099}".encode())
    assert not writer.close(0.05)
    reader = Reader(reading)
    assert writer.close(LIMIT)
    os.close(writing)
    assert [int(line) for line in reader.all().split()] == list(range(100))
    assert writer.lost == 0


def test_last_words_are_written_or_given_up(pipe: Pipe) -> None:
    reading, writing = pipe
    write_within(writing, b"the disk failed\n", LIMIT)
    assert os.read(reading, 100) == b"the disk failed\n"
    os.set_blocking(writing, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writing, b"x" * 512)
    os.set_blocking(writing, True)
    write_within(writing, b"x", 0.05)  # returns
    os.close(reading)
    write_within(writing, b"x", LIMIT)  # fails nobody
