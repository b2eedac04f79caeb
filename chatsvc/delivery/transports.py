"""What asyncio's transports do not tell or do by themselves: the kernel's share."""

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
    """Bytes that the peer has not taken, those in the kernel's send buffer included: it
    takes more from us only once a good part of that is gone, which a slow reader needs long
    for (tcp(7), SIOCOUTQ)."""
    size = transport.get_write_buffer_size()
    taken: socket.socket | None = transport.get_extra_info("socket")
    descriptor = -1 if taken is None else taken.fileno()
    if descriptor < 0:
        return size
    try:
        said = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
    except OSError:
        return size  # gone, or a system that does not tell
    return size + int.from_bytes(said, sys.byteorder)


def reset(transport: asyncio.Transport) -> None:
    """End a connection at once, with what the kernel holds for it. Closed as usual, the
    kernel would go on offering its send buffer for minutes to a peer that does not read
    (socket(7), SO_LINGER)."""
    taken: socket.socket | None = transport.get_extra_info("socket")
    if taken is not None:
        try:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        except OSError as exc:
            _logger.debug("connection_gone_already", error=exc.strerror)
    transport.abort()
