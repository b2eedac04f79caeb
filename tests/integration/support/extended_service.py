"""A whole service in this process with one more feature than it has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from chatsvc.api.feature import Feature
from chatsvc.app import components
from chatsvc.app import features as registered
from chatsvc.app.features import FeatureParts
from chatsvc.app.lifecycle import Service
from chatsvc.features.messages.service import AllowAll
from chatsvc.log.base import MessageLog
from chatsvc.server.observability.metrics import RequestStats
from chatsvc.settings.table import load
from testkit.talking import SECRET

_USUAL: Final = registered.features
_OBSERVE: Final = RequestStats.observe


class ExtendedService:
    """A service in this process, over any number of its lives.

    ``log`` is that of the present one. ``requests`` are method and route of all that were
    answered.
    """

    def __init__(
        self,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        extension: Callable[[FeatureParts], Feature],
        **settings: str,
    ) -> None:
        self._settings = {
            "DATA_DIR": str(folder / "data"),
            "JWT_SECRET": SECRET,
            "LOG_LEVEL": "error",
            "STORE": "sqlite",
            "DRAIN_SECONDS": "0",
            **settings,
        }
        self._port = "0"
        self._service: Service | None = None
        self.log: MessageLog
        self.url = ""
        self.requests: list[tuple[str, str]] = []

        def extended(parts: FeatureParts) -> tuple[Feature, ...]:
            self.log = parts.log
            return (*_USUAL(parts), extension(parts))

        def note(stats: RequestStats, method: str, route: str, status: int, took: float) -> None:
            self.requests.append((method, route))
            _OBSERVE(stats, method, route, status, took)

        monkeypatch.setattr(registered, "features", extended)
        monkeypatch.setattr(components, "features", extended)
        monkeypatch.setattr(RequestStats, "observe", note)

    async def start(self) -> None:
        self._service = Service(load(self._settings | {"PORT": self._port}), AllowAll())
        running = await self._service.start()
        self.url = running.url
        self._port = self.url.rpartition(":")[2]

    async def stop(self) -> None:
        if self._service is not None:
            await self._service.stop()
