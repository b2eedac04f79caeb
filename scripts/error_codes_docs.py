"""Write the list of error codes where people read it: docs/protocol.md.

    python -m scripts.error_codes_docs

Run it after a change of chatsvc/wire/error_codes.py or of a feature's codes; a test tells when
it was forgotten.
"""

from __future__ import annotations

from pathlib import Path

from chatsvc.api.feature import error_codes
from chatsvc.app.features import declared_features
from chatsvc.core.limits import Limits

PAGE = Path(__file__).resolve().parent.parent / "docs" / "protocol.md"
BEGIN = "<!-- error codes: begin (scripts/error_codes_docs.py) -->"
END = "<!-- error codes: end -->"


def table() -> str:
    """One row a code."""
    codes = error_codes(declared_features(Limits()))
    rows = [f"| `{r.code}` | {r.status} | {r.meaning} | {r.action.value} |" for r in codes]
    return "\n".join(["| code | status | meaning | what to do |", "|---|---|---|---|", *rows])


def main() -> None:
    """Rewrite the page."""
    head, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n\n{table()}\n\n{END}{tail}", "utf-8")


if __name__ == "__main__":
    main()
