"""The error codes that the messages alone raise."""

from __future__ import annotations

from typing import Final

from chatsvc.wire.error_codes import Action, ErrorCode

ERROR_CODES: Final = (
    ErrorCode("muted", 403, Action.NOTHING, "The caller must not write in this group for now."),
    ErrorCode("sender_not_participant", 403, Action.FIX, "`participants` must include the sender."),
    ErrorCode(
        "client_id_mismatch", 422, Action.FIX, "`client_id` and `Idempotency-Key` must be equal."
    ),
    ErrorCode(
        "one_bound", 422, Action.FIX, "Only one of `before`, `after` and `around` may be given."
    ),
    ErrorCode(
        "one_conversation",
        422,
        Action.FIX,
        "Only one of `participants` and `channel` may be given.",
    ),
)
