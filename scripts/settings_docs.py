"""Write the table of settings where people read it: docs/operations.md and .env.example.

    python scripts/settings_docs.py

Run it after a change of chatsvc/settings/table.py; a test tells when it was forgotten.
"""

from __future__ import annotations

import textwrap
from itertools import groupby
from pathlib import Path

from chatsvc.settings.table import TABLE

ROOT = Path(__file__).resolve().parent.parent
BEGIN = "<!-- settings: begin (scripts/settings_docs.py) -->"
END = "<!-- settings: end -->"

ENV_HEAD = """\
# Every setting of chatsvc, at its default. `make run` and Docker Compose read a copy named
# .env, any command with --env-file .env, systemd with EnvironmentFile=. The environment is
# before it. What the settings mean in full: docs/operations.md.
"""


def tables() -> str:
    """One table a group, in the order of the program's own table."""
    parts: list[str] = []
    for group, rows in groupby(TABLE, key=lambda row: row.group):
        parts.append(f"### {group}\n\n| variable | default | unit | meaning |\n|---|---|---|---|")
        for row in rows:
            default = f"`{row.default}`" if row.default else "–"
            parts.append(f"| `{row.name}` | {default} | {row.unit} | {row.meaning} |")
        parts.append("")
    return "\n".join(parts)


def env_example() -> str:
    """Each variable commented out, under its meaning."""
    parts = [ENV_HEAD]
    for group, rows in groupby(TABLE, key=lambda row: row.group):
        parts.append(f"# --- {group}\n")
        for row in rows:
            parts.append(textwrap.fill(f"{row.meaning} ({row.unit})", 92, initial_indent="# ",
                                       subsequent_indent="# "))  # fmt: skip
            parts.append(f"#{row.name}={row.default}\n")
    return "\n".join(parts)


def main() -> None:
    """Rewrite both files."""
    guide = ROOT / "docs" / "operations.md"
    text = guide.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    guide.write_text(f"{head}{BEGIN}\n\n{tables()}\n{END}{tail}")
    (ROOT / ".env.example").write_text(env_example())


if __name__ == "__main__":
    main()
