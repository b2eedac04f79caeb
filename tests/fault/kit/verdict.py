"""What the checker can find, and how it says so."""

from __future__ import annotations

import enum
from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_EVIDENCE = 20
"""Lines of evidence kept of each fault."""


class Fault(enum.StrEnum):
    """What can be wrong."""

    LOST = "accepted and lost"
    DOUBLED = "doubled"
    OUT_OF_ORDER = "out of order"
    NEVER_SENT = "delivered but never sent"
    ALTERED = "altered on the way"
    WRONG_PERSON = "delivered to the wrong person"
    TO_SENDER = "delivered to its sender"
    SILENT_GAP = "a gap that was not announced"
    STALE_READ = "read later than acknowledged"


class Evidence(NamedTuple):
    """One finding: what, and the line it was seen on where there is one (0: none)."""

    text: str
    line: int


@dataclass
class Verdict:
    """What was counted and what was found."""

    totals: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    counts: dict[Fault, int] = field(default_factory=lambda: dict.fromkeys(Fault, 0))
    evidence: dict[Fault, list[Evidence]] = field(
        default_factory=lambda: {fault: [] for fault in Fault}
    )
    open_ends: list[str] = field(default_factory=list)
    """What the lines do not let one decide: a conversation whose history nobody read at
    the end, a listener that did not settle, a gap that nobody fetched."""

    @property
    def clean(self) -> bool:
        """No fault was found."""
        return not any(self.counts.values())

    def add(self, fault: Fault, text: str, line: int = 0) -> None:
        """Count a finding."""
        self.counts[fault] += 1
        if len(self.evidence[fault]) < MAX_EVIDENCE:
            self.evidence[fault].append(Evidence(text, line))

    def __str__(self) -> str:
        lines = [f"{name:>28}: {count}" for name, count in self.totals.items()]
        for fault, count in self.counts.items():
            lines.append(f"{fault.value:>28}: {count}")
            for text, number in self.evidence[fault]:
                lines.append(" " * 30 + (f"line {number}: " if number else "") + text)
        lines.extend(f"{'not decided':>28}: {text}" for text in self.open_ends)
        return "\n".join(lines)
