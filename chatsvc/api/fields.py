"""The kinds of fields that requests are made of: for each its JSON Schema and its check.

A schema is a mapping of keywords for ``Operation.bounds`` and ``Command.bounds``; a check raises
:class:`~chatsvc.core.errors.Invalid` at the field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from chatsvc.core.errors import Invalid
from chatsvc.core.ids import parse_id
from chatsvc.core.kinds import KIND_NAME_PATTERN, MAX_KIND_NAME, MAX_KINDS, is_kind_name
from chatsvc.core.limits import Limits
from chatsvc.core.message import MAX_CLIENT_ID, MAX_DEVICE
from chatsvc.core.participants import MAX_CHANNEL_BYTES, user_id_error

Keywords = Mapping[str, Any]
"""Keywords of JSON Schema (draft 2020-12) for one field."""

DEFAULT_PAGE: Final = 100
"""The entries of a page whose request names no ``limit``."""

MESSAGE_ID_PATTERN: Final = "^[0-9a-f]{16}$"
MESSAGE_ID: Final[Keywords] = {"pattern": MESSAGE_ID_PATTERN}
CLIENT_ID: Final[Keywords] = {
    "minLength": 1,
    "maxLength": MAX_CLIENT_ID,
    "pattern": r"^[\u0020-\u007e]+$",
}
DEVICE: Final[Keywords] = {"pattern": f"^[A-Za-z0-9_-]{{1,{MAX_DEVICE}}}$"}
KINDS: Final[Keywords] = {
    "pattern": f"^{KIND_NAME_PATTERN}(,{KIND_NAME_PATTERN}){{0,{MAX_KINDS - 1}}}$"
}
CHANNEL: Final[Keywords] = {"minLength": 1, "maxLength": MAX_CHANNEL_BYTES}


def content(limits: Limits) -> Keywords:
    """Return the schema of a message's text."""
    return {"minLength": 1, "maxLength": limits.content_characters, "pattern": r"^[^\u0000]+$"}


def user_id(limits: Limits) -> Keywords:
    """Return the schema of a user id."""
    return {
        "minLength": 1,
        "maxLength": limits.user_id_characters,
        "pattern": r"^[^,\u0000-\u001f\u007f-\u009f]+$",
    }


def check_user_ids(users: Sequence[str], name: str, maximum: int, limits: Limits) -> None:
    """Check a list of user ids: 1 to ``maximum``, each of them one.

    Raises:
        Invalid: at ``/name`` or an entry of it.
    """
    if not users:
        raise Invalid.at(f"/{name}", "too_few", f"{name} must have at least 1 entry", 1)
    if len(users) > maximum:
        detail = f"{name} must have at most {maximum} entries"
        raise Invalid.at(f"/{name}", "too_many", detail, maximum)
    for index, user in enumerate(users):
        error = user_id_error(user, limits.user_id_characters)
        if error is not None:
            raise Invalid.at(f"/{name}/{index}", *error)


@lru_cache(maxsize=1024)
def read_kinds(text: str, pointer: str = "/kinds") -> frozenset[str]:
    """Parse names of kinds joined by commas; a kind that is not known is one of a newer version.

    Cached, so that the sockets that ask for the same share one set.

    Raises:
        Invalid: at ``pointer``.
    """
    names = text.split(",") if text else []
    if not names:
        raise Invalid.at(pointer, "too_few", "kinds must name at least 1 kind", 1)
    if len(names) > MAX_KINDS:
        detail = f"kinds must name at most {MAX_KINDS} kinds"
        raise Invalid.at(pointer, "too_many", detail, MAX_KINDS)
    if not all(map(is_kind_name, names)):
        detail = "kinds must be names of 1 to 32 of [a-z_], a letter first, joined by commas"
        raise Invalid.at(pointer, "bad_kind", detail, MAX_KIND_NAME)
    return frozenset(names)


def page_limit(limits: Limits) -> Keywords:
    """Return the schema of the number of entries of a page."""
    return {"minimum": 1, "maximum": limits.page}


def check_page_limit(limit: int, limits: Limits) -> None:
    """Check the number of entries of a page.

    Raises:
        Invalid: at ``/limit``.
    """
    if limit < 1:
        raise Invalid.at("/limit", "too_small", "limit must be at least 1", 1)
    if limit > limits.page:
        raise Invalid.at("/limit", "too_large", f"limit must be at most {limits.page}", limits.page)


def read_message_id(text: str, pointer: str) -> int:
    """Parse a message id of a request.

    Raises:
        Invalid: at ``pointer``: not 16 lower-case hex digits.
    """
    try:
        return parse_id(text)
    except ValueError as exc:
        raise Invalid.at(pointer, "bad_id", str(exc), 16) from None
