"""The documents of the interface as files: what ``/openapi.json`` and ``/asyncapi.json`` serve.

Nothing is opened for them, and nothing of this machine is in them.
"""

from __future__ import annotations

import json
from typing import Any

from chatsvc import __version__
from chatsvc.api.feature import commands_of, operations_of
from chatsvc.app.features import declared_features
from chatsvc.server.observability import health
from chatsvc.server.schema import documents as served
from chatsvc.server.websocket.connection_commands import connection_commands
from chatsvc.settings.table import load


def documents() -> dict[str, bytes]:
    """Return the documents by the names of their files, the development login included.

    Their values are those that a service with the default settings serves. Members are sorted
    by name, so that a change of the interface is a small change of the file.
    """
    absent: Any = None  # what is declared here is not called
    features = declared_features(load({}).limits)
    made = served.documents(
        features=features,
        operations=(*operations_of(features), *health.operations(absent, __version__)),
        commands=(*commands_of(features), *connection_commands(absent)),
        version=__version__,
    )
    return {name: _pretty(document) for name, document in made.items()}


def _pretty(document: bytes) -> bytes:
    text = json.dumps(json.loads(document), ensure_ascii=False, indent=2, sort_keys=True)
    return f"{text}\n".encode()
