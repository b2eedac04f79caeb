"""The feature: the list of a user's conversations."""

from __future__ import annotations

from chatsvc.api.feature import Feature
from chatsvc.core.limits import Limits
from chatsvc.features.conversations import api
from chatsvc.features.conversations.ports import ConversationHistory


def feature(*, history: ConversationHistory, limits: Limits) -> Feature:
    """Return the feature."""
    return Feature(name="conversations", operations=api.operations(history, limits))
