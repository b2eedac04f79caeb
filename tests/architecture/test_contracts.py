"""``contracts/`` holds what the code serves."""

from __future__ import annotations

from pathlib import Path

from chatsvc.app.documents import documents, published_settings

ROOT = Path(__file__).resolve().parents[2]


def test_the_documents_are_those_of_the_code() -> None:
    changed = [
        name
        for name, document in documents(published_settings()).items()
        if (ROOT / "contracts" / name).read_bytes() != document
    ]
    assert changed == [], "run: .venv/bin/chatsvc schema contracts"
