"""The feature: the records that a resume replays, over HTTP."""

from __future__ import annotations

from chatsvc.api.feature import Feature
from chatsvc.core.limits import Limits
from chatsvc.features.changes import api
from chatsvc.features.changes.ports import ChangeHistory
from chatsvc.features.changes.service import ChangeReader


def feature(*, history: ChangeHistory, limits: Limits) -> Feature:
    """Return the feature."""
    return Feature(name="changes", operations=api.operations(ChangeReader(history), limits))
