"""The request and the response of ``/api/connections``, as structs."""

from __future__ import annotations

import msgspec


class ConnectionsRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The users to look up."""

    users: list[str]


class Connections(msgspec.Struct, kw_only=True):
    """The number of open sockets of each user; 0 for a user without one."""

    connections: dict[str, int]
