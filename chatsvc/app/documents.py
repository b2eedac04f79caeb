"""The documents of the interface as files: what ``/openapi.json`` and ``/asyncapi.json`` serve.

They depend on the settings alone: nothing is opened, and nothing of this machine is in them.
"""

from __future__ import annotations

import json
from typing import Any

from chatsvc import __version__
from chatsvc.app.features import declared_features
from chatsvc.server.observability import health
from chatsvc.server.schema import documents as served
from chatsvc.server.websocket.connection_commands import connection_commands
from chatsvc.settings.table import Settings, load


def published_settings() -> Settings:
    """Return the settings of the published documents: the defaults."""
    return load({})


def documents(settings: Settings) -> dict[str, bytes]:
    """Return the documents by the names of their files, the development login included.

    Their values are those that a service with these settings serves. Members are sorted by
    name, so that a change of the interface is a small change of the file.
    """
    absent: Any = None  # what is declared here is not called
    features = declared_features(settings.limits)
    made = served.documents(
        features=features,
        operations=(
            *(operation for feature in features for operation in feature.operations),
            *health.operations(absent, __version__),
        ),
        commands=(
            *(command for feature in features for command in feature.commands),
            *connection_commands(absent),
        ),
        version=__version__,
    )
    return {name: _pretty(document) for name, document in made.items()}


def _pretty(document: bytes) -> bytes:
    text = json.dumps(json.loads(document), ensure_ascii=False, indent=2, sort_keys=True)
    return f"{text}\n".encode()
