"""Lines of pipes, files and memory, and a wait that can be ended."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from demo_cli.line_reader import LineReader


@pytest.fixture
def pipe() -> Iterator[tuple[TextIO, TextIO]]:
    reading, writing = os.pipe()
    with os.fdopen(reading, encoding="utf-8") as source, os.fdopen(writing, "w") as sink:
        yield source, sink


async def test_lines_of_a_pipe_as_they_come(pipe: tuple[TextIO, TextIO]) -> None:
    source, sink = pipe
    reader = LineReader(source)
    asking = asyncio.create_task(reader.readline())
    await asyncio.sleep(0)
    assert not asking.done()
    sink.write("caf\u00e9\r\nsecond\nlast")
    sink.close()
    assert await asking == "caf\u00e9"
    assert [await reader.readline() for _ in range(3)] == ["second", "last", None]
    assert await reader.readline() is None


async def test_a_wait_can_be_ended(pipe: tuple[TextIO, TextIO]) -> None:
    """Ctrl-C cancels it; nothing may go on waiting, or the program would not end."""
    asking = asyncio.create_task(LineReader(pipe[0]).readline())
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not asyncio.get_running_loop().remove_reader(pipe[0].fileno())


async def test_a_file_and_text_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("one\ntwo\n")
    with path.open(encoding="utf-8") as source:
        reader = LineReader(source)
        assert [await reader.readline() for _ in range(3)] == ["one", "two", None]
    assert await LineReader(io.StringIO("one\ntwo")).read() == "one\ntwo"
    assert await LineReader(io.StringIO("")).readline() is None


async def test_what_is_not_text_is_an_error_of_its_line_alone(
    pipe: tuple[TextIO, TextIO],
) -> None:
    source, sink = pipe
    sink.buffer.write(b"caf\xe9\nfine\n")
    sink.close()
    reader = LineReader(source)
    with pytest.raises(UnicodeDecodeError):
        await reader.readline()
    assert await reader.readline() == "fine"
