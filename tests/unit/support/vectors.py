"""The vectors of ``contracts/vectors``, as the tests of several packages read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[3] / "contracts" / "vectors"


def cases(name: str) -> list[dict[str, Any]]:
    """The cases of a file, such as ``cursors.json``."""
    loaded: list[dict[str, Any]] = json.loads((FOLDER / name).read_bytes())["cases"]
    return loaded
