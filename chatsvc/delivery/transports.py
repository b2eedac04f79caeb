"""The kernel's send buffer of a connection, which asyncio's transports do not cover."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from typing import Final

import structlog

_AT_ONCE: Final = struct.pack("ii", 1, 0)
_logger = structlog.get_logger("chatsvc.delivery")


def unsent(transport: asyncio.Transport) -> int:
    """Return the number of bytes that the peer has not received.

    This includes the kernel's send buffer (tcp(7), SIOCOUTQ). The kernel accepts more from a
    transport only when a large part of its buffer is free, which takes long with a slow peer.
    """
    size = transport.get_write_buffer_size()
    taken: socket.socket | None = transport.get_extra_info("socket")
    descriptor = -1 if taken is None else taken.fileno()
    if descriptor < 0:
        return size
    try:
        result = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
    except OSError:
        return size  # closed, or not supported by the system
    return size + int.from_bytes(result, sys.byteorder)


def reset(transport: asyncio.Transport) -> None:
    """Abort a connection and discard the kernel's send buffer (socket(7), SO_LINGER).

    With a normal close the kernel would offer its send buffer for minutes to a peer that does
    not read.
    """
    taken: socket.socket | None = transport.get_extra_info("socket")
    if taken is not None:
        try:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        except OSError as exc:
            _logger.debug("connection_gone_already", error=exc.strerror)
    transport.abort()
