"""Servers that break one promise each, and the checks that have to notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlencode

from chatsvc.wire import frames
from chatsvc_conformance.checks import ALL
from chatsvc_conformance.framing import RawFrame, client_frame
from tests.e2e.support.faulty_proxy import Fault, Frame, Link, Message, Proxy

MESSAGES: Final = "/api/messages"
_MAX: Final = (1 << 64) - 1


class Broken(NamedTuple):
    """``caught_by`` are the checks that fail, each of them."""

    fault: Fault
    caught_by: tuple[str, ...]


# What passes over HTTP


def _answer(change: Callable[[Any], Any], *paths: str) -> Fault:
    """Change the JSON of good answers, of these paths alone if they are given."""

    def response(proxy: Proxy, request: Message, answer: Message) -> None:
        at = request.path if request.start.count(" ") == 2 else ""
        body = answer.json
        if answer.status < 300 and isinstance(body, dict) and (not paths or at.startswith(paths)):
            answer.json = change(body)

    return Fault(response=response)


def _fields(**fields: Any) -> Callable[[Any], Any]:
    return lambda body: body | fields


def _status(old: int, new: int) -> Fault:
    def response(proxy: Proxy, request: Message, answer: Message) -> None:
        if answer.status == old:
            answer.status = new

    return Fault(response=response)


def _without_header(name: str) -> Fault:
    return Fault(response=lambda proxy, request, answer: answer.drop(name))


def _problem(change: Callable[[Any], None]) -> Fault:
    def response(proxy: Proxy, request: Message, answer: Message) -> None:
        if answer.get("Content-Type").startswith("application/problem+json"):
            document = answer.json
            change(document)
            answer.json = document

    return Fault(response=response)


def _no_pointers(document: Any) -> None:
    document["errors"] = []


def _no_limits(document: Any) -> None:
    for fault in document["errors"]:
        fault.pop("limit", None)


def _another_request_id(document: Any) -> None:
    document["request_id"] = "another"


def _plain_json(proxy: Proxy, request: Message, answer: Message) -> None:
    if answer.get("Content-Type").startswith("application/problem+json"):
        answer.set("Content-Type", "application/json")


def _without_parameter(name: str) -> Fault:
    def request(message: Message) -> None:
        path, _, query = message.target.partition("?")
        kept = [(n, v) for n, v in parse_qsl(query, keep_blank_values=True) if n != name]
        message.target = path + (f"?{urlencode(kept)}" if kept else "")

    return Fault(request=request)


def _utf16(body: Any) -> Any:
    if "channel" in body:
        people = sorted(body["participants"], key=lambda user: user.encode("utf-16-be"))
        body["channel"] = ",".join(people)
    return body


def _ids_descend(body: Any) -> Any:
    if body.get("type") == "message":
        body["id"] = f"{_MAX - int(body['id'], 16):016x}"
    return body


def _backwards(body: Any) -> Any:
    if "messages" in body:
        body["messages"].reverse()
    return body


def _has_more(body: Any) -> Any:
    return body | {"has_more": not body["has_more"]} if "messages" in body else body


def _no_bounds_when_empty(body: Any) -> Any:
    return body | {"before": None, "after": None} if body.get("messages") == [] else body


def _newest_conversation_last(body: Any) -> Any:
    body["conversations"].reverse()
    return body


def _reversed_participants(body: Any) -> Any:
    if "participants" in body:
        body["participants"] = body["participants"][::-1]
    return body


def _with_null_metadata(body: Any) -> Any:
    return {"metadata": None, **body} if body.get("type") == "message" else body


def _accepted_for_ever(body: Any) -> Any:
    return body | {"state": "accepted"} if "state" in body else body


def _without(*names: str) -> Callable[[Any], Any]:
    return lambda body: {name: value for name, value in body.items() if name not in names}


def _undocumented(body: Any) -> Any:
    body["paths"].pop("/api/connections")
    return body


def _nobody(body: Any) -> Any:
    return {"connections": dict.fromkeys(body["connections"], 0)}


def _at_the_door(name: str, change: Callable[[Any], Any]) -> Fault:
    """Change a member of what is sent, before the server sees it."""

    def request(message: Message) -> None:
        body = message.json
        if isinstance(body, dict) and name in body:
            message.json = change(body)

    return Fault(request=request)


def _stripped(body: Any) -> Any:
    content = body["content"]
    return body | {"content": content.strip()} if isinstance(content, str) else body


def _notes_refused(proxy: Proxy, request: Message, answer: Message) -> None:
    body = request.json
    if isinstance(body, dict) and len(body.get("participants", "")) == 1 and answer.status == 201:
        answer.status = 422


def _forget_client_id(message: Message) -> None:
    message.drop("Idempotency-Key")
    body = message.json
    if isinstance(body, dict) and body.pop("client_id", None) is not None:
        message.json = body


def _client_ids_of_everybody(proxy: Proxy, request: Message, answer: Message) -> None:
    """The first answer to a ``client_id``, whoever used it, and where."""
    body = request.json
    if isinstance(body, dict) and "client_id" in body and answer.status == 201:
        answer.body = proxy.memory.setdefault(body["client_id"], answer.body)


def _told_apart(proxy: Proxy, request: Message, answer: Message) -> None:
    """403 for a conversation that exists, 404 for one that does not."""
    if answer.status == 403 and "%21" in request.target.replace("!", "%21"):
        document = answer.json
        answer.status, answer.json = 404, document | {"status": 404}


# What passes over the socket


def _frames(kind: str, change: Callable[[Frame], Frame | None]) -> Fault:
    """Change frames of a type; ``None`` leaves one out."""

    def frame(link: Link, told: Frame) -> list[Frame]:
        if told["type"] != kind:
            return [told]
        changed = change(told)
        return [] if changed is None else [changed]

    return Fault(frame=frame)


def _every_second_message(link: Link, told: Frame) -> list[Frame]:
    if told["type"] != "message":
        return [told]
    count = link.memory["count"] = link.memory.get("count", 0) + 1
    return [told] if count % 2 else []


def _in_pairs_backwards(link: Link, told: Frame) -> list[Frame]:
    if told["type"] != "message":
        return [told]
    held: Frame | None = link.memory.pop("held", None)
    if held is not None:
        return [told, held]
    link.memory["held"] = told
    return []


def _twice(link: Link, told: Frame) -> list[Frame]:
    return [told, told] if told["type"] == "message" else [told]


def _nothing_missed(link: Link, told: Frame) -> list[Frame]:
    """What comes before ``caught_up`` is lost."""
    if told["type"] == "caught_up":
        link.memory["live"] = True
    resuming = "since=" in link.target and "live" not in link.memory
    return [] if resuming and told["type"] == "message" else [told]


def _broadcast(proxy: Proxy, request: Message, answer: Message) -> None:
    """Whoever is connected hears everything."""
    if request.start.startswith("POST /api/messages ") and answer.status == 201:
        for link in proxy.links:
            link.say(answer.json)


def _errors_close(frame: RawFrame) -> bytes:
    if b'"type":"error"' in frame.payload:
        return frames.encode_close(1008)
    return frames.encode(frame.opcode, frame.payload)


def _no_pongs(frame: RawFrame) -> bytes:
    return b"" if frame.opcode == frames.PONG else frames.encode(frame.opcode, frame.payload)


def _no_pings(frame: RawFrame) -> bytes:
    return b"" if frame.opcode == frames.PING else frames.encode(frame.opcode, frame.payload)


def _masked(frame: RawFrame) -> bytes:
    return client_frame(frame.opcode, frame.payload)


def _fresh_ref(told: Frame) -> Frame:
    return told | {"ref": "another"}


def _elsewhere(told: Frame) -> Frame:
    return told | {"cursor": f"{told['epoch']}.{'f' * 16}"}


def _only_participants(body: Any) -> Any:
    """Of a send that names its conversation twice, one name is passed on."""
    return _without("channel")(body) if "participants" in body else body


def _only_participants_sent(frame: Frame) -> None:
    if "participants" in frame:
        frame.pop("channel", None)


def _gap_too_small(told: Frame) -> Frame:
    return told | {"from": told["to"]}


def _ack_ids_descend(told: Frame) -> Frame:
    return told | {"id": f"{_MAX - int(told['id'], 16):016x}"}


def _without_protocol(proxy: Proxy, request: Message, answer: Message) -> None:
    answer.drop("Sec-WebSocket-Protocol")


def _wrong_accept(proxy: Proxy, request: Message, answer: Message) -> None:
    if answer.status == 101:
        answer.set("Sec-WebSocket-Accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")


def _of(*groups: str) -> tuple[str, ...]:
    return tuple(check.name for check in ALL if check.name.startswith(groups))


_LIMITED: Final = (
    "refuse.no-participants",
    "refuse.too-many-participants",
    "refuse.id-empty",
    "refuse.id-too-long",
    "refuse.content-empty",
    "refuse.content-too-long",
    "refuse.client-id-too-long",
)
_NOT_VALUES: Final = (
    "refuse.not-json",
    "refuse.not-utf8",
    "refuse.lone-surrogate",
    "refuse.not-an-object",
    "refuse.nested-beyond-reading",
    "refuse.body-too-large",
    "refuse.media-type",
    "refuse.sender-not-among-them",
    "refuse.path-and-method",
    "refuse.not-http",
)

BROKEN: Final[dict[str, Broken]] = {
    "health-hides-the-durability": Broken(
        _answer(_without("durability"), "/health"), ("health.report",)
    ),
    "no-health-live": Broken(
        Fault(request=lambda message: setattr(message, "target", "/nowhere")), ("health.live",)
    ),
    "an-undocumented-path": Broken(
        _answer(_undocumented, "/openapi.json"), ("documents.for-machines",)
    ),
    "nobody-is-connected": Broken(_answer(_nobody, "/api/connections"), ("connections.count",)),
    "conversations-oldest-first": Broken(
        _answer(_newest_conversation_last, "/api/conversations"), ("conversations.newest-first",)
    ),
    "before-is-ignored": Broken(
        _without_parameter("before"), ("conversations.paging", "read.before", "read.page-by-page")
    ),
    "anybody-is-let-in": Broken(_status(401, 200), (*_of("token."), "socket-token.header-refused")),
    "no-challenge": Broken(_without_header("WWW-Authenticate"), ("token.missing", "token.expired")),
    "another-user-in-hello": Broken(
        _frames("hello", lambda told: told | {"user": "somebody"}),
        ("socket.hello", "socket-token.header", "socket-token.subprotocol"),
    ),
    "no-subprotocol-chosen": Broken(
        Fault(response=_without_protocol), ("socket-token.subprotocol",)
    ),
    "every-close-is-1000": Broken(
        Fault(code=lambda code: 1000),
        (
            "socket-token.subprotocol-refused",
            "socket-token.subprotocol-missing",
            "socket-token.subprotocol-expired",
            "socket-token.version",
            "socket.auth-of-another",
            "framing.binary",
            "framing.not-utf8",
            "framing.too-big",
            "framing.unmasked",
            "framing.broken",
            "framing.close",
        ),
    ),
    "200-for-201": Broken(_status(201, 200), ("send.created",)),
    "no-location": Broken(_without_header("Location"), ("send.location",)),
    "null-for-absent": Broken(_answer(_with_null_metadata), ("send.optional-fields",)),
    "metadata-is-dropped": Broken(
        _at_the_door("metadata", _without("metadata")), ("send.metadata-at-its-bound",)
    ),
    "participants-unsorted": Broken(
        _answer(_reversed_participants), ("send.participants-are-a-set", "send.created")
    ),
    "channels-are-not-taken": Broken(
        _at_the_door("channel", _without("channel")),
        ("channel.names-its-people", "channel.hashed", "channel.of-others"),
    ),
    "two-names-are-taken": Broken(
        Fault(
            request=_at_the_door("channel", _only_participants).request,
            sent=_only_participants_sent,
        ),
        ("channel.exactly-one",),
    ),
    "channels-by-utf16": Broken(
        _answer(_utf16), ("send.channel-key", "send.long-channel-key", "send.at-every-bound")
    ),
    "ids-descend": Broken(_answer(_ids_descend), ("send.ids-ascend",)),
    "content-is-stripped": Broken(
        _at_the_door("content", _stripped), ("send.content-at-its-bound",)
    ),
    "no-notes-to-oneself": Broken(Fault(response=_notes_refused), ("send.to-oneself",)),
    "the-frame-differs": Broken(
        _frames("message", lambda told: told | {"content": "?"}), ("send.one-value", "socket.ack")
    ),
    "client-ids-are-forgotten": Broken(
        Fault(request=_forget_client_id, sent=lambda frame: frame.pop("client_id", None)),
        tuple(name for name in _of("idempotency.") if name != "idempotency.scope"),
    ),
    "client-ids-of-everybody": Broken(
        Fault(response=_client_ids_of_everybody), ("idempotency.scope",)
    ),
    "conflicts-hide-the-first": Broken(
        _problem(lambda document: document.pop("id", None)), ("idempotency.conflict-http",)
    ),
    "pages-newest-first": Broken(
        _answer(_backwards),
        (
            "read.newest",
            "read.around",
            "read.bounds-need-not-exist",
            "read.all-conversations",
            "read.channel-or-participants",
            "read.at-once",
        ),
    ),
    "has-more-is-wrong": Broken(_answer(_has_more), ("read.newest", "read.after")),
    "limit-is-ignored": Broken(_without_parameter("limit"), ("read.newest", "read.page-by-page")),
    "after-is-ignored": Broken(_without_parameter("after"), ("read.after",)),
    "around-is-ignored": Broken(_without_parameter("around"), ("read.around",)),
    "empty-pages-lose-the-bound": Broken(_answer(_no_bounds_when_empty), ("read.empty-page",)),
    "strangers-may-read": Broken(_status(403, 200), ("read.forbidden",)),
    "strangers-learn-what-exists": Broken(Fault(response=_told_apart), ("read.forbidden",)),
    "any-message-is-found": Broken(_status(404, 200), ("read.not-yours", "refuse.path-and-method")),
    "no-state": Broken(_answer(_without("state"), MESSAGES + "/"), ("read.message",)),
    "never-stored": Broken(_answer(_accepted_for_ever), ("read.stored", "socket.receipts")),
    "problems-are-plain-json": Broken(
        Fault(response=_plain_json), (*_of("refuse."), "framing.no-handshake", "socket.parameters")
    ),
    "errors-have-no-pointer": Broken(
        _problem(_no_pointers),
        (*(name for name in _of("refuse.") if name not in _NOT_VALUES), "socket.parameters"),
    ),
    "errors-have-no-limit": Broken(_problem(_no_limits), _LIMITED),
    "another-request-id": Broken(_problem(_another_request_id), ("refuse.path-and-method",)),
    "method-not-allowed-names-none": Broken(_without_header("Allow"), ("refuse.path-and-method",)),
    "hello-has-no-epoch": Broken(_frames("hello", _without("epoch")), ("socket.hello",)),
    "refs-are-changed": Broken(_frames("pong", _fresh_ref), ("socket.without-ref",)),
    "acks-descend": Broken(
        _frames("ack", _ack_ids_descend),
        ("socket.frame-order", "socket.many-unanswered", "channel.order"),
    ),
    "messages-in-another-order": Broken(
        Fault(frame=_in_pairs_backwards),
        ("socket.frame-order", "resume.many", "resume.while-others-speak"),
    ),
    "every-second-is-lost": Broken(Fault(frame=_every_second_message), ("deliver.everybody",)),
    "everything-twice": Broken(
        Fault(frame=_twice), ("deliver.everybody", "resume.what-was-missed", "resume.many")
    ),
    "everybody-hears-everything": Broken(
        Fault(response=_broadcast), ("deliver.nobody-else", "deliver.not-the-sender")
    ),
    "echo-is-ignored": Broken(
        _without_parameter("echo"),
        ("deliver.echo", "deliver.echo-of-one-device", "resume.own-device"),
    ),
    "devices-are-ignored": Broken(
        Fault(request=lambda message: message.drop("Chatsvc-Device")), ("deliver.echo-over-http",)
    ),
    "auth-ok-hides-the-end": Broken(_frames("auth_ok", _without("expires_at")), ("socket.auth",)),
    "errors-close-the-socket": Broken(
        Fault(raw=_errors_close),
        (
            "socket.auth-refused",
            "socket.refused-frames",
            "socket.not-json",
            "socket.error-names-the-bound",
            "idempotency.conflict-socket",
        ),
    ),
    "error-frames-have-no-pointer": Broken(
        _frames("error", _without("pointer")), ("socket.error-names-the-bound",)
    ),
    "what-was-missed-is-lost": Broken(
        Fault(frame=_nothing_missed),
        (
            "resume.what-was-missed",
            "resume.composed-cursor",
            "resume.from-the-beginning",
            "resume.many",
            "resume.not-the-senders-own",
            "resume.caught-up-cursor",
            "position.send-before-caught-up",
        ),
    ),
    "a-cursor-of-elsewhere": Broken(
        _frames("hello", _elsewhere),
        ("position.without-since", "position.of-a-replay", "position.of-a-gap"),
    ),
    "no-pong-frames": Broken(_frames("pong", lambda told: None), ("position.ping",)),
    "never-recovered": Broken(
        _frames("hello", lambda told: told | {"recovered": False}), ("resume.nothing-missed",)
    ),
    "always-recovered": Broken(
        _frames("hello", lambda told: told | {"recovered": True}),
        ("resume.unreadable-cursor", "resume.another-epoch", "position.of-a-gap"),
    ),
    "a-gap-too-small": Broken(
        _frames("gap", _gap_too_small), ("resume.gap-completes", "position.live-beside-a-gap")
    ),
    "no-pongs": Broken(Fault(raw=_no_pongs), ("framing.fragments", "framing.ping")),
    "masked-frames": Broken(Fault(raw=_masked), ("framing.server-frames",)),
    "a-wrong-accept-key": Broken(Fault(response=_wrong_accept), ("framing.accept",)),
}

BROKEN_HEARTBEAT: Final[dict[str, Broken]] = {
    "no-pings": Broken(Fault(raw=_no_pings), ("socket.heartbeat",)),
    "no-pong-frames": Broken(_frames("pong", lambda told: None), ("position.heard",)),
    "missed-is-1000": Broken(Fault(code=lambda code: 1000), ("socket.heartbeat-missed",)),
}
