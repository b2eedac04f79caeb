"""WebSocket framing (RFC 6455) without I/O: bytes in, messages out, and back.

Server frames are built whole, once, and shared by every socket they go to: a server
does not mask (§5.1). Compression is never negotiated.
"""

from __future__ import annotations

import base64
import codecs
import hashlib
from typing import Final

import msgspec

from chatsvc.wire import close_codes

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_FIN: Final = 0x80
_MASKED: Final = 0x80
_WHOLE_TEXT: Final = _FIN | TEXT
_SHORT_TEXT_HEADS: Final = tuple(bytes((_WHOLE_TEXT, size)) for size in range(126))
_MAX_CONTROL: Final = 125
_SMALL_FRAGMENT_BYTES: Final = 512
"""A fragment below this size, in bytes, is counted as small."""
_NO_STATUS: Final = 1005
_CLOSE_CODES_ON_THE_WIRE: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})

_decode_utf8 = codecs.getincrementaldecoder("utf-8")


class FramingError(Exception):
    """The peer broke the framing rules; the connection fails with ``code`` (§7.1.7)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Event(msgspec.Struct, frozen=True, gc=False):
    """A whole message or control frame. ``opcode`` is TEXT, BINARY, PING, PONG or CLOSE.

    Of a CLOSE, ``payload`` is its reason in UTF-8 and ``code`` its status, 1005 if none.
    """

    opcode: int
    payload: bytes
    code: int = 0


def accept_key(key: str) -> str:
    """Return ``Sec-WebSocket-Accept`` for a ``Sec-WebSocket-Key`` (§4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


def encode(opcode: int, payload: bytes) -> bytes:
    """Return one unmasked frame with FIN set."""
    size = len(payload)
    if size < 126 and opcode == TEXT:
        return _SHORT_TEXT_HEADS[size] + payload  # as acknowledgements are
    return _head(opcode, size) + payload


def text_head(size: int) -> bytes:
    """Return the frame header of a text message of ``size`` bytes in one frame.

    For callers that write the message's bytes without copying them.
    """
    return _head(TEXT, size)


def _head(opcode: int, size: int) -> bytes:
    if size < 126:
        return bytes((_FIN | opcode, size))
    if size < 65536:
        return bytes((_FIN | opcode, 126, size >> 8, size & 0xFF))
    return bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big")


def encode_text(payload: bytes) -> bytes:
    """Return a text message in one frame; ``payload`` must be valid UTF-8."""
    return encode(TEXT, payload)


def encode_close(code: int, reason: str = "") -> bytes:
    """Return a close frame; the reason is cut to the maximum of 123 bytes."""
    text = reason.encode()[: _MAX_CONTROL - 2].decode(errors="ignore").encode()
    return encode(CLOSE, code.to_bytes(2, "big") + text)


def mask(payload: bytes, key: bytes) -> bytes:
    """XOR with the repeated four bytes of ``key`` (§5.3), computed as one large number."""
    size = len(payload)
    if not size:
        return b""
    repeated = (key * ((size + 3) >> 2))[:size]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return mixed.to_bytes(size, "big")


class _Fragments:
    """The fragments of a message so far, in one buffer: empty ones cost no memory."""

    __slots__ = ("_utf8", "data", "opcode")

    def __init__(self, opcode: int) -> None:
        self.opcode = opcode
        self.data = bytearray()
        self._utf8 = _decode_utf8() if opcode == TEXT else None

    def add(self, payload: bytes, *, final: bool) -> None:
        """Append a fragment.

        Raises:
            FramingError: the text is not UTF-8.
        """
        if self._utf8 is not None:
            try:
                self._utf8.decode(payload, final)
            except UnicodeDecodeError:
                raise _not_utf8() from None
        self.data += payload


class FrameDecoder:
    """Decode the bytes of a client into events; holds nothing between whole frames.

    ``unread``: whole frames may be left, because :meth:`feed` was given a limit.
    ``small_fragments`` counts fragments that are small and not the last of their message: they
    complete nothing and cost as much as any frame. Its reader resets it to 0.

    Args:
        max_message: the maximum size of a message in bytes, all fragments together; the
            connection fails with 1009 as soon as a frame's header exceeds it.
    """

    __slots__ = (
        "_at",
        "_buffer",
        "_fragments",
        "_max",
        "_need",
        "failure",
        "small_fragments",
        "unread",
    )

    def __init__(self, max_message: int) -> None:
        self.failure: FramingError | None = None
        self.unread = False
        self.small_fragments = 0
        self._at = 0  # where the unread part of the buffer begins
        self._max = max_message
        self._buffer: bytes | bytearray = b""
        self._need = 0  # bytes of the incomplete frame, as far as its header says
        self._fragments: _Fragments | None = None

    @property
    def failed(self) -> bool:
        """Whether the framing broke: no more frames are decoded."""
        return self.failure is not None

    def feed(self, data: bytes, limit: int | None = None) -> list[Event]:
        """Return the messages and control frames that ``data`` completes, in order.

        Where the framing breaks, :attr:`failure` is set: events before it are returned, bytes
        after it are ignored.

        Args:
            limit: the maximum number of frames, fragments included; the rest is kept for the
                next call, which may have no data. 0 keeps ``data`` and decodes nothing.
        """
        if self.failure is not None:
            return []
        position = 0
        if self.unread or limit == 0:
            self.unread = True
            rest = self._buffer
            if data:
                rest, self._at = bytes(rest[self._at :]) + data, 0
            position, data = self._at, bytes(rest)
            if limit == 0:
                self._buffer = data
                return []
        elif self._buffer:
            self._buffer += data  # a bytearray here: it grows without a copy each time
            if len(self._buffer) < self._need:
                return []  # or a frame that comes in many pieces would be copied for each
            data = bytes(self._buffer)
        events: list[Event] = []
        left = len(data) if limit is None else limit
        try:
            while (end := self._frame(data, position, events)) != position:
                position = end
                left -= 1
                if not left:
                    break
        except FramingError as exc:
            self.failure = exc
            self.unread = False
            self._buffer = b""
            return events
        self.unread = not left and position < len(data)
        if self.unread:
            self._buffer, self._at = data, position
        elif position < len(data):
            self._buffer, self._at = bytearray(data[position:]), 0
        else:
            self._buffer, self._at = b"", 0
        return events

    def _frame(self, data: bytes, start: int, events: list[Event]) -> int:
        """Decode one frame at ``start``; return its end, or ``start`` if it is incomplete."""
        self._need = 2
        if len(data) - start < 2:
            return start
        first, second = data[start], data[start + 1]
        opcode = first & 0x0F
        fragments = self._fragments
        if first != _WHOLE_TEXT or second < _MASKED or fragments is not None:
            self._check_head(first, second, opcode)  # of the usual frame there is nothing to check
        size = second & 0x7F
        at = start + 2
        if size == 126:
            if len(data) < at + 2:
                self._need = 4
                return start
            size = (data[at] << 8) | data[at + 1]
            at += 2
        elif size == 127:
            if len(data) < at + 8:
                self._need = 10
                return start
            size = int.from_bytes(data[at : at + 8], "big")
            at += 8
        held = len(fragments.data) if fragments is not None else 0
        if opcode < CLOSE and size + held > self._max:
            raise FramingError(
                close_codes.TOO_BIG, f"a message must have at most {self._max} bytes"
            )
        end = at + 4 + size
        if len(data) < end:
            self._need = end - start
            return start
        payload = mask(data[at + 4 : end], data[at : at + 4])
        if opcode >= CLOSE:
            events.append(_control(opcode, payload))
        elif first & _FIN and opcode != CONTINUATION:
            if opcode == TEXT:
                _require_utf8(payload)
            events.append(Event(opcode, payload))
        else:
            self._fragment(opcode, payload, final=bool(first & _FIN), events=events)
        return end

    def _check_head(self, first: int, second: int, opcode: int) -> None:
        if first & 0x70:
            raise FramingError(close_codes.PROTOCOL_ERROR, "reserved bits must not be set")
        if not second & _MASKED:
            raise FramingError(close_codes.PROTOCOL_ERROR, "a client must mask its frames")
        if opcode >= CLOSE:
            if opcode > PONG:
                raise FramingError(close_codes.PROTOCOL_ERROR, "unknown opcode")
            if not first & _FIN:
                raise FramingError(
                    close_codes.PROTOCOL_ERROR, "a control frame must not be fragmented"
                )
            if second & 0x7F > _MAX_CONTROL:
                raise FramingError(
                    close_codes.PROTOCOL_ERROR,
                    f"a control frame must have at most {_MAX_CONTROL} bytes",
                )
        elif opcode > BINARY:
            raise FramingError(close_codes.PROTOCOL_ERROR, "unknown opcode")
        elif (opcode == CONTINUATION) != (self._fragments is not None):
            raise FramingError(close_codes.PROTOCOL_ERROR, "fragments must come in sequence")

    def _fragment(self, opcode: int, payload: bytes, *, final: bool, events: list[Event]) -> None:
        message = self._fragments
        if message is None:
            message = self._fragments = _Fragments(opcode)
        message.add(payload, final=final)
        if not final and len(payload) < _SMALL_FRAGMENT_BYTES:
            self.small_fragments += 1
        if final:
            events.append(Event(message.opcode, bytes(message.data)))
            self._fragments = None


def _control(opcode: int, payload: bytes) -> Event:
    if opcode != CLOSE:
        return Event(opcode, payload)
    if not payload:
        return Event(CLOSE, b"", _NO_STATUS)
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not (code in _CLOSE_CODES_ON_THE_WIRE or 3000 <= code <= 4999):
        raise FramingError(close_codes.PROTOCOL_ERROR, "the close code must be a valid one")
    _require_utf8(payload[2:])
    return Event(CLOSE, payload[2:], code)


def _require_utf8(payload: bytes) -> None:
    if payload.isascii():
        return
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise _not_utf8() from None


def _not_utf8() -> FramingError:
    return FramingError(close_codes.INVALID_PAYLOAD, "text must be UTF-8")
