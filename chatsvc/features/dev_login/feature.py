"""The feature: tokens for any user, for development."""

from __future__ import annotations

from chatsvc.api.feature import Feature
from chatsvc.core.limits import Limits
from chatsvc.features.dev_login import api
from chatsvc.features.dev_login.service import DevLogin, Mint


def feature(*, mint: Mint, limits: Limits, local_only: bool) -> Feature:
    """Return the feature. ``local_only``: only for requests from this machine."""
    login = DevLogin(mint=mint, limits=limits)
    return Feature(
        name="dev_login", operations=api.operations(login, limits, local_only=local_only)
    )
