"""The close codes that checks require, by their names in ``contracts/``."""

from __future__ import annotations

from typing import Final

from chatsvc_conformance.contracts import close_code

PROTOCOL_ERROR: Final = close_code("protocol_error")
UNSUPPORTED_DATA: Final = close_code("unsupported_data")
INVALID_PAYLOAD: Final = close_code("invalid_payload")
TOO_BIG: Final = close_code("too_big")
TOKEN_INVALID: Final = close_code("token_invalid")
TOKEN_EXPIRED: Final = close_code("token_expired")
FORBIDDEN: Final = close_code("forbidden")
HEARTBEAT_MISSED: Final = close_code("heartbeat_missed")
PROTOCOL_VERSION: Final = close_code("protocol_version")
