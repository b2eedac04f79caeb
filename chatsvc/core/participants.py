"""User ids, sets of participants, and the channel key of a conversation.

A conversation *is* its set of participants. The key is made by anyone who knows the
set: the ids sorted by code point (= by their UTF-8 bytes; not JavaScript's
``sort()``, which compares UTF-16 units), joined by commas.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from chatsvc.core.errors import Invalid

MAX_USER_ID: Final = 128
MAX_PARTICIPANTS: Final = 256
MAX_CHANNEL_BYTES: Final = 255
HASHED_PREFIX: Final = ",sha256:"
"""Begins with a comma, which no user id may contain; so does ``,g:``, reserved for groups."""


def user_id_error(user: str, limit: int = MAX_USER_ID) -> tuple[str, str, int | None] | None:
    """Return what is wrong with a user id as ``(code, detail, limit)``, or ``None``."""
    if user.isascii() and user.isalnum() and len(user) <= limit:
        return None  # the usual case, decided by three calls into C
    if not user:
        return ("too_short", "a user id must have at least 1 character", 1)
    if len(user) > limit:
        return ("too_long", f"a user id must have at most {limit} characters", limit)
    if "," in user:
        detail = "a user id must not contain a comma: the channel key is joined by commas"
        return ("comma", detail, None)
    if user[0].isspace() or user[-1].isspace():
        return ("white_space", "a user id must not start or end with white space", None)
    for char in user:
        category = unicodedata.category(char)
        if category == "Cc":
            return ("control_character", "a user id must not contain control characters", None)
        if category == "Cs":
            return ("lone_surrogate", "a user id must not contain lone surrogates", None)
    if not unicodedata.is_normalized("NFC", user):
        return ("not_nfc", "a user id must be in Unicode normalization form NFC", None)
    return None


def check_user_id(user: str, pointer: str, limit: int = MAX_USER_ID) -> None:
    """Check a user id.

    Raises:
        Invalid: at ``pointer``, with the bound.
    """
    error = user_id_error(user, limit)
    if error is not None:
        raise Invalid.at(pointer, *error)


def normalize_participants(
    users: Sequence[str],
    pointer: str = "/participants",
    *,
    max_participants: int = MAX_PARTICIPANTS,
    max_user_id: int = MAX_USER_ID,
) -> tuple[str, ...]:
    """Return the set of 1 to ``max_participants`` user ids, sorted by code point, each once.

    Raises:
        Invalid: naming the entry (``/participants/3``) and the bound. The bound on
            the number is applied to what was sent, so a request's size is bounded too.
    """
    if not users:
        raise Invalid.at(pointer, "too_few", "a conversation must have at least 1 participant", 1)
    if len(users) > max_participants:
        raise Invalid.at(
            pointer,
            "too_many",
            f"a conversation must have at most {max_participants} participants",
            max_participants,
        )
    for index, user in enumerate(users):
        error = user_id_error(user, max_user_id)
        if error is not None:
            raise Invalid.at(f"{pointer}/{index}", *error)
    return tuple(sorted(set(users)))


def channel_key(participants: Iterable[str]) -> str:
    """Return the key of a normalized set: ``alice,bob``.

    A key of more than 255 bytes of UTF-8 is replaced by ``,sha256:`` and the digest of those
    bytes in hex.
    """
    key = ",".join(participants)
    if len(key) <= MAX_CHANNEL_BYTES and key.isascii():
        return key
    raw = key.encode()
    if len(raw) <= MAX_CHANNEL_BYTES:
        return key
    return HASHED_PREFIX + hashlib.sha256(raw).hexdigest()


def channel_error(channel: str) -> tuple[str, str, int | None] | None:
    """Return what is wrong with a channel key of a caller, or ``None``."""
    if not channel:
        return ("too_short", "a channel key must have at least 1 character", 1)
    if len(channel.encode("utf-8", "replace")) > MAX_CHANNEL_BYTES:
        limit = MAX_CHANNEL_BYTES
        return ("too_long", f"a channel key must have at most {limit} bytes", limit)
    if channel.startswith(","):
        return None
    users = channel.split(",")
    for user in users:
        error = user_id_error(user)
        if error is not None:
            return error
    if users != sorted(set(users)):
        return ("not_sorted", "a channel key must join its user ids sorted, each once", None)
    return None
