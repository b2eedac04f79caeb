"""The feature: how many connections users have."""

from __future__ import annotations

from chatsvc.api.feature import Feature
from chatsvc.core.limits import Limits
from chatsvc.features.connections import api
from chatsvc.features.connections.service import ConnectionService, Presence


def feature(*, presence: Presence, limits: Limits, require_auth: bool) -> Feature:
    """Return the feature. ``require_auth``: whether the lookup needs a token."""
    service = ConnectionService(presence=presence, limits=limits)
    return Feature(
        name="connections", operations=api.operations(service, limits, require_auth=require_auth)
    )
