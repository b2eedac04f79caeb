"""Links between the documents lead somewhere, and so do references from the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for folder in (".", "docs", "docs/decisions", "conformance", "testkit", "bench")
    for path in (ROOT / folder).glob("*.md")
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_DECISION = re.compile(r"docs/decisions/(\d{4})")


def anchors(document: Path) -> set[str]:
    """The names of its headings, as a page of the repository has them."""
    names: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", document.read_text())):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 0
        while (one := f"{name}-{number}" if number else name) in names:
            number += 1
        names.add(one)
    return names


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    broken: list[str] = []
    for link in _LINK.findall(_FENCE.sub("", document.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (
            anchor and target.suffix == ".md" and anchor not in anchors(target)
        ):
            broken.append(link)
    assert broken == []


def test_there_are_links() -> None:
    assert sum(len(_LINK.findall(one.read_text())) for one in DOCUMENTS) > 50


def test_decisions_that_code_refers_to_exist() -> None:
    known = {path.name[:4] for path in (ROOT / "docs/decisions").glob("*.md")}
    named = {
        number
        for folder in ("chatsvc", "testkit", "tests", "conformance", "demo_cli", "bench", "scripts")
        for path in (ROOT / folder).rglob("*.py")
        for number in _DECISION.findall(path.read_text())
    }
    assert named <= known
    assert named
