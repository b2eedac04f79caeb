"""Declarations of socket commands, which features make and ``server/websocket`` runs.

A command is to a socket what an :class:`~chatsvc.api.operation.Operation` is to HTTP: frame
decoder, dispatch and AsyncAPI document are built from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from chatsvc.api.access import USER, Access, Caller


class Connection(Caller, Protocol):
    """The connection that a command came over, and its caller."""

    @property
    def connection_id(self) -> str:
        """The connection's name, unique in this process."""

    @property
    def origin(self) -> str:
        """What is recorded with what this connection sends: ``device/id``, or the id."""


class CommandReply(msgspec.Struct, frozen=True, gc=False):
    """The answer to a command.

    Args:
        frame: sent to the client; ``None``: nothing is.
        record_id: the record that the command appended, whose receipt is sent when it is
            stored if the socket asked for receipts; 0 for none.
        units: charged to the socket's rate, in the units of ``server/websocket/budget.py``,
            for an answer that cost no commit and could be asked for without end.
    """

    frame: msgspec.Struct | None
    record_id: int = 0
    units: int = 0


Handled = CommandReply | asyncio.Future[Any]
"""What a handler returns: the answer, or a future of what ``Command.reply`` makes one of."""


def _unchanged(result: Any, ref: str | None) -> CommandReply:
    assert isinstance(result, CommandReply)
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of the socket.

    ``request`` is a tagged struct with a field ``ref: str | None``, whose tag is the frame's
    ``type``; unknown fields are refused. Its docstring's first line is the summary. ``answers``
    are the frames that answer it beside ``error``; each repeats ``ref``.

    ``handler`` is called with (connection, request) and never waits. It returns the answer,
    or a future: then ``reply`` makes the answer of the result and the request's ``ref``, and
    the socket takes further frames up to its bound of unanswered ones. A plain future has its
    place in the log already; a Task has not, so the frames behind it wait until it is done,
    except those of commands with ``overtakes``: their place among others means nothing, and
    their handler returns the answer, never a future. What the handler or the future raises, and
    an answer that cannot be encoded, becomes an ``error`` frame.

    ``units`` is charged to the socket's rate before the handler runs; 0 where something else
    bounds it, as the log does for what is appended. ``bounds``, ``request_schema`` and
    ``example`` are those of an operation.
    """

    request: type[msgspec.Struct]
    answers: tuple[type[msgspec.Struct], ...]
    handler: Callable[[Any, Any], Handled]
    reply: Callable[[Any, str | None], CommandReply] = _unchanged
    access: Access = USER
    units: int = 0
    overtakes: bool = False
    bounds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    request_schema: Mapping[str, Any] = field(default_factory=dict)
    example: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The ``type`` of its frame."""
        return str(self.request.__struct_config__.tag)
