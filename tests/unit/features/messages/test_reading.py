"""Which id range a request means, of which conversation, and who may read it."""

from __future__ import annotations

import pytest

from chatsvc.api.conversation_access import NamedConversation
from chatsvc.core.errors import FieldError, Forbidden, Invalid, NotFound, RequestError
from chatsvc.core.limits import Limits
from chatsvc.core.page import Bounds, Entry, Page
from chatsvc.features.messages.api import page_body
from chatsvc.features.messages.model import PageRequest
from chatsvc.features.messages.reading import MessageReader, PageQuery
from tests.unit.support.fake_log import FakeHistory, FakeLog

LIMITS = Limits(page=50, participants=3, user_id_characters=5)
ID = "019aa7c3f2100000"
POSITION = int(ID, 16)
ONE = Entry(2, 3, "alice,bob", "alice", "", ("alice", "bob"), b'{"id":"2"}')
HASHED = ",sha256:" + "0" * 64


class Asked(FakeHistory):
    """Notes what it is asked; everybody in ``members`` is in every hashed conversation."""

    def __init__(self, *members: str) -> None:
        super().__init__(FakeLog())
        self.members = members
        self.asked: list[tuple[object, ...]] = []

    async def channel_page(self, channel: str, bounds: Bounds, *, reader: str = "") -> Page:
        self.asked.append(("channel_page", channel, bounds, reader))
        return Page([ONE], False, True)

    async def user_page(self, user: str, bounds: Bounds) -> Page:
        self.asked.append(("user_page", user, bounds))
        return Page([ONE], False, True)

    async def channel_around(
        self, channel: str, message_id: int, limit: int, *, reader: str = ""
    ) -> Page:
        self.asked.append(("channel_around", channel, message_id, limit, reader))
        return Page([ONE], False, True)

    async def user_around(self, user: str, message_id: int, limit: int) -> Page:
        self.asked.append(("user_around", user, message_id, limit))
        return Page([ONE], False, True)

    async def participants(self, user: str, channel: str) -> tuple[str, ...] | None:
        self.asked.append(("participants", user, channel))
        return self.members if user in self.members else None

    async def get(self, message_id: int, *, reader: str = "") -> tuple[Entry, str] | None:
        self.asked.append(("get", message_id, reader))
        return (ONE, "stored") if message_id == ONE.id else None


def reader(history: FakeHistory | None = None) -> MessageReader:
    return MessageReader(history=history or Asked(), limits=LIMITS)


def wrong(error: RequestError) -> FieldError:
    """The one thing that is wrong; the whole says the same as its field."""
    [field] = error.field_errors
    assert (error.code, error.detail) == (field.code, field.detail)
    return field


# The id range


@pytest.mark.parametrize(
    ("request_", "query"),
    [
        (PageRequest(), PageQuery(Bounds(100), None, None)),
        (PageRequest(before=ID), PageQuery(Bounds(100, before=POSITION), None, ID)),
        (PageRequest(after=ID), PageQuery(Bounds(100, after=POSITION, newest=False), None, ID)),
        (PageRequest(around=ID), PageQuery(Bounds(100), POSITION, ID)),
    ],
)
@pytest.mark.parametrize("limit", [1, 50])
def test_the_range_of_a_request(request_: PageRequest, query: PageQuery, limit: int) -> None:
    request_.limit = limit
    expected = query._replace(bounds=query.bounds._replace(limit=limit))
    assert reader().page_query(request_) == expected


@pytest.mark.parametrize(
    ("limit", "error"),
    [
        (0, FieldError("/limit", "too_small", "limit must be at least 1", 1)),
        (51, FieldError("/limit", "too_large", "limit must be at most 50", 50)),
    ],
)
def test_the_limit_is_from_one_to_that_of_a_page(limit: int, error: FieldError) -> None:
    with pytest.raises(Invalid) as caught:
        reader().page_query(PageRequest(limit=limit))
    assert wrong(caught.value) == error
    reader().page_query(PageRequest(limit=1))


@pytest.mark.parametrize("name", ["before", "after", "around"])
def test_a_bound_that_is_no_id_is_refused_where_it_is(name: str) -> None:
    with pytest.raises(Invalid) as caught:
        reader().page_query(PageRequest(limit=1, **{name: "12"}))
    field = wrong(caught.value)
    assert (field.pointer, field.code, field.limit) == (f"/{name}", "bad_id", 16)
    assert "16 lower-case hex digits" in field.detail


@pytest.mark.parametrize(
    ("bounds", "second"),
    [
        ({"before": ID, "after": ID}, "/after"),
        ({"before": ID, "around": ID}, "/around"),
        ({"after": ID, "around": ID}, "/around"),
        ({"before": ID, "after": ID, "around": ID}, "/after"),
    ],
)
def test_a_second_bound_is_refused_where_it_is(bounds: dict[str, str], second: str) -> None:
    with pytest.raises(Invalid) as caught:
        reader().page_query(PageRequest(limit=1, **bounds))
    assert wrong(caught.value) == FieldError(
        second, "one_bound", "only one of before, after and around must be given"
    )


# The conversation


@pytest.mark.parametrize(
    ("request_", "conversation"),
    [
        (PageRequest(), None),
        (PageRequest(participants="bob,alice,bob"), NamedConversation("alice,bob", True)),
        (PageRequest(participants="alice"), NamedConversation("alice", True)),
        (PageRequest(channel="alice,bob"), NamedConversation("alice,bob", True)),
        (PageRequest(channel=HASHED), NamedConversation(HASHED, False)),
    ],
)
def test_the_conversation_of_a_request(
    request_: PageRequest, conversation: NamedConversation | None
) -> None:
    assert reader().conversation("alice", request_) == conversation


