"""The settings of sockets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketOptions:
    """The limits and times of every socket of a process.

    Args:
        heartbeat_seconds: between two pings of a socket.
        stall_seconds: after which a socket whose peer reads nothing is aborted.
        buffer_limit: the maximum of unsent bytes up to which messages are written to a socket.
        max_frame: the maximum size of a message from a client, in bytes.
        max_content: the maximum length of a message's text, which ``hello`` tells.
        max_connections: the maximum number of sockets.
        max_connections_per_user: the maximum number of sockets of one user.
        unacked_max: the maximum number of commands of a socket that wait for their answer.
        server_name: the ``server`` of ``hello``.
    """

    heartbeat_seconds: float
    stall_seconds: float
    buffer_limit: int
    max_frame: int
    max_content: int
    max_connections: int
    max_connections_per_user: int
    unacked_max: int
    server_name: str
