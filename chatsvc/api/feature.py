"""What a feature offers, in one declaration."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from chatsvc.api.command import Command
from chatsvc.api.metric import Metric
from chatsvc.api.operation import Operation
from chatsvc.wire.error_codes import ErrorCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A feature, as ``app/features.py`` registers it.

    Args:
        name: of its folder.
        operations: its HTTP operations.
        commands: its socket commands.
        frames: what it sends to sockets beside the answers of its commands.
        error_codes: the codes that it alone raises.
        metrics: what operators see of it.
    """

    name: str
    operations: tuple[Operation, ...] = ()
    commands: tuple[Command, ...] = ()
    frames: tuple[type[msgspec.Struct], ...] = ()
    error_codes: tuple[ErrorCode, ...] = ()
    metrics: tuple[Metric, ...] = ()
