"""What the environment of the machine says does not reach these tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHATSVC_URL", "CHATSVC_TOKEN"):
        monkeypatch.delenv(name, raising=False)
