"""Handshakes that are refused, and sockets that are closed at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
import websockets
from multidict import CIMultiDict
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from testkit.talking import SOON, ws_url

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


async def refused(url: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], Any]:
    """The answer to a handshake that is not taken."""
    fields = CIMultiDict(
        {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": KEY,
        }
    )
    for name in set(headers):
        fields.pop(name, None)
    fields.extend(headers)
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers=fields) as answer,
    ):
        assert answer.content_type == "application/problem+json"
        return answer.status, dict(answer.headers), await answer.json()


async def closed_with(url: str, *offered: str) -> tuple[int, str]:
    """What a browser sees: an upgrade, and a close with its code."""
    protocols = [Subprotocol(name) for name in offered]
    async with websockets.connect(ws_url(url), subprotocols=protocols, proxy=None) as ws:
        assert ws.subprotocol in offered
        with pytest.raises(ConnectionClosed) as raised:
            await asyncio.wait_for(ws.recv(), SOON)
    assert raised.value.rcvd is not None
    return raised.value.rcvd.code, raised.value.rcvd.reason
