"""What every message must be like, whoever it is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatsvc.core.limits import Limits
from chatsvc.core.message import check_client_id, check_content, check_metadata


class MessageRules:
    """Checks the parts of a message against the bounds of requests."""

    def __init__(self, limits: Limits) -> None:
        self._max_content = limits.content_characters
        self._max_bytes = limits.metadata_bytes
        self._max_depth = limits.metadata_depth

    def check(
        self, content: str, client_id: str | None, metadata: Mapping[str, Any] | None
    ) -> None:
        """Check what a message holds.

        Raises:
            Invalid: the first thing that is wrong, with its pointer.
        """
        check_content(content, max_length=self._max_content)
        if client_id is not None:
            check_client_id(client_id)
        if metadata is not None:
            check_metadata(metadata, max_bytes=self._max_bytes, max_depth=self._max_depth)
