"""The feature: the list of a user's conversations."""

from __future__ import annotations

from chatsvc.api.feature import Feature
from chatsvc.core.limits import Limits
from chatsvc.features.conversations import api
from chatsvc.features.conversations.service import ConversationHistory, ConversationService


def feature(*, history: ConversationHistory, limits: Limits) -> Feature:
    """Return the feature."""
    service = ConversationService(history=history)
    return Feature(name="conversations", operations=api.operations(service, limits))
