"""What a run found, for people and for machines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from chatsvc_conformance.check import Check, Outcome

_WORDS: Final = {"pass": "ok", "fail": "FAIL", "skipped": "skip"}
_HEAD: Final = ("", "check", "section", "what the protocol says")


class Table:
    """A table that grows a row at a time; columns are as wide as these checks need."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self._name = max((len(check.name) for check in checks), default=0)
        self._section = max((len(check.section) for check in checks), default=0)

    def head(self) -> str:
        """The line above the rows."""
        return self._line(*_HEAD)

    def row(self, outcome: Outcome) -> str:
        """One line; one more where there is a reason."""
        line = self._line(
            _WORDS[outcome.result], outcome.name, outcome.section, plain(outcome.sentence)
        )
        return f"{line}\n      → {outcome.reason}" if outcome.reason else line

    def listed(self, check: Check) -> str:
        """A check that was not run."""
        return self._line("", check.name, check.section, plain(check.sentence)).lstrip()

    def _line(self, result: str, name: str, section: str, sentence: str) -> str:
        return f"{result:<4}  {name:<{self._name}}  {section:<{self._section}}  {sentence}".rstrip()


def summary(outcomes: Sequence[Outcome]) -> str:
    """``61 passed, 1 failed, 2 skipped``."""
    count = Counter(outcome.result for outcome in outcomes)
    return f"{count['pass']} passed, {count['fail']} failed, {count['skipped']} skipped"


def as_json(url: str, outcomes: Sequence[Outcome]) -> str:
    """``{"url", "passed", "failed", "skipped", "checks": […]}``."""
    count = Counter(outcome.result for outcome in outcomes)
    return msgspec.json.encode(
        {
            "url": url,
            "passed": count["pass"],
            "failed": count["fail"],
            "skipped": count["skipped"],
            "checks": list(outcomes),
        }
    ).decode()


def plain(markdown: str) -> str:
    """Without the marks that only the page needs; cells of a table row one after the other."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown)
    return text.translate({ord("`"): None, ord("*"): None}).strip(" |").replace(" |", ":")
