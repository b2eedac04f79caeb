"""Answers of the HTTP interface: pages, records, and what the errors say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeVar

import msgspec

from chatsvc.client.decoding import TolerantDecoder
from chatsvc.client.errors import ApiError, FieldError
from chatsvc.client.events import (
    Lost,
    Message,
    Record,
    decode_entry,
    decode_message,
    decode_record,
)
from chatsvc.core.ids import parse_id
from chatsvc.core.lost import LostRange

PROBLEM_TYPE: Final = "application/problem+json"
_T = TypeVar("_T")


class Answer(NamedTuple):
    """A response as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Page(NamedTuple):
    """Messages, oldest first.

    ``before`` and ``after`` page on, towards older and newer. ``complete`` is false while
    the server's store is away and older messages may be missing. Entries of kinds that
    this version does not know are left out. ``lost``: some messages of this range are lost
    for good.
    """

    messages: list[Message]
    has_more: bool
    before: str | None
    after: str | None
    complete: bool
    lost: Lost | None = None


class ChangesPage(NamedTuple):
    """Records of every kind, oldest first, as a resume sends them.

    ``up_to`` pages on: it is the ``after`` of the next page. A page may have no frames and
    ``has_more``: there were none of the kinds that were asked for. What is no record in a form
    that this version knows is left out. ``complete`` and ``lost`` as in :class:`Page`.
    """

    frames: list[Record]
    up_to: str | None
    has_more: bool
    complete: bool
    lost: Lost | None = None


class Conversation(NamedTuple):
    """A conversation, or a group, by its newest message.

    ``participants`` is empty for a group, which its ``channel`` names.
    ``last_message`` is ``None`` where a newer server sends none that this version knows.
    """

    channel: str
    participants: tuple[str, ...]
    last_message: Message | None


class ConversationPage(NamedTuple):
    """Conversations, newest first; ``before`` pages on.

    ``complete`` and ``lost`` as in :class:`Page`.
    """

    conversations: list[Conversation]
    has_more: bool
    before: str | None
    complete: bool
    lost: Lost | None = None


class StoredMessage(NamedTuple):
    """A message and its state: ``accepted`` (durable) or ``stored`` (in the database)."""

    message: Message
    state: str


class Posted(msgspec.Struct):
    """What a send over HTTP needs to know of the message that it is answered with."""

    id: str
    created_at: str = ""


class _Page(msgspec.Struct):
    messages: list[msgspec.Raw]
    has_more: bool = False
    before: str | None = None
    after: str | None = None
    complete: bool = True
    lost: LostRange | None = None


class _Changes(msgspec.Struct):
    frames: list[msgspec.Raw]
    up_to: str | None = None
    has_more: bool = False
    complete: bool = True
    lost: LostRange | None = None


class _Id(msgspec.Struct):
    id: str


class _Conversation(msgspec.Struct):
    channel: str
    participants: tuple[str, ...] = ()
    last_message: msgspec.Raw = msgspec.Raw(b"null")


class _ConversationPage(msgspec.Struct):
    conversations: list[msgspec.Raw]
    has_more: bool = False
    before: str | None = None
    complete: bool = True
    lost: LostRange | None = None


class _Connections(msgspec.Struct):
    connections: dict[str, int]


class _State(msgspec.Struct):
    state: str


class _Problem(msgspec.Struct):
    title: str = ""
    code: str = ""
    detail: str = ""
    id: str | None = None
    errors: list[msgspec.Raw] = []


_decode_page = TolerantDecoder(_Page)
_decode_changes = TolerantDecoder(_Changes)
_decode_id = TolerantDecoder(_Id)
_decode_conversation = TolerantDecoder(_Conversation)
_decode_conversations = TolerantDecoder(_ConversationPage)
_decode_connections = TolerantDecoder(_Connections)
_decode_state = TolerantDecoder(_State)
_decode_problem = TolerantDecoder(_Problem)
_decode_field_error = TolerantDecoder(FieldError)
_decode_posted = TolerantDecoder(Posted)


def read_posted(answer: Answer) -> Posted:
    """Read the answer to a send; raises as :func:`read_page`."""
    return read_struct(answer, _decode_posted)


