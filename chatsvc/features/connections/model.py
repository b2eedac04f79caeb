"""What ``/api/connections`` takes and answers, as structs."""

from __future__ import annotations

import msgspec


class ConnectionsRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Whom to look for."""

    users: list[str]


class Connections(msgspec.Struct, kw_only=True):
    """How many sockets each has open; 0 for whoever has none."""

    connections: dict[str, int]
