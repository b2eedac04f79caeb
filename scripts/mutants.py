"""``make mutants``: change the code one expression at a time, and see whether a test fails.

Runs mutmut (its settings are in ``pyproject.toml``) and prints, for each package, how many
mutants were killed. Not counted, but listed:

- ``text``: only the wording of a sentence for people is changed (error details, log texts);
  codes, pointers and limits are counted;
- ``log``: only what a line of the log carries is changed;
- ``equivalent``: no test can tell it from the original. Each is named, with the reason, in
  ``tests/equivalent_mutants/``, a file for each package, by its function and the changed lines.

Usage: ``python -m scripts.mutants [--report] [PATTERN …]``; a pattern is one of mutmut's, such
as ``chatsvc.log.tail*``. ``--report`` runs nothing and reports what was found before. Survivors
are written with their differences to ``build/mutants.txt``. Exit status 1 where less than
:data:`WANTED` percent of what counts was killed, or where an entry of the list of equivalent
mutants names none.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from chatsvc.arguments import OneLineParser, positive

WANTED: Final = 97.0
EQUIVALENT: Final = Path("tests/equivalent_mutants")
FOUND: Final = Path("mutants")
SURVIVORS: Final = Path("build/mutants.txt")
PROGRESS: Final = Path("build/mutmut.log")

_SURVIVED: Final = 0
_NO_TESTS: Final = frozenset({5, 33})
_NOT_RUN: Final = None
_LITERAL: Final = re.compile(r"""(?P<quote>"{3}|"|')(?P<text>.*?)(?P=quote)""", re.DOTALL)
_LOG_CALL: Final = re.compile(r"_?log(ger)?\.(debug|info|warning|error|critical|exception)\(")


class Mutant(NamedTuple):
    """A mutant that no test killed. ``change`` is its lines with ``-`` and ``+``."""

    name: str
    change: tuple[str, ...]

    @property
    def function(self) -> str:
        """Its function, without mutmut's decoration: ``chatsvc.log.idempotency.KeyWindow.add``."""
        plain = re.sub(r"__mutmut_\d+\Z", "", self.name)
        module, _, last = plain.rpartition(".")
        if last.startswith("xǁ"):
            return f"{module}.{last.removeprefix('xǁ').replace('ǁ', '.')}"
        return f"{module}.{last.removeprefix('x_')}"


def read_results() -> Iterator[tuple[str, int | None]]:
    """Every mutant with pytest's exit status, ``None`` where it was not run."""
    for path in sorted(FOUND.rglob("*.meta")):
        yield from json.loads(path.read_text())["exit_code_by_key"].items()


def change_of(name: str) -> tuple[str, ...]:
    """The lines that a mutant changes."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    lines = get_diff_for_mutant(name).splitlines()[2:]
    return tuple(line for line in lines if line[:1] in "-+")


def is_text(change: tuple[str, ...]) -> bool:
    """Whether the wording of a sentence is all that differs."""
    before = "\n".join(line[1:] for line in change if line[0] == "-")
    after = "\n".join(line[1:] for line in change if line[0] == "+")
    return before != after and _without_prose(before) == _without_prose(after)


def _without_prose(code: str) -> str:
    return _LITERAL.sub(lambda found: '""' if " " in found["text"].strip() else found[0], code)


def is_log(change: tuple[str, ...]) -> bool:
    """Whether the change is within a call that writes a line of the log."""
    return bool(_LOG_CALL.search("".join(line for line in change if line[0] == "-")))


def known_equivalents() -> list[dict[str, str]]:
    """The lists' entries: ``function``, ``change`` (a part of the changed lines), ``why``."""
    entries: list[dict[str, str]] = []
    for path in sorted(EQUIVALENT.glob("*.toml")):
        entries += tomllib.loads(path.read_text())["mutant"]
    return entries


def kind_of(mutant: Mutant, equivalents: list[dict[str, str]], used: set[int]) -> str:
    """``survived``, or why it does not count."""
    joined = "\n".join(mutant.change)
    for index, entry in enumerate(equivalents):
        if entry["function"] == mutant.function and entry["change"] in joined:
            used.add(index)
            return "equivalent"
    if is_text(mutant.change):
        return "text"
    if is_log(mutant.change):
        return "log"
    return "survived"


def report() -> int:
    """Print the table; the exit status."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    equivalents, used = known_equivalents(), set[int]()
    survivors: list[Mutant] = []
    for name, status in read_results():
        package = ".".join(name.split(".")[1:-2] or name.split(".")[1:-1])
        if status is _NOT_RUN:
            counts[package]["not run"] += 1
        elif status == _SURVIVED or status in _NO_TESTS:
            mutant = Mutant(name, change_of(name))
            kind = kind_of(mutant, equivalents, used)
            counts[package][kind] += 1
            if kind == "survived":
                survivors.append(mutant)
        else:
            counts[package]["killed"] += 1
    SURVIVORS.parent.mkdir(exist_ok=True)
    SURVIVORS.write_text(
        "\n\n".join("\n".join((m.name, m.function, *m.change)) for m in survivors) + "\n"
    )
    return _print(counts, [e for i, e in enumerate(equivalents) if i not in used])


def _print(counts: dict[str, Counter[str]], unused: list[dict[str, str]]) -> int:
    columns = ("killed", "survived", "equivalent", "text", "log", "not run")
    print(f"{'package':24}" + "".join(f"{column:>12}" for column in columns) + f"{'killed, %':>12}")
    total: Counter[str] = Counter()
    for package in sorted(counts):
        total += counts[package]
        _row(package, counts[package], columns)
    _row("all", total, columns)
    print(f"survivors: {SURVIVORS}")
    complete = not total["not run"]
    for entry in unused if complete else ():
        print(f"{EQUIVALENT}: no such mutant: {entry['function']}: {entry['change']}")
    return int(_percent(total) < WANTED or bool(unused and complete))


def _row(name: str, counts: Counter[str], columns: tuple[str, ...]) -> None:
    cells = "".join(f"{counts[column]:12}" for column in columns)
    print(f"{name:24}{cells}{_percent(counts):12.1f}")


def _percent(counts: Counter[str]) -> float:
    counted = counts["killed"] + counts["survived"]
    return 100 * counts["killed"] / counted if counted else 100.0


def main() -> int:
    """The command."""
    parser = OneLineParser(prog="python -m scripts.mutants")
    parser.add_argument("patterns", nargs="*", metavar="PATTERN")
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--processes", type=positive, default=None, help="at once")
    arguments = parser.parse_args()
    if not arguments.report:
        at_once = (
            [] if arguments.processes is None else ["--max-children", str(arguments.processes)]
        )
        PROGRESS.parent.mkdir(exist_ok=True)
        print(f"mutmut's progress: {PROGRESS}", flush=True)
        with PROGRESS.open("wb") as progress:
            command = [sys.executable, "-m", "mutmut", "run", *at_once, *arguments.patterns]
            done = subprocess.run(command, stdout=progress, stderr=progress, check=False)
        if done.returncode:
            print(f"mutmut ended with {done.returncode}; see {PROGRESS}", file=sys.stderr)
            return done.returncode
    return report()


if __name__ == "__main__":
    sys.exit(main())
