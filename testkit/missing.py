"""What a test needs and the machine does not have: a skip, but in CI a failure."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def skip_outside_ci(reason: str) -> NoReturn:
    """Skip the test; with ``CI=true`` fail it, for what ``.ci/run`` brings or insists on."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have it: {reason}")
    pytest.skip(reason)
