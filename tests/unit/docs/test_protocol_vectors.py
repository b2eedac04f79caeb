"""The channel keys that docs/protocol.md shows are those that the program makes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from chatsvc.core.participants import channel_key, normalize_participants

PROTOCOL = Path(__file__).parents[3] / "docs" / "protocol.md"
_ROW = re.compile(r"^\| `(\[.*?\])`[^|]*\| (.+?) \|$", re.M)
_REPEATED = re.compile(r'"(.)" × (\d+)')


def rows() -> list[tuple[list[str], str]]:
    found = []
    for participants, key in _ROW.findall(PROTOCOL.read_text("utf-8")):
        written_out = _REPEATED.sub(lambda m: json.dumps(m[1] * int(m[2])), participants)
        found.append((json.loads(written_out), key.strip("`")))
    return found


@pytest.mark.parametrize(("participants", "expected"), rows())
def test_key_is_as_documented(participants: list[str], expected: str) -> None:
    key = channel_key(normalize_participants(participants))
    if expected.startswith("the ids"):
        assert key == ",".join(participants)
        assert len(key.encode()) == 255
    else:
        assert key == expected


def test_every_kind_of_key_is_documented() -> None:
    keys = [key for _, key in rows()]
    assert len(keys) == 6
    assert any(key.startswith(",sha256:") for key in keys)
    assert "\uff5e,\U0001f600" in keys
