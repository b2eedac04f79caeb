"""Judges the report of Autobahn's suite.

    python -m tests.autobahn.report build/autobahn/index.json

prints each case that did not behave, and how many there were; exits 1 if any. ``OK``,
``NON-STRICT`` (right, if not as early as could be) and ``INFORMATIONAL`` are passes, for
what was received and for how the connection was closed alike.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PASSES = frozenset({"OK", "NON-STRICT", "INFORMATIONAL"})


def failures(index: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """Each case that did not pass: ``agent 6.4.1: behavior FAILED, close OK``."""
    found: list[str] = []
    for agent, cases in index.items():
        for case, result in cases.items():
            behavior, close = result["behavior"], result["behaviorClose"]
            if behavior not in PASSES or close not in PASSES:
                found.append(f"{agent} {case}: behavior {behavior}, close {close}")
    return found


def main(path: str) -> int:
    index = json.loads(Path(path).read_text("utf-8"))
    results = Counter(result["behavior"] for cases in index.values() for result in cases.values())
    if not results:
        print("the report holds no case", file=sys.stderr)
        return 1
    failed = failures(index)
    for line in failed:
        print(line)
    counted = ", ".join(f"{count} {name}" for name, count in sorted(results.items()))
    print(f"{results.total()} cases: {counted}; {len(failed)} not as they should be")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
