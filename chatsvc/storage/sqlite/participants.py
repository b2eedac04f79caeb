"""The participants of conversations, and bodies without them.

A conversation's participants are written once. The body of a message is kept without its member
``participants`` where that is, byte for byte, what this service writes for them; so a body is
read exactly as it was written. Any other body is kept whole.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

_MEMBER: Final = b',"participants":'

encode_participants = msgspec.json.Encoder().encode
decode_names = msgspec.json.Decoder(tuple[str, ...]).decode


class Participants(NamedTuple):
    """The participants of a conversation, and the part of a body that names them."""

    users: tuple[str, ...]
    member: bytes


def encode_names(users: tuple[str, ...]) -> bytes | None:
    """Whom a record names, for the column ``named``."""
    return encode_participants(users) if users else None


def participants_in(encoded: bytes) -> Participants:
    """Those in the column ``participants``."""
    return Participants(decode_names(encoded), _MEMBER + encoded)


def cut_body(body: bytes, encoded: bytes) -> tuple[int | None, bytes]:
    """Return the body without its participants, and where they were; ``None``: it is whole.

    Args:
        body: JSON. Within a string its quotes are escaped, so what is found is no text.
        encoded: the participants, as :func:`encode_participants` writes them.
    """
    at = body.find(_MEMBER)
    if at < 0 or not body.startswith(encoded, at + len(_MEMBER)):
        return None, body
    return at, body[:at] + body[at + len(_MEMBER) + len(encoded) :]


def whole_body(cut: int | None, body: bytes, member: bytes) -> bytes:
    """The inverse of :func:`cut_body`."""
    return body if cut is None else body[:cut] + member + body[cut:]
