"""The error codes that groups alone raise."""

from __future__ import annotations

from typing import Final

from chatsvc.wire.error_codes import Action, ErrorCode

ERROR_CODES: Final = (
    ErrorCode("not_an_admin", 403, Action.NOTHING, "The caller must be an admin of the group."),
    ErrorCode(
        "not_a_moderator",
        403,
        Action.NOTHING,
        "The caller must be an admin or a moderator of the group.",
    ),
    ErrorCode("banned", 403, Action.NOTHING, "The user must not be banned from the group."),
    ErrorCode("cannot_ban_self", 409, Action.NOTHING, "The user must be somebody else."),
    ErrorCode("group_full", 409, Action.NOTHING, "The group must have room for a member more."),
    ErrorCode(
        "last_admin", 409, Action.NOTHING, "The group must have an admin: make another one first."
    ),
    ErrorCode(
        "no_such_link",
        404,
        Action.NOTHING,
        "The code must be that of a link that exists, has not ended and is not used up.",
    ),
    ErrorCode(
        "too_many_links", 409, Action.NOTHING, "A link of the group must be revoked before another."
    ),
    ErrorCode(
        "too_many_invitations", 409, Action.NOTHING, "The user must answer an invitation first."
    ),
    ErrorCode("one_of", 422, Action.FIX, "Exactly one of `id` and `code` must be given."),
    ErrorCode("bad_cursor", 422, Action.FIX, "`after` must be that of the page before."),
    ErrorCode(
        "too_many_groups", 409, Action.NOTHING, "The user must leave a group before joining one."
    ),
)
