"""What ``/api/messages`` declares: the documents and the routes are made from it."""

from __future__ import annotations

from chatsvc.api.access import USER
from chatsvc.api.operation import Operation
from chatsvc.core.errors import (
    Conflict,
    Forbidden,
    LogUnavailable,
    NotFound,
    StoreUnavailable,
    TooManyRequests,
)
from chatsvc.core.limits import Limits
from chatsvc.features.messages.api import operations
from chatsvc.features.messages.channels import ConversationSender
from chatsvc.features.messages.member_sends import MemberSends
from chatsvc.features.messages.model import (
    EXAMPLE_ID,
    HEADER_BOUNDS,
    ONE_CONVERSATION,
    Message,
    MessagePage,
    MessageRequest,
    PageRequest,
    SendHeaders,
    SendRequest,
    StatedMessage,
    page_bounds,
    send_bounds,
)
from chatsvc.features.messages.reading import MessageReader
from chatsvc.features.messages.service import AllowAll, MessageService
from chatsvc.log.deciding import Deciding
from tests.unit.support.fake_log import FakeHistory, FakeLog

LIMITS = Limits(participants=7, page=23)


def declared() -> dict[str, Operation]:
    log = FakeLog()
    history = FakeHistory(log)
    service = MessageService(log=log, policy=AllowAll(), client_ids=history, limits=LIMITS)
    members = MemberSends(log=log, deciding=Deciding(log), client_ids=history, limits=LIMITS)
    sender = ConversationSender(service=service, members=members, lookup=history, limits=LIMITS)
    reader = MessageReader(history=history, limits=LIMITS)
    return {one.name: one for one in operations(sender, reader, LIMITS)}


def test_where_each_operation_is_and_who_may_call_it() -> None:
    assert [
        (one.name, one.method, one.path, one.access, one.tag) for one in declared().values()
    ] == [
        ("send_message", "POST", "/api/messages", USER, "messages"),
        ("get_conversation", "GET", "/api/messages/get", USER, "messages"),
        ("list_messages", "GET", "/api/messages", USER, "messages"),
        ("get_message", "GET", "/api/messages/{id}", USER, "messages"),
    ]


def test_what_each_takes() -> None:
    found = declared()
    assert {name: (one.request, one.headers) for name, one in found.items()} == {
        "send_message": (SendRequest, SendHeaders),
        "get_conversation": (PageRequest, None),
        "list_messages": (PageRequest, None),
        "get_message": (MessageRequest, None),
    }
    assert {name: one.bounds for name, one in found.items()} == {
        "send_message": send_bounds(LIMITS) | HEADER_BOUNDS,
        "get_conversation": page_bounds(LIMITS),
        "list_messages": page_bounds(LIMITS),
        "get_message": {"id": {"pattern": "^[0-9a-f]{16}$"}},
    }
    send = found["send_message"]
    assert send.request_schema == {"oneOf": ONE_CONVERSATION}
    assert send.header_names == {"idempotency_key": "Idempotency-Key", "device": "Chatsvc-Device"}
    assert list(send.header_names) == list(SendHeaders.__struct_fields__)


def test_the_examples_are_requests_of_alice() -> None:
    assert {name: one.example for name, one in declared().items()} == {
        "send_message": {"participants": ["alice", "bob"], "content": "Hello!"},
        "get_conversation": {"participants": "alice,bob"},
        "list_messages": {},
        "get_message": {"id": EXAMPLE_ID},
    }


def test_what_each_answers() -> None:
    found = declared()
    assert {
        name: {status: kind for status, (_, kind) in one.responses.items()}
        for name, one in found.items()
    } == {
        "send_message": {201: Message, 200: Message},
        "get_conversation": {200: MessagePage},
        "list_messages": {200: MessagePage},
        "get_message": {200: StatedMessage},
    }
    headers = found["send_message"].response_headers
    assert {status: sorted(names) for status, names in headers.items()} == {
        201: ["Location"],
        200: ["Idempotent-Replayed", "Location"],
    }
    assert all(text for names in headers.values() for text in names.values())
    assert headers[200]["Idempotent-Replayed"] == "`true`."


def test_the_errors_that_each_can_raise() -> None:
    reads = (Forbidden, LogUnavailable, StoreUnavailable)
    assert {name: one.errors for name, one in declared().items()} == {
        "send_message": (Forbidden, Conflict, TooManyRequests, LogUnavailable, StoreUnavailable),
        "get_conversation": reads,
        "list_messages": reads,
        "get_message": (NotFound, LogUnavailable, StoreUnavailable),
    }


def test_the_head_of_a_page_is_checked_without_reading_it() -> None:
    checked = {name for name, one in declared().items() if one.check is not None}
    assert checked == {"get_conversation", "list_messages"}


def test_each_operation_and_each_answer_is_described() -> None:
    found = declared()
    assert [(one.name, one.summary) for one in found.values() if one.summary] == [
        ("send_message", "Send a message to a conversation"),
        ("get_conversation", "A page of one conversation"),
        ("list_messages", "A page of all the caller's messages"),
        ("get_message", "One message, and whether it is stored"),
    ]
    for one in found.values():
        assert all(text for text, _ in one.responses.values())
    assert found["send_message"].description.startswith("The conversation is named by")
    conversation, everything = found["get_conversation"], found["list_messages"]
    assert conversation.description.startswith("The newest messages")
    assert everything.description == (
        conversation.description + " Without participants and channel, of every conversation."
    )
