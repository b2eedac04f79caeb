"""Messages: the rules for content, metadata, client ids and devices, and the log's draft."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from chatsvc.core.errors import Invalid
from chatsvc.core.kinds import Kind, Kinds
from chatsvc.core.record import Draft

if TYPE_CHECKING:  # whose defaults are the bounds below
    from chatsvc.core.limits import Limits

MAX_CONTENT: Final = 16_000
MAX_METADATA_BYTES: Final = 4096
MAX_METADATA_DEPTH: Final = 5
MAX_CLIENT_ID: Final = 64
MAX_DEVICE: Final = 64

MESSAGE: Final = Kind(name="message", counts=True)
MESSAGES_ONLY: Final = Kinds([MESSAGE])

_CLIENT_ID = re.compile(r"[\x20-\x7e]{1,64}\Z")
_DEVICE = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_encode = msgspec.json.Encoder().encode
_EMPTY_DIGEST: Final = hashlib.blake2b(digest_size=16)
_canonical = msgspec.json.Encoder(order="sorted").encode


class _Rest(msgspec.Struct, omit_defaults=True, gc=False):
    """The members of a message that are known before it is accepted, in their order.

    At first the :class:`~chatsvc.core.record.SharedMembers`. Content is always given: a default
    is there because one must be, behind that of ``client_id``.
    """

    channel: str
    sender: str
    participants: tuple[str, ...]
    client_id: str | None = None
    content: str | msgspec.UnsetType = msgspec.UNSET
    metadata: Mapping[str, Any] | None = None


def check_content(content: str, pointer: str = "/content", max_length: int = MAX_CONTENT) -> None:
    """Check that content has 1 to ``max_length`` characters (code points) and no NUL.

    Raises:
        Invalid: at ``pointer``, with the bound.
    """
    if not content:
        raise Invalid.at(pointer, "too_short", "content must have at least 1 character", 1)
    if len(content) > max_length:
        raise Invalid.at(
            pointer, "too_long", f"content must have at most {max_length} characters", max_length
        )
    if "\0" in content:
        raise Invalid.at(pointer, "nul", "content must not contain the character NUL")


def check_metadata(
    metadata: Mapping[str, Any],
    pointer: str = "/metadata",
    *,
    max_bytes: int = MAX_METADATA_BYTES,
    max_depth: int = MAX_METADATA_DEPTH,
) -> None:
    """Check that metadata has at most ``max_bytes`` as compact JSON and ``max_depth`` levels.

    Raises:
        Invalid: at ``pointer``, with the bound.
    """
    # The size first: walking small values takes a hundred times as long.
    try:
        size = len(_encode(metadata))
    except RecursionError:
        raise _too_deep(pointer, max_depth) from None
    if size > max_bytes:
        raise Invalid.at(
            pointer,
            "too_long",
            f"metadata must have at most {max_bytes} bytes as JSON",
            max_bytes,
        )
    if _depth(metadata, max_depth) > max_depth:
        raise _too_deep(pointer, max_depth)


def _too_deep(pointer: str, max_depth: int) -> Invalid:
    return Invalid.at(
        pointer, "too_deep", f"metadata must nest at most {max_depth} levels deep", max_depth
    )


def check_client_id(client_id: str, pointer: str = "/client_id") -> None:
    """Check that a client id is 1 to 64 printable ASCII characters.

    Raises:
        Invalid: at ``pointer``.
    """
    if not _CLIENT_ID.match(client_id):
        raise Invalid.at(
            pointer,
            "bad_client_id",
            f"client_id must be 1 to {MAX_CLIENT_ID} printable ASCII characters",
            MAX_CLIENT_ID,
        )


def check_device(device: str, pointer: str = "/device") -> None:
    """Check that a device is 1 to 64 of ``[A-Za-z0-9_-]``.

    Raises:
        Invalid: at ``pointer``.
    """
    if not _DEVICE.match(device):
        raise Invalid.at(
            pointer,
            "bad_device",
            f"device must be 1 to {MAX_DEVICE} letters, digits, '_' or '-'",
            MAX_DEVICE,
        )


class MessageRules:
    """What every message must be like, whoever it is for: within the bounds of requests."""

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


def draft_message(
    *,
    channel: str,
    participants: tuple[str, ...],
    sender: str,
    content: str,
    origin: str,
    client_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Draft:
    """Return a message for the log. The caller has checked every value."""
    rest = _encode(_Rest(channel, sender, participants, client_id, content, metadata))
    return Draft(
        kind=MESSAGE.name,
        channel=channel,
        audience=participants,
        sender=sender,
        origin=origin,
        client_id=client_id,
        digest=content_digest(content, metadata),
        rest=rest,
        # The first of these bytes: in a string before it each quote has a backslash.
        own_at=rest.index(b',"content":'),
    )


def content_digest(content: str, metadata: Mapping[str, Any] | None) -> bytes:
    """Return 16 bytes that identify the content: BLAKE2b over content and metadata.

    The keys of metadata are sorted: a retry whose JSON has them in another order is still
    the same message.
    """
    digest = _EMPTY_DIGEST.copy()  # for less than one is made
    digest.update(content.encode())
    if metadata is not None:
        digest.update(b"\0")
        digest.update(_canonical(metadata))
    return digest.digest()


def _depth(value: object, limit: int) -> int:
    """Return how deep objects and arrays nest, counted no further than ``limit + 1``."""
    found = 0
    stack: list[tuple[object, int]] = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if isinstance(item, Mapping):
            children = list(item.values())
        elif isinstance(item, list | tuple):
            children = list(item)
        else:
            continue
        if depth > limit:
            return depth
        found = max(found, depth)
        stack.extend((child, depth + 1) for child in children)
    return found
