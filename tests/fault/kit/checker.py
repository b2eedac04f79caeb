"""Reads a recorder's lines and says what went wrong. Pure: lines in, verdict out.

    python -m tests.fault.kit.checker FILE [FILE …]

A message is known by its sender and ``client_id``. It is *accepted* once anybody was
told so: an acknowledgement, a delivery, a page of history. From then on everybody must
find it. A send that ended ``unknown`` may have been accepted or not, either is right;
but if anybody saw it, it was.

What it finds is listed in ``verdict.Fault``. Exit status: 0 clean, 1 faults, 2 clean but
with something that no line could prove (see ``Verdict.open_ends``).
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from tests.fault.kit import judging
from tests.fault.kit.intake import Intake
from tests.fault.kit.known import Known
from tests.fault.kit.recorder import Event
from tests.fault.kit.verdict import Fault, Verdict

__all__ = ["Fault", "Verdict", "check", "check_files"]


def check(lines: Iterable[bytes | str]) -> Verdict:
    """Judge a recording.

    Raises:
        ValueError: a line that is not an event, or one that ends a call never begun.
    """
    return _judge(_events(lines))


def check_files(*paths: Path) -> Verdict:
    """Judge several recordings of one run as one, in order of time."""

    def events(path: Path) -> Iterator[tuple[int, Event]]:
        with path.open("rb") as file:
            yield from _events(file)

    if len(paths) == 1:
        return _judge(events(paths[0]))
    merged = heapq.merge(*(events(path) for path in paths), key=lambda pair: pair[1].time)
    return _judge(merged)


def _events(lines: Iterable[bytes | str]) -> Iterator[tuple[int, Event]]:
    decode = msgspec.json.Decoder(Event).decode
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield number, decode(line)
        except msgspec.MsgspecError as exc:
            raise ValueError(f"line {number} is not an event: {exc}") from exc


def _judge(events: Iterable[tuple[int, Event]]) -> Verdict:
    known, verdict = Known(), Verdict()
    intake = Intake(known, verdict)
    for line, event in events:
        intake.take(line, event)
    judging.judge_refused(known, verdict)
    judging.judge_reads(known, verdict)
    judging.judge_histories(known, verdict)
    judging.judge_listeners(known, verdict)
    judging.count(known, verdict)
    return verdict


def main(arguments: list[str]) -> int:
    """Print the verdict on the files; the exit status is in the module's text."""
    if not arguments:
        print("usage: python -m tests.fault.kit.checker FILE [FILE …]", file=sys.stderr)
        return 2
    verdict = check_files(*map(Path, arguments))
    print(verdict)
    if not verdict.clean:
        return 1
    return 2 if verdict.open_ends else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
