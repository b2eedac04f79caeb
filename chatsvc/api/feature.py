"""What a feature offers, in one declaration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args, get_type_hints

import msgspec

from chatsvc.api.command import Command
from chatsvc.api.metric import Metric
from chatsvc.api.operation import Operation
from chatsvc.core.kinds import Kind, Kinds
from chatsvc.core.projection import Projection, Projections
from chatsvc.wire.error_codes import ERROR_CODES, ErrorCode, combine
from chatsvc.wire.protocol import ServerFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A feature, as ``app/features.py`` registers it.

    Args:
        name: of its folder.
        kinds: those of the records that it appends.
        projections: rows that are folded from records, of its kinds and of others.
        operations: its HTTP operations.
        commands: its socket commands.
        frames: what it sends to sockets beside the answers of its commands, the frames of
            its kinds among them.
        error_codes: the codes that it alone raises.
        metrics: what operators see of it.
    """

    name: str
    kinds: tuple[Kind, ...] = ()
    projections: tuple[Projection, ...] = ()
    operations: tuple[Operation, ...] = ()
    commands: tuple[Command, ...] = ()
    frames: tuple[type[msgspec.Struct], ...] = ()
    error_codes: tuple[ErrorCode, ...] = ()
    metrics: tuple[Metric, ...] = ()


def kinds_of(features: Iterable[Feature]) -> Kinds:
    """Return the kinds of the features.

    Raises:
        ValueError: two kinds have one name, one has that of another frame, or one has no frame.
    """
    features = tuple(features)
    others = {frame_type(frame) for frame in get_args(ServerFrame)}
    for feature in features:
        others |= {frame_type(one) for each in feature.commands for one in each.answers}
        others |= {frame_type(one) for one in feature.frames} - {k.name for k in feature.kinds}
    for feature in features:
        frames = {frame_type(frame) for frame in feature.frames}
        for kind in feature.kinds:
            if kind.name in others:
                raise ValueError(f"kind {kind.name!r} must not have the name of another frame")
            if kind.name not in frames:
                raise ValueError(f"kind {kind.name!r} must have a frame in feature {feature.name}")
    return Kinds(kind for feature in features for kind in feature.kinds)


def projections_of(features: Iterable[Feature]) -> Projections:
    """Return the projections of the features.

    Raises:
        ValueError: two have one name, or one folds a kind that no feature has.
    """
    features = tuple(features)
    kinds = {kind.name for feature in features for kind in feature.kinds}
    for feature in features:
        for one in feature.projections:
            for name in one.kinds:
                if name not in kinds:
                    raise ValueError(f"projection {one.name!r} must not fold unknown kind {name!r}")
    return Projections(one for feature in features for one in feature.projections)


def frame_type(frame: type[msgspec.Struct]) -> str:
    """Return the ``type`` of a frame: its tag, or the one value of its field ``type``."""
    tag = frame.__struct_config__.tag
    return str(get_args(get_type_hints(frame)["type"])[0] if tag is None else tag)


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
