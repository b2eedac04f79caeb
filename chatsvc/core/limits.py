"""The bounds of requests; each is a setting (``settings/table.py``)."""

from __future__ import annotations

import msgspec

from chatsvc.core.message import MAX_CONTENT, MAX_METADATA_BYTES, MAX_METADATA_DEPTH
from chatsvc.core.participants import MAX_PARTICIPANTS, MAX_USER_ID


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds. Characters are code points; bytes are of UTF-8."""

    user_id_characters: int = MAX_USER_ID
    participants: int = MAX_PARTICIPANTS
    content_characters: int = MAX_CONTENT
    metadata_bytes: int = MAX_METADATA_BYTES
    metadata_depth: int = MAX_METADATA_DEPTH
    body_bytes: int = 256 * 1024
    page: int = 1000
    connection_lookup: int = 1000
    group_members: int = 1000
    groups_per_user: int = 1000
