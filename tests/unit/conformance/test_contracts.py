"""What the checks take from ``contracts/``."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chatsvc.core.limits import Limits
from chatsvc_conformance import close_codes
from chatsvc_conformance.bounds import Bounds, bounds_in_force
from chatsvc_conformance.context import conversation_of
from chatsvc_conformance.contracts import close_code, contract, required_members
from chatsvc_conformance.http import Answer, Api
from chatsvc_conformance.protocol import is_cursor
from tests.unit.support.vectors import cases


class Documents(Api):
    """A server of which only ``/openapi.json`` is asked."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body

    async def call(self, method: str, path: str, **more: Any) -> Answer:
        assert (method, path) == ("GET", "/openapi.json")
        return Answer("GET /openapi.json", self.status, {}, self.body)


@pytest.mark.parametrize("case", cases("channel_keys.json"), ids=lambda case: case["why"])
def test_channel_keys_are_as_published(case: dict[str, Any]) -> None:
    found = conversation_of(*case["participants"])
    assert (found.participants, found.channel) == (case["normalized"], case["channel"])


@pytest.mark.parametrize("case", cases("cursors.json"), ids=lambda case: ascii(case["cursor"]))
def test_cursors_are_as_published(case: dict[str, Any]) -> None:
    assert is_cursor(case["cursor"]) == (case["value"] is not None)


def test_close_codes_are_taken_by_their_names() -> None:
    assert (close_codes.FORBIDDEN, close_codes.PROTOCOL_VERSION) == (4003, 4200)
    with pytest.raises(LookupError):
        close_code("none")


def test_the_members_of_a_frame_have_types() -> None:
    members = required_members("Hello")
    assert members["features"] is list
    assert members["heartbeat_seconds"] == (int, float)
    assert "recovered" not in members


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b"{}"), (200, b"{"), (200, b"{}"), (200, b'{"paths":{"/api/messages":7}}')],
)
async def test_a_server_without_a_document_has_the_published_bounds(
    status: int, body: bytes
) -> None:
    limits = Limits()
    assert await bounds_in_force(Documents(status, body)) == Bounds(
        participants=limits.participants,
        user_id_characters=limits.user_id_characters,
        content_characters=limits.content_characters,
    )


async def test_the_servers_own_bounds_come_first() -> None:
    document = msgspec.json.decode(msgspec.json.encode(contract("openapi.json")))
    fields = document["components"]["schemas"]["SendRequest"]["properties"]
    fields["participants"]["maxItems"] = 7
    del fields["content"]["maxLength"]
    bounds = await bounds_in_force(Documents(200, msgspec.json.encode(document)))
    assert (bounds.participants, bounds.content_characters) == (7, Limits().content_characters)
