"""Everything that is refused: status, problem document, pointer and bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from chatsvc_conformance.bounds import Bounds
from chatsvc_conformance.check import Check, check
from chatsvc_conformance.context import Context, conversation_of
from chatsvc_conformance.expect import Skipped, expect, same, shown
from chatsvc_conformance.http import Answer, encoded
from chatsvc_conformance.raw_socket import RawSocket
from chatsvc_conformance.tokens import User, fresh_name

_VALUE = "422 | a value beyond its limit, of the wrong type or without meaning, an unknown field"
_UNREADABLE = "400 | not HTTP, not JSON, not UTF-8"

Body = dict[str, Any]
Change = Callable[[Body, Bounds], Body]
"""From a body that would be accepted, and the bounds in force, to one that is refused."""


class _Bad(NamedTuple):
    """A change that makes a good body bad, and where the refusal must point.

    ``limit`` takes the bound that it must name from those in force; ``None``: none is checked.
    """

    name: str
    change: Change
    pointer: str
    limit: Callable[[Bounds], int] | None = None


def _with(**fields: Any) -> Change:
    return lambda body, limits: {**body, **fields}


def _joined_by(*people: str) -> Change:
    return lambda body, limits: {**body, "participants": [*body["participants"], *people]}


def _without(field: str) -> Change:
    return lambda body, limits: {name: body[name] for name in body if name != field}


def _nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"x": value}
    return value


_BAD: Final = (
    _Bad("unknown-field", _with(colour="red"), "/colour"),
    _Bad("participants-missing", _without("participants"), "/participants"),
    _Bad("content-missing", _without("content"), "/content"),
    _Bad("content-of-wrong-type", _with(content=7), "/content"),
    _Bad("participants-of-wrong-type", _with(participants="alice,bob"), "/participants"),
    _Bad("participant-of-wrong-type", _joined_by(7), "/participants/1"),  # type: ignore[arg-type]
    _Bad("no-participants", _with(participants=[]), "/participants", lambda limits: 1),
    _Bad(
        "too-many-participants",
        lambda body, limits: {
            **body,
            "participants": [
                *body["participants"],
                *(f"{number}" for number in range(limits.participants)),
            ],
        },
        "/participants",
        lambda limits: limits.participants,
    ),
    _Bad("id-empty", _joined_by(""), "/participants/1", lambda limits: 1),
    _Bad(
        "id-too-long",
        lambda body, limits: {
            **body,
            "participants": [*body["participants"], "é" * (limits.user_id_characters + 1)],
        },
        "/participants/1",
        lambda limits: limits.user_id_characters,
    ),
    _Bad("id-with-comma", _joined_by("a,b"), "/participants/1"),
    _Bad("id-with-control-character", _joined_by("a\x00b"), "/participants/1"),
    _Bad("id-with-c1-control-character", _joined_by("a\x85b"), "/participants/1"),
    _Bad("id-with-white-space-before", _joined_by(" a"), "/participants/1"),
    _Bad("id-with-white-space-after", _joined_by("a\u3000"), "/participants/1"),
    _Bad("id-not-nfc", _joined_by("e\u0301"), "/participants/1"),
    _Bad("content-empty", _with(content=""), "/content", lambda limits: 1),
    _Bad(
        "content-too-long",
        lambda body, limits: {**body, "content": "x" * (limits.content_characters + 1)},
        "/content",
        lambda limits: limits.content_characters,
    ),
    _Bad("content-with-nul", _with(content="a\x00b"), "/content"),
    _Bad("client-id-empty", _with(client_id=""), "/client_id"),
    _Bad("client-id-too-long", _with(client_id="x" * 65), "/client_id", lambda limits: 64),
    _Bad("client-id-not-ascii", _with(client_id="é"), "/client_id"),
    _Bad("metadata-of-wrong-type", _with(metadata=[1]), "/metadata"),
    # Beyond whatever a server may be set to.
    _Bad("metadata-too-large", _with(metadata={"x": "y" * 70_000}), "/metadata"),
    _Bad("metadata-too-deep", _with(metadata=_nested(60)), "/metadata"),
)


def _refusal(bad: _Bad) -> Check:
    async def body(context: Context) -> None:
        (alice,) = await context.users(1)
        good = {"participants": [alice.id], "content": fresh_name()}
        wrong = bad.change(good, context.limits)
        problem = (
            await context.api.call("POST", "/api/messages", token=alice.token, json=wrong)
        ).problem(422)
        _points_at(problem, bad.pointer, bad.limit(context.limits) if bad.limit else None)
        page = await context.page(alice, conversation_of(alice.id), limit="1")
        contents = [message["content"] for message in page["messages"]]
        expect(good["content"] not in contents, "what was refused must not be in history")

    return Check(f"refuse.{bad.name}", "Errors", _VALUE, body)


REFUSALS: Final = tuple(_refusal(bad) for bad in _BAD)


def _points_at(problem: Mapping[str, Any], pointer: str, limit: int | None = None) -> None:
    found = [error for error in problem["errors"] if error["pointer"] == pointer]
    expect(found, f"errors must point at {pointer!r}: {shown(problem['errors'])}")
    if limit is not None:
        same(found[0].get("limit"), limit, "limit")


async def _post(context: Context, user: User, data: bytes, **headers: str) -> Answer:
    return await context.api.call(
        "POST", "/api/messages", token=user.token, data=data, headers=headers
    )


@check("refuse.not-json", "Errors", _UNREADABLE)
async def not_json(context: Context) -> None:
    (alice,) = await context.users(1)
    good = encoded({"participants": [alice.id], "content": "x"})
    for data in (good + b"{}", good[:-1], b"", b"{", b"no", b'{"content":}', b"{'a':1}", b"NaN"):
        (await _post(context, alice, data)).problem(400)


@check("refuse.not-utf8", "Errors", _UNREADABLE)
async def not_utf8(context: Context) -> None:
    (alice,) = await context.users(1)
    good = encoded({"participants": [alice.id], "content": "?"})
    for bad in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80"):
        (await _post(context, alice, good.replace(b"?", bad))).problem(400)


@check(
    "refuse.lone-surrogate", "Data types", "`content` is 1 to 16,000 characters of valid Unicode"
)
async def lone_surrogate(context: Context) -> None:
    (alice,) = await context.users(1)
    good = encoded({"participants": [alice.id], "content": "?"})
    (await _post(context, alice, good.replace(b"?", b"\\ud800"))).problem(400, 422)


@check("refuse.not-an-object", "Errors", _VALUE)
async def not_an_object(context: Context) -> None:
    (alice,) = await context.users(1)
    for data in (b"[]", b"null", b'"x"', b"7"):
        (await _post(context, alice, data)).problem(422)


@check("refuse.nested-beyond-reading", "Errors", _UNREADABLE)
async def nested(context: Context) -> None:
    (alice,) = await context.users(1)
    data = b'{"metadata":' + b'{"x":' * 30_000 + b"1" + b"}" * 30_000 + b"}"
    (await _post(context, alice, data)).problem(400, 422)


@check("refuse.body-too-large", "HTTP", "at most 256 KiB")
async def body_too_large(context: Context) -> None:
    (alice,) = await context.users(1)
    body = {"participants": [alice.id], "content": "x" * 300 * 1024}
    answer = await context.api.call("POST", "/api/messages", token=alice.token, json=body)
    if answer.status == 422:
        raise Skipped("this server is set to take bodies of 300 KiB")
    answer.problem(413)


@check("refuse.media-type", "Errors", "413, 415 | body beyond its limit; not `application/json`")
async def media_type(context: Context) -> None:
    (alice,) = await context.users(1)
    data = encoded({"participants": [alice.id], "content": "x"})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json5"):
        problem = (await _post(context, alice, data, **{"Content-Type": kind})).problem(415)
        expect("application/json" in problem["detail"], "detail must name application/json")


@check("refuse.sender-not-among-them", "Data types", "They must include the sender")
async def sender_not_among_them(context: Context) -> None:
    alice, bob = await context.users(2)
    (await context.post(alice, context.conversation(bob))).problem(403)


@check("refuse.parameters", "HTTP", "Requests are strict: an unknown field or parameter is refused")
async def parameters(context: Context) -> None:
    (alice,) = await context.users(1)
    some_id = "0" * 16
    for query, pointer in (
        ({"colour": "red"}, "/colour"),
        ({"limit": "0"}, "/limit"),
        ({"limit": "1001"}, "/limit"),
        ({"limit": "ten"}, "/limit"),
        ({"before": "x"}, "/before"),
        ({"after": "A" * 16}, "/after"),
        ({"around": "0" * 17}, "/around"),
        ({"before": some_id, "after": some_id}, None),
    ):
        for path in ("/api/messages/get", "/api/messages"):
            answer = await context.get(alice, path, participants=alice.id, **query)
            problem = answer.problem(422)
            if pointer is not None:
                _points_at(problem, pointer)


@check("refuse.connections", "Conversations and connection counts", "for 1 to 1,000 users")
async def connections(context: Context) -> None:
    (alice,) = await context.users(1)
    for users, pointer in (
        ([], "/users"),
        ([f"{number}" for number in range(1001)], "/users"),
        (["a", "b,c"], "/users/1"),
        ("alice", "/users"),
    ):
        answer = await context.api.call(
            "POST", "/api/connections", token=alice.token, json={"users": users}
        )
        _points_at(answer.problem(422), pointer)


@check("refuse.path-and-method", "Errors", "404, 405 | no such path or message; another method")
async def path_and_method(context: Context) -> None:
    (alice,) = await context.users(1)
    for path in ("/nothing", "/api/nothing", "/api/messages/a/b"):
        (await context.get(alice, path)).problem(404)
    for method, path, allowed in (
        ("DELETE", "/api/messages", {"GET", "POST"}),
        ("PUT", "/api/conversations", {"GET"}),
        ("GET", "/api/connections", {"POST"}),
    ):
        answer = await context.api.call(method, path, token=alice.token)
        answer.problem(405)
        allow = {word.strip() for word in answer.headers.get("Allow", "").split(",")}
        expect(allowed <= allow, f"Allow must hold {sorted(allowed)}: {sorted(allow)}")


@check("refuse.not-http", "Errors", "the HTTP parser's own included")
async def not_http(context: Context) -> None:
    for sent in (b"NONSENSE\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n"):
        async with await RawSocket.connect(context.api.base, context.timeout) as raw:
            raw.write(sent)
            head, body = await raw.response()
        line, *fields = head.splitlines()
        headers = {
            name.strip().title(): value.strip()
            for name, _, value in (field.partition(":") for field in fields)
        }
        Answer("what is not HTTP", int(line.split()[1]), headers, body).problem(400)
