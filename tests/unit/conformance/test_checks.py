"""Each check holds a sentence that ``docs/protocol.md`` does say, where it says it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chatsvc_conformance.check import Check
from chatsvc_conformance.checks import ALL

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "protocol.md").read_text("utf-8")


def section(title: str) -> str:
    """From a heading to the next of its level or above."""
    match = re.search(rf"^(#+) {re.escape(title)}\n", TEXT, re.M)
    assert match, f"docs/protocol.md has no section {title!r}"
    rest = TEXT[match.end() :]
    end = re.search(rf"^#{{1,{len(match[1])}}} ", rest, re.M)
    return rest[: end.start()] if end else rest


@pytest.mark.parametrize("check", ALL, ids=[check.name for check in ALL])
def test_the_protocol_says_so(check: Check) -> None:
    assert check.sentence in section(check.section)


def test_names_are_groups_and_what_they_hold_each_once() -> None:
    names = [check.name for check in ALL]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z-]+\.[a-z0-9-]+", name) for name in names)
