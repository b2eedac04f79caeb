"""Which stores of an older version are upgraded when they are opened."""

from __future__ import annotations

from typing import Final

from chatsvc.core.errors import ConfigurationError

UPGRADED_AT_OPEN: Final = 20_000
"""A store of up to so many messages is upgraded when it is opened: in about a second."""


def must_be_migrated(found: int, current: int) -> ConfigurationError:
    """Return the error of an older store that is larger."""
    return ConfigurationError(
        f"the store has version {found} and more than {UPGRADED_AT_OPEN} messages: it must be "
        f"upgraded to version {current}, with `chatsvc migrate`, before it is used"
    )
