"""``contracts/`` holds what the code serves."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from chatsvc.app.documents import documents

ROOT = Path(__file__).resolve().parents[2]
VECTORS = sorted((ROOT / "contracts" / "vectors").iterdir())


def test_the_documents_are_those_of_the_code() -> None:
    changed = [
        name
        for name, document in documents().items()
        if (ROOT / "contracts" / name).read_bytes() != document
    ]
    assert changed == [], "run: .venv/bin/chatsvc schema contracts"


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.name)
def test_a_file_of_vectors_has_a_description_and_cases(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.isascii(), "characters that cannot be seen are escaped"
    value = json.loads(text)
    assert list(value) == ["description", "cases"]
    assert value["description"].endswith(".")
    assert value["cases"]
    for case in value["cases"]:
        assert set(case) <= set(value["cases"][0]), "the first case has every member"


@pytest.mark.parametrize("document", ["docs/protocol.md", "contracts/README.md"])
def test_every_file_of_vectors_is_named(document: str) -> None:
    named = set(re.findall(r"vectors/(\w+\.json)", (ROOT / document).read_text("utf-8")))
    assert named == {path.name for path in VECTORS}
