"""The commands of a socket: decode a frame strictly, and find what runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Union

import msgspec

from chatsvc.api.access import Access
from chatsvc.api.command import Command, Handled
from chatsvc.core.errors import Invalid, Malformed
from chatsvc.server.errors import invalid_from_msgspec
from chatsvc.server.surrogates import check_surrogates
from chatsvc.wire.protocol import MAX_REF


class CommandTable:
    """The registered commands.

    ``commands`` are as declared. ``by_request`` has them by the type of their request; those
    that ask for more than every socket's user has check it before their handler.

    Raises:
        ValueError: two commands have one name, or a request is not a strict one with a ``ref``.
    """

    def __init__(self, commands: Sequence[Command]) -> None:
        for command in commands:
            _check_request(command.request)
        if len({command.name for command in commands}) < len(commands):
            raise ValueError("every command must have a name of its own")
        self.commands: tuple[Command, ...] = tuple(commands)
        self.by_request: Mapping[type[msgspec.Struct], Command] = {
            command.request: _with_check(command) if command.access.needs_check else command
            for command in commands
        }
        requests: Any = Union[tuple(command.request for command in commands)]  # noqa: UP007
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(requests).decode

    def decode(self, payload: bytes) -> Any:
        """Decode a frame of a client into the request of a command.

        Raises:
            Malformed: the frame is not JSON.
            Invalid: the frame is not one of the protocol; the error names the field.
        """
        try:
            request = self._decode(payload)
        except msgspec.ValidationError as exc:
            raise invalid_from_msgspec(exc) from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            check_surrogates(payload)
            raise Malformed("a frame must be JSON", code="malformed_json") from None
        except RecursionError:
            raise Malformed(
                "the JSON must not be nested so deeply", code="malformed_json"
            ) from None
        ref = request.ref
        if ref is not None and not 0 < len(ref) <= MAX_REF:
            raise _bad_ref(ref)
        return request


def _check_request(request: type[msgspec.Struct]) -> None:
    config = request.__struct_config__
    if config.tag is None or not config.forbid_unknown_fields:
        raise ValueError(f"{request.__name__} must have a tag and refuse unknown fields")
    if "ref" not in request.__struct_fields__:
        raise ValueError(f"{request.__name__} must have a field ref")


def _with_check(command: Command) -> Command:
    access: Access = command.access
    handler = command.handler

    def handle(connection: Any, request: Any) -> Handled:
        access.check(connection)
        return handler(connection, request)

    return replace(command, handler=handle)


def _bad_ref(ref: str) -> Invalid:
    if not ref:
        return Invalid.at("/ref", "too_short", "ref must have at least 1 character", 1)
    return Invalid.at("/ref", "too_long", f"ref must have at most {MAX_REF} characters", MAX_REF)
