"""A response whose bytes are ready is written once, and says what becomes of its connection."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from chatsvc.server.http.responses import ReadyResponse


@pytest.mark.parametrize("kept", [True, False])
def test_it_begins_once_and_keeps_the_connection_as_the_request_does(kept: bool) -> None:
    request: Any = SimpleNamespace(keep_alive=kept)
    response = ReadyResponse(200, b"{}")
    assert (response.prepared, response.keep_alive) == (False, None)
    assert response.begin(request) is kept
    assert (response.prepared, response.keep_alive) == (True, kept)
    assert response.begin(request) is None


def test_one_that_closes_is_not_kept_whatever_the_request_says() -> None:
    request: Any = SimpleNamespace(keep_alive=True)
    response = ReadyResponse(200, b"{}")
    response.force_close()
    assert response.begin(request) is False
    assert response.keep_alive is False
