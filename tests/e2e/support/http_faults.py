"""What a broken server does to requests and answers of HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from tests.e2e.support.faulty_proxy import Fault, Message, Proxy

_MAX: Final = (1 << 64) - 1


def changed_answer(change: Callable[[Any], Any], *paths: str) -> Fault:
    """Change the JSON of good answers, of these paths alone if they are given."""

    def response(proxy: Proxy, request: Message, answer: Message) -> None:
        at = request.path if request.start.count(" ") == 2 else ""
        body = answer.json
        if answer.status < 300 and isinstance(body, dict) and (not paths or at.startswith(paths)):
            answer.json = change(body)

    return Fault(response=response)


def changed_status(old: int, new: int) -> Fault:
    def response(proxy: Proxy, request: Message, answer: Message) -> None:
        if answer.status == old:
            answer.status = new

    return Fault(response=response)


def without_header(name: str) -> Fault:
    return Fault(response=lambda proxy, request, answer: answer.drop(name))


def changed_problem(change: Callable[[Any], None]) -> Fault:
    def response(proxy: Proxy, request: Message, answer: Message) -> None:
        if answer.get("Content-Type").startswith("application/problem+json"):
            document = answer.json
            change(document)
            answer.json = document

    return Fault(response=response)


def no_pointers(document: Any) -> None:
    document["errors"] = []


def no_limits(document: Any) -> None:
    for fault in document["errors"]:
        fault.pop("limit", None)


def another_request_id(document: Any) -> None:
    document["request_id"] = "another"


def plain_json(proxy: Proxy, request: Message, answer: Message) -> None:
    if answer.get("Content-Type").startswith("application/problem+json"):
        answer.set("Content-Type", "application/json")


def without_parameter(name: str) -> Fault:
    def request(message: Message) -> None:
        path, _, query = message.target.partition("?")
        kept = [(n, v) for n, v in parse_qsl(query, keep_blank_values=True) if n != name]
        message.target = path + (f"?{urlencode(kept)}" if kept else "")

    return Fault(request=request)


def utf16(body: Any) -> Any:
    if "channel" in body:
        people = sorted(body["participants"], key=lambda user: user.encode("utf-16-be"))
        body["channel"] = ",".join(people)
    return body


def ids_descend(body: Any) -> Any:
    if body.get("type") == "message":
        body["id"] = f"{_MAX - int(body['id'], 16):016x}"
    return body


def backwards(body: Any) -> Any:
    if "messages" in body:
        body["messages"].reverse()
    return body


def has_more(body: Any) -> Any:
    return body | {"has_more": not body["has_more"]} if "messages" in body else body


def no_bounds_when_empty(body: Any) -> Any:
    return body | {"before": None, "after": None} if body.get("messages") == [] else body


def newest_conversation_last(body: Any) -> Any:
    body["conversations"].reverse()
    return body


def reversed_participants(body: Any) -> Any:
    if "participants" in body:
        body["participants"] = body["participants"][::-1]
    return body


def with_null_metadata(body: Any) -> Any:
    return {"metadata": None, **body} if body.get("type") == "message" else body


def accepted_for_ever(body: Any) -> Any:
    return body | {"state": "accepted"} if "state" in body else body


def without(*names: str) -> Callable[[Any], Any]:
    return lambda body: {name: value for name, value in body.items() if name not in names}


def undocumented(body: Any) -> Any:
    body["paths"].pop("/api/connections")
    return body


def nobody(body: Any) -> Any:
    return {"connections": dict.fromkeys(body["connections"], 0)}


def at_the_door(name: str, change: Callable[[Any], Any]) -> Fault:
    """Change a member of what is sent, before the server sees it."""

    def request(message: Message) -> None:
        body = message.json
        if isinstance(body, dict) and name in body:
            message.json = change(body)

    return Fault(request=request)


def stripped(body: Any) -> Any:
    content = body["content"]
    return body | {"content": content.strip()} if isinstance(content, str) else body


def notes_refused(proxy: Proxy, request: Message, answer: Message) -> None:
    body = request.json
    if isinstance(body, dict) and len(body.get("participants", "")) == 1 and answer.status == 201:
        answer.status = 422


def forget_client_id(message: Message) -> None:
    message.drop("Idempotency-Key")
    body = message.json
    if isinstance(body, dict) and body.pop("client_id", None) is not None:
        message.json = body


def client_ids_of_everybody(proxy: Proxy, request: Message, answer: Message) -> None:
    """The first answer to a ``client_id``, whoever used it, and where."""
    body = request.json
    if isinstance(body, dict) and "client_id" in body and answer.status == 201:
        answer.body = proxy.memory.setdefault(body["client_id"], answer.body)


def told_apart(proxy: Proxy, request: Message, answer: Message) -> None:
    """403 for a conversation that exists, 404 for one that does not."""
    if answer.status == 403 and "%21" in request.target.replace("!", "%21"):
        document = answer.json
        answer.status, answer.json = 404, document | {"status": 404}


def only_participants(body: Any) -> Any:
    """Of a send that names its conversation twice, one name is passed on."""
    return without("channel")(body) if "participants" in body else body