@pytest.mark.parametrize(
    ("request_", "pointer", "code", "limit"),
    [
        (PageRequest(participants="alice", channel="alice"), "/channel", "one_conversation", None),
        (PageRequest(participants=""), "/participants", "too_few", 1),
        (PageRequest(participants="alice,b,c,d"), "/participants", "too_many", 3),
        (PageRequest(participants="alice,longer"), "/participants/1", "too_long", 5),
        (PageRequest(channel=""), "/channel", "too_short", 1),
        (PageRequest(channel="bob,alice"), "/channel", "not_sorted", None),
    ],
)
def test_a_conversation_that_cannot_be(
    request_: PageRequest, pointer: str, code: str, limit: int | None
) -> None:
    with pytest.raises(Invalid) as caught:
        reader().conversation("alice", request_)
    field = wrong(caught.value)
    assert (field.pointer, field.code, field.limit) == (pointer, code, limit)
    if code == "one_conversation":
        assert field.detail == "participants and channel must not be given together"


@pytest.mark.parametrize("name", ["participants", "channel"])
def test_who_is_not_in_it_is_told_so_at_the_field(name: str) -> None:
    with pytest.raises(Forbidden) as caught:
        reader().conversation("eve", PageRequest(**{name: "alice,bob"}))  # type: ignore[arg-type]
    assert wrong(caught.value) == FieldError(
        f"/{name}", "not_a_participant", "you must be a participant of the conversation"
    )


# What is read


BOUNDS = Bounds(5)


@pytest.mark.parametrize(
    ("conversation", "query", "asked"),
    [
        (None, PageQuery(BOUNDS, None, None), ("user_page", "alice", BOUNDS)),
        (None, PageQuery(BOUNDS, 7, ID), ("user_around", "alice", 7, 5)),
        (
            NamedConversation("alice,bob", True),
            PageQuery(BOUNDS, None, None),
            ("channel_page", "alice,bob", BOUNDS, "alice"),
        ),
        (
            NamedConversation("alice,bob", True),
            PageQuery(BOUNDS, 7, ID),
            ("channel_around", "alice,bob", 7, 5, "alice"),
        ),
    ],
)
async def test_one_read_answers_a_page(
    conversation: NamedConversation | None, query: PageQuery, asked: tuple[object, ...]
) -> None:
    history = Asked()
    page = await reader(history).page("alice", conversation, query)
    assert page.entries == [ONE]
    assert history.asked == [asked]


async def test_a_conversation_that_is_not_proven_is_looked_up_before_it_is_read() -> None:
    query = PageQuery(BOUNDS, None, None)
    history = Asked("alice")
    await reader(history).page("alice", NamedConversation(HASHED, False), query)
    assert [name for name, *_ in history.asked] == ["participants", "channel_page"]
    assert history.asked[0] == ("participants", "alice", HASHED)
    history.asked.clear()
    with pytest.raises(Forbidden) as caught:
        await reader(history).page("eve", NamedConversation(HASHED, False), query)
    assert wrong(caught.value).pointer == "/channel"
    assert [name for name, *_ in history.asked] == ["participants"]


async def test_one_message_is_read_in_the_readers_turn() -> None:
    history = Asked()
    assert await reader(history).message("bob", ONE.id) == (ONE, "stored")
    assert history.asked == [("get", ONE.id, "bob")]


@pytest.mark.parametrize(("user", "message_id"), [("eve", ONE.id), ("alice", 9)])
async def test_a_message_of_others_is_unknown_as_one_that_is_not(
    user: str, message_id: int
) -> None:
    with pytest.raises(NotFound, match="unknown message: none of yours has this id"):
        await reader().message(user, message_id)


async def test_a_message_of_a_group_is_the_readers_if_history_returns_it() -> None:
    class OfGroup(Asked):
        async def get(self, message_id: int, *, reader: str = "") -> tuple[Entry, str] | None:
            return (shown, "stored") if reader == "bob" else None

    shown = Entry(2, 2, ",g:team", "alice", "", (), b'{"id":"2"}')
    assert await reader(OfGroup()).message("bob", 2) == (shown, "stored")
    with pytest.raises(NotFound, match="unknown message: none of yours has this id"):
        await reader(OfGroup()).message("eve", 2)


# The bytes of a page


def test_the_positions_of_a_page_are_ids_also_where_a_message_was_changed_since() -> None:
    entries = [ONE, Entry(4, 7, "alice,bob", "bob", "", ("alice", "bob"), b'{"id":"4"}')]
    query = PageQuery(BOUNDS, None, None)
    messages = b'{"messages":[{"id":"2"},{"id":"4"}],"has_more":'
    assert page_body(Page(entries, True, True), query) == messages + (
        b'true,"before":"0000000000000002","after":"0000000000000004","complete":true}'
    )
    assert page_body(Page(entries, False, False), query) == messages + (
        b'false,"before":"0000000000000002","after":"0000000000000004","complete":false}'
    )


def test_an_empty_page_gives_back_the_bound_and_says_what_is_lost() -> None:
    page = Page([], False, True, (1, 255))
    assert page_body(page, PageQuery(BOUNDS, None, None)) == (
        b'{"messages":[],"has_more":false,"before":null,"after":null,"complete":true,'
        b'"lost":{"from":"0000000000000001","to":"00000000000000ff"}}'
    )
    assert page_body(page, PageQuery(BOUNDS, 1, ID)).startswith(
        f'{{"messages":[],"has_more":false,"before":"{ID}","after":"{ID}",'.encode()
    )
