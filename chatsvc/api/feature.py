"""What a feature offers, in one declaration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from chatsvc.api.command import Command
from chatsvc.api.metric import Metric
from chatsvc.api.operation import Operation
from chatsvc.wire.error_codes import ERROR_CODES, ErrorCode, combine


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


def operations_of(features: Iterable[Feature]) -> tuple[Operation, ...]:
    """Return the operations of the features."""
    return tuple(operation for feature in features for operation in feature.operations)


def commands_of(features: Iterable[Feature]) -> tuple[Command, ...]:
    """Return the socket commands of the features."""
    return tuple(command for feature in features for command in feature.commands)


def error_codes(features: Iterable[Feature]) -> tuple[ErrorCode, ...]:
    """Return the codes of the service and of the features, by status, then by name.

    Raises:
        ValueError: two rows have the same code.
    """
    return combine(ERROR_CODES, *(feature.error_codes for feature in features))
