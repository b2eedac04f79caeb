"""Log, stores and readers against a model that knows what was acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chatsvc.log import local, standing
from tests.fault.kit.model import run


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_befalls_clocks_and_disks(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def set_clock(clock: Callable[[], int]) -> None:
        monkeypatch.setattr(local, "now_ms", clock)
        monkeypatch.setattr(standing, "now_ms", clock)

    monkeypatch.setattr(local, "_HOUSEKEEPING_SECONDS", 3600.0)
    assert await run(tmp_path, seed, 40, set_clock) > 5
