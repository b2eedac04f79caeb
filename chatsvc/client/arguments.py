"""Checks of what a caller gives: what is wrong raises at once, and nothing is sent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from chatsvc.core import message
from chatsvc.core.errors import Invalid


def user_list(users: Iterable[str], name: str) -> list[str]:
    """Return the user ids as a list.

    Raises:
        TypeError: a single string, whose characters would be taken for user ids, or an id
            that is not a string.
    """
    if isinstance(users, str):
        raise TypeError(f"{name} must be a list of user ids, not a single string")
    found = list(users)
    for user in found:
        if not isinstance(user, str):
            raise TypeError(f"{name} must be strings, not {type(user).__name__}")
    return found


def check_content(content: str | None) -> str:
    """Return the content.

    Raises:
        TypeError: it is not a string.
    """
    if content is None:
        raise TypeError("content must be given")
    if not isinstance(content, str):
        raise TypeError(f"content must be a string, not {type(content).__name__}")
    return content


def check_client_id(client_id: str | None) -> None:
    """Check a ``client_id``, if there is one.

    Raises:
        ValueError: it is empty, too long, or not printable ASCII.
    """
    if client_id is not None:
        try:
            message.check_client_id(client_id)
        except Invalid as exc:
            raise ValueError(exc.detail) from None


def json_object(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata as a dictionary.

    Raises:
        ValueError: it holds something that is not JSON, such as NaN or bytes.
    """
    found = dict(metadata)
    try:
        json.dumps(found, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as exc:
        raise ValueError(f"metadata must be JSON: {exc}") from None
    return found


def check_device(device: str | None) -> None:
    """Check the name of a device, if there is one.

    Raises:
        ValueError: it is not 1 to 64 of the allowed characters.
    """
    if device is not None:
        try:
            message.check_device(device)
        except Invalid as exc:
            raise ValueError(exc.detail) from None


def check_positive(**numbers: int | None) -> None:
    """Check numbers that must be at least 1, by their names; ``None`` is not checked.

    Raises:
        ValueError: one is less.
    """
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ValueError(f"{name} must be at least 1")


def path_segment(text: str) -> str:
    """Return one segment of a URL's path that stands for a text.

    ``.`` and ``..`` are escaped too, or they would be taken for steps between segments.

    Raises:
        ValueError: not valid Unicode.
    """
    escaped = quote(text, safe="")
    return escaped.replace(".", "%2E") if text in (".", "..") else escaped
