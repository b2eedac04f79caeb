"""From a frame's text to the request of a command."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.api.access import Access
from chatsvc.api.command import Command, CommandReply
from chatsvc.auth.principal import Principal
from chatsvc.core.errors import Forbidden, Invalid, Malformed
from chatsvc.core.limits import Limits
from chatsvc.features.messages import commands as messages_commands
from chatsvc.server.websocket.command_table import CommandTable
from chatsvc.server.websocket.connection_commands import connection_commands
from chatsvc.server.websocket.error_frames import ref_of
from chatsvc.wire.protocol import Auth, ClientFrame, Ping, Pong, Send
from testkit.authenticator import FakeAuthenticator, named_by_token


class NobodySends:
    def submit(self, *_: Any) -> Any:
        raise AssertionError("nothing is sent")


TABLE = CommandTable(
    (
        *messages_commands.commands(NobodySends(), Limits()),
        *connection_commands(FakeAuthenticator(named_by_token)),
    )
)
decode_command = TABLE.decode


def test_good_commands() -> None:
    assert decode_command(b'{"type":"ping","ref":"%s"}' % (b"r" * 64)) == Ping(ref="r" * 64)
    assert decode_command(b'{"type":"send","participants":["a"],"content":"x"}') == Send(
        participants=["a"], content="x"
    )


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"nope", b'{"type":"ping"}}', b"[" * 100_000 + b"]" * 100_000,
     b'{"type":"send","participants":["a"],"content":"x","metadata":{"k":'
     + b"[" * 50_000 + b"]" * 50_000 + b"}}"],
    ids=["nothing", "half", "word", "two", "deep array", "deep metadata"],
)  # fmt: skip
def test_what_is_not_json_or_no_command(payload: bytes) -> None:
    with pytest.raises((Malformed, Invalid)):
        decode_command(payload)


@pytest.mark.parametrize(
    ("payload", "pointer"),
    [
        (b'{"type":"send","participants":["a",5],"content":"x"}', "/participants/1"),
        (b'{"type":"send","participants":["a"],"content":5}', "/content"),
        (b'{"type":"send","participants":["a"],"content":"x","extra":1}', "/extra"),
        (b'{"type":"send","participants":["a"]}', "/content"),
        (b'{"type":"dance"}', "/type"),
        (b'{"type":"ping","ref":"%s"}' % (b"r" * 65), "/ref"),
        (b'{"type":"ping","ref":""}', "/ref"),
        (b'{"type":"send","participants":["a"],"content":"\\ud83d"}', "/content"),
    ],
)
def test_the_field_is_named(payload: bytes, pointer: str) -> None:
    with pytest.raises(Invalid) as raised:
        decode_command(payload)
    assert raised.value.field_errors[0].pointer == pointer


@given(st.binary(max_size=60))
def test_no_bytes_bring_it_down(payload: bytes) -> None:
    try:
        decode_command(payload)
    except (Malformed, Invalid):
        assert ref_of(payload) is None or isinstance(ref_of(payload), str)


def test_an_empty_ref_is_too_short_and_a_long_one_too_long() -> None:
    for ref, code, limit in (("", "too_short", 1), ("r" * 65, "too_long", 64)):
        with pytest.raises(Invalid) as raised:
            decode_command(msgspec.json.encode({"type": "ping", "ref": ref}))
        error = raised.value.field_errors[0]
        assert (error.pointer, error.code, error.limit) == ("/ref", code, limit)


def test_a_wrong_value_is_quoted_as_it_was_sent() -> None:
    with pytest.raises(Invalid) as raised:
        decode_command(b'{"type":"Send","participants":["alice"],"content":"x"}')
    assert "'Send'" in raised.value.detail


def test_commands_are_found_by_their_requests() -> None:
    assert [(one.name, one.request) for one in TABLE.commands] == [
        ("send", Send), ("ping", Ping), ("auth", Auth),
    ]  # fmt: skip
    assert {request: one.request for request, one in TABLE.by_request.items()} == {
        Send: Send, Ping: Ping, Auth: Auth,
    }  # fmt: skip
    assert set(ClientFrame.__args__) == set(TABLE.by_request), "what the client can send"


class Wave(msgspec.Struct, tag="wave", forbid_unknown_fields=True, kw_only=True):
    """Wave."""

    ref: str | None = None


class Loose(msgspec.Struct, tag="loose", kw_only=True):
    """Takes whatever it is given."""

    ref: str | None = None


class Mute(msgspec.Struct, tag="mute", forbid_unknown_fields=True, kw_only=True):
    """Has no ref."""


class Ping2(msgspec.Struct, tag="ping", forbid_unknown_fields=True, kw_only=True):
    """Another ping."""

    ref: str | None = None


class Untagged(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Has no type."""

    ref: str | None = None


def command(request: type[msgspec.Struct], **options: Any) -> Command:
    return Command(
        request=request, answers=(Pong,), handler=lambda *_: CommandReply(None), **options
    )


@pytest.mark.parametrize("request_type", [Loose, Mute, Ping2, Untagged])
def test_what_no_client_could_rely_on_is_not_registered(
    request_type: type[msgspec.Struct],
) -> None:
    CommandTable((command(Ping), command(Wave)))
    with pytest.raises(ValueError, match="must"):
        CommandTable((command(Ping), command(request_type)))


def test_only_who_may_runs_a_command() -> None:
    admins = Access(roles=frozenset({"admin"}), scopes=frozenset({"wave"}))
    table = CommandTable((command(Ping), command(Wave, access=admins)))
    handle = table.by_request[Wave].handler
    roles = frozenset({"user", "admin"})
    allowed = Principal("alice", 1, roles, frozenset({"wave"}))
    assert handle(allowed, Wave()) == CommandReply(None)
    for refused in (Principal("alice", 1), Principal("alice", 1, roles)):
        with pytest.raises(Forbidden):
            handle(refused, Wave())
    ping = table.by_request[Ping]
    assert ping is table.commands[0], "what everybody may run is called without a check"
