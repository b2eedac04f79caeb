"""The documents of the interface, by their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chatsvc.api.command import Command
from chatsvc.api.feature import Feature, error_codes
from chatsvc.api.operation import Operation
from chatsvc.server.schema import asyncapi, openapi

OPENAPI: Final = "openapi.json"
ASYNCAPI: Final = "asyncapi.json"


def documents(
    *,
    features: Sequence[Feature],
    operations: Sequence[Operation],
    commands: Sequence[Command],
    version: str,
) -> dict[str, bytes]:
    """Return the documents as JSON.

    Args:
        features: those that are served; their error codes and frames are documented.
        operations: of the features and of the service itself.
        commands: the same of sockets.
        version: of the program.
    """
    codes = error_codes(features)
    frames = [frame for feature in features for frame in feature.frames]
    return {
        OPENAPI: openapi.document(operations, codes, version),
        ASYNCAPI: asyncapi.document(commands, frames, codes, version),
    }