def read_page(answer: Answer) -> Page:
    """Read a page of messages.

    Raises:
        ApiError: ``unreadable_answer``: it is something else, such as a proxy's page.
    """
    page = read_struct(answer, _decode_page)
    entries = [bytes(raw) for raw in page.messages]
    messages = [message for entry in entries if (message := decode_entry(entry)) is not None]
    before = _id_or_none(page.before) or (_id_of(entries[0]) if entries else None)
    after = _id_or_none(page.after) or (_id_of(entries[-1]) if entries else None)
    return Page(messages, page.has_more, before, after, page.complete, _lost(page.lost))


def read_changes(answer: Answer) -> ChangesPage:
    """Read a page of records; raises as :func:`read_page`."""
    page = read_struct(answer, _decode_changes)
    entries = [bytes(raw) for raw in page.frames]
    frames = [record for entry in entries if (record := decode_record(entry)) is not None]
    up_to = _id_or_none(page.up_to) or (_id_of(entries[-1]) if entries else None)
    return ChangesPage(frames, up_to, page.has_more, page.complete, _lost(page.lost))


def read_stored_message(answer: Answer) -> StoredMessage:
    """Read one message and its state; raises as :func:`read_page`."""
    return StoredMessage(
        read_struct(answer, decode_message), read_struct(answer, _decode_state).state
    )


def read_conversations(answer: Answer) -> ConversationPage:
    """Read a page of conversations; raises as :func:`read_page`."""
    page = read_struct(answer, _decode_conversations)
    found = []
    for raw in page.conversations:
        try:
            one = _decode_conversation(bytes(raw))
        except msgspec.DecodeError:
            continue  # of a kind that this version does not know
        last_message = decode_entry(bytes(one.last_message))
        found.append(Conversation(one.channel, one.participants, last_message))
    lost = _lost(page.lost)
    return ConversationPage(found, page.has_more, page.before, page.complete, lost)


def read_connections(answer: Answer) -> dict[str, int]:
    """Read how many sockets each user has open; raises as :func:`read_page`."""
    return read_struct(answer, _decode_connections).connections


def problem_of(answer: Answer) -> ApiError:
    """Make the error of an answer that is not a success.

    What a proxy answered instead of the server has a status alone.
    """
    try:
        problem = _decode_problem(answer.body)
    except msgspec.DecodeError:
        problem = _Problem()
    return ApiError(
        answer.status,
        problem.code or f"http_{answer.status}",
        problem.detail or problem.title or f"the server answered {answer.status}",
        _field_errors(problem.errors),
        retry_after=retry_after_seconds(answer.headers),
        first_id=problem.id,
        is_problem=is_problem(answer.headers),
    )


def is_problem(headers: Mapping[str, str]) -> bool:
    """Whether it is a problem document (RFC 9457): from the server, not from a proxy."""
    media_type = headers.get("Content-Type", "").partition(";")[0]
    return media_type.strip().lower() == PROBLEM_TYPE


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """``Retry-After`` in its form of seconds (RFC 9110 §10.2.3); ``None`` for none, or a date."""
    text = headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds < math.inf else None


def _lost(found: LostRange | None) -> Lost | None:
    if found is None or _id_or_none(found.from_) is None or _id_or_none(found.to) is None:
        return None
    return Lost(found.from_, found.to)


def _field_errors(found: list[msgspec.Raw]) -> list[FieldError]:
    errors = []
    for raw in found:
        try:
            errors.append(_decode_field_error(bytes(raw)))
        except msgspec.DecodeError:
            continue  # not an object: nothing in it that could be named
    return errors


def _id_of(entry: bytes) -> str | None:
    try:
        return _id_or_none(_decode_id(entry).id)
    except msgspec.DecodeError:
        return None


def _id_or_none(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        parse_id(text)
    except ValueError:
        return None
    return text


def read_struct(answer: Answer, decode: Callable[[bytes], _T]) -> _T:
    """Read an answer by its decoder; raises as :func:`read_page`."""
    try:
        return decode(answer.body)
    except msgspec.DecodeError as exc:
        detail = f"the answer must be what the protocol says of this call: {exc}"
        raise ApiError(answer.status, "unreadable_answer", detail) from exc
