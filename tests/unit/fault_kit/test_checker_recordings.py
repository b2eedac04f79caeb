"""The checker reads recordings of one or more processes, and its command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fault.kit.checker import check, check_files
from tests.fault.kit.recorder import Recorder
from tests.unit.support.story import Story, clean, ident, message


@pytest.fixture
def story() -> Story:
    return Story()


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
