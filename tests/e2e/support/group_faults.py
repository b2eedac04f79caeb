"""What a broken server does to groups."""

from __future__ import annotations

from typing import Any, Final

from tests.e2e.support.faulty_proxy import Fault, Frame, Link, Message, Proxy

GROUPS: Final = "/api/groups"
_UNKNOWN: Final = "0" * 32


def method_for(method: str, other: str, *, below: bool) -> Fault:
    """A change that is answered as a read: nothing happens.

    Args:
        below: of what is below a group; otherwise of the group itself.
    """

    def request(message: Message) -> None:
        parts = message.path.split("/")
        if message.start.startswith(f"{method} {GROUPS}/") and (len(parts) > 4) is below:
            message.start = message.start.replace(method, other, 1)
            message.body = b""
            message.drop("Content-Type")

    return Fault(request=request)


def unknown_is_404(proxy: Proxy, request: Message, answer: Message) -> None:
    if answer.status == 403 and request.path.startswith(f"{GROUPS}/{_UNKNOWN}"):
        answer.status, answer.json = 404, answer.json | {"status": 404}


def everybody_is_a_member(body: Any) -> Any:
    """No page of members says who leads."""
    if "members" not in body:
        return body
    return body | {"members": [one | {"role": "member"} for one in body["members"]]}


def first_page_alone(body: Any) -> Any:
    return body | {"after": None} if "members" in body or "groups" in body else body


def another_record(proxy: Proxy, request: Message, answer: Message) -> None:
    """Each repeat is told to have done it."""
    if request.start.startswith(f"DELETE {GROUPS}/") and answer.status == 200:
        proxy.memory["count"] = proxy.memory.get("count", 0) + 1
        answer.json = {"id": f"{proxy.memory['count']:016x}"}


def history_for_everybody(proxy: Proxy, request: Message, answer: Message) -> None:
    """Pages of a group show whatever was sent to it."""
    body = answer.json
    if not isinstance(body, dict):
        return
    sent: list[Any] = proxy.memory.setdefault("sent", [])
    if request.start.startswith("POST /api/messages ") and answer.status == 201:
        sent.append(body)
    elif request.start.startswith("GET /api/messages") and answer.status == 200:
        answer.json = body | {"messages": sent}


def later_replayed(link: Link, told: Frame) -> list[Frame]:
    """What follows the end of a membership is replayed, too."""
    if told.get("change") not in ("removed", "banned"):
        return [told]
    later = {**told, "type": "message", "id": told["id"][:-1] + "1", "content": "after"}
    return [told, later]


def unsaid_ends(link: Link, told: Frame) -> list[Frame]:
    """Who is removed is not told."""
    return [] if told.get("change") in ("removed", "left") else [told]


def links_for_ever(message: Message) -> None:
    """A revocation is answered as a list: the link stays."""
    if message.start.startswith(f"DELETE {GROUPS}/") and "/links/" in message.path:
        message.start = message.start.replace("DELETE", "GET", 1)
        message.target = message.path.partition("/links/")[0] + "/links"


def bans_for_ever(message: Message) -> None:
    """The end of a ban is answered as its beginning: the ban stays."""
    if message.start.startswith(f"DELETE {GROUPS}/") and "/bans/" in message.path:
        message.start = message.start.replace("DELETE", "PUT", 1)


def links_of_nobody(body: Any) -> Any:
    return body | {"code": _UNKNOWN * 2}


def links_told_apart(proxy: Proxy, request: Message, answer: Message) -> None:
    """Why a code cannot be used is told."""
    codes: set[str] = proxy.memory.setdefault("codes", set())
    if request.path.endswith("/links") and answer.status == 201:
        codes.add(answer.json["code"])
    elif (
        answer.status == 404 and request.path == f"{GROUPS}/join" and request.json["code"] in codes
    ):
        answer.json = answer.json | {"detail": "the link must not be used up or revoked"}


def codes_for_everybody(proxy: Proxy, request: Message, answer: Message) -> None:
    """Whoever is connected is told a new link with its code."""
    if request.path.endswith("/links") and answer.status == 201:
        told = {"type": "group", "change": "links", "code": answer.json["code"]}
        for link in proxy.links:
            link.say(told | {"channel": f",g:{request.path.split('/')[3]}"})


def bans_for_everybody(proxy: Proxy, request: Message, answer: Message) -> None:
    """Whoever is connected hears who was banned."""
    if request.start.startswith(f"PUT {GROUPS}/") and "/bans/" in request.path:
        told = {"type": "membership", "change": "banned"}
        for link in proxy.links:
            link.say(told | {"channel": f",g:{request.path.split('/')[3]}"})


def memberships_for_everybody(proxy: Proxy, request: Message, answer: Message) -> None:
    """Whoever is connected hears who was added."""
    parts = request.path.split("/")
    if request.start.startswith(f"PUT {GROUPS}/") and answer.status == 200:
        body = answer.json
        frame = {"type": "membership", "id": body["joined"], "users": [body["user"]]}
        for link in proxy.links:
            link.say(frame | {"channel": f",g:{parts[3]}"})
