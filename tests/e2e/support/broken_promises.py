"""Servers that break one promise each, and the checks that have to notice."""

from __future__ import annotations

from typing import Final, NamedTuple

from chatsvc_conformance.checks import ALL
from tests.e2e.support import group_faults as groups
from tests.e2e.support import http_faults as http
from tests.e2e.support import socket_faults as socket
from tests.e2e.support.faulty_proxy import Fault

MESSAGES: Final = "/api/messages"


class Broken(NamedTuple):
    """``caught_by`` are the checks that fail, each of them."""

    fault: Fault
    caught_by: tuple[str, ...]


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
        http.changed_answer(http.without("durability"), "/health"), ("health.report",)
    ),
    "no-health-live": Broken(
        Fault(request=lambda message: setattr(message, "target", "/nowhere")), ("health.live",)
    ),
    "an-undocumented-path": Broken(
        http.changed_answer(http.undocumented, "/openapi.json"), ("documents.for-machines",)
    ),
    "nobody-is-connected": Broken(
        http.changed_answer(http.nobody, "/api/connections"), ("connections.count",)
    ),
    "conversations-oldest-first": Broken(
        http.changed_answer(http.newest_conversation_last, "/api/conversations"),
        ("conversations.newest-first",),
    ),
    "before-is-ignored": Broken(
        http.without_parameter("before"),
        ("conversations.paging", "read.before", "read.page-by-page"),
    ),
    "anybody-is-let-in": Broken(
        http.changed_status(401, 200), (*_of("token."), "socket-token.header-refused")
    ),
    "no-challenge": Broken(
        http.without_header("WWW-Authenticate"), ("token.missing", "token.expired")
    ),
    "another-user-in-hello": Broken(
        socket.changed_frames("hello", lambda told: told | {"user": "somebody"}),
        ("socket.hello", "socket-token.header", "socket-token.subprotocol"),
    ),
    "no-subprotocol-chosen": Broken(
        Fault(response=socket.without_protocol), ("socket-token.subprotocol",)
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
    "200-for-201": Broken(http.changed_status(201, 200), ("send.created",)),
    "no-location": Broken(http.without_header("Location"), ("send.location",)),
    "null-for-absent": Broken(
        http.changed_answer(http.with_null_metadata), ("send.optional-fields",)
    ),
    "metadata-is-dropped": Broken(
        http.at_the_door("metadata", http.without("metadata")), ("send.metadata-at-its-bound",)
    ),
    "participants-unsorted": Broken(
        http.changed_answer(http.reversed_participants),
        ("send.participants-are-a-set", "send.created"),
    ),
    "channels-are-not-taken": Broken(
        http.at_the_door("channel", http.without("channel")),
        ("channel.names-its-people", "channel.hashed", "channel.of-others"),
    ),
    "two-names-are-taken": Broken(
        Fault(
            request=http.at_the_door("channel", http.only_participants).request,
            sent=socket.only_participants_sent,
        ),
        ("channel.exactly-one",),
    ),
    "channels-by-utf16": Broken(
        http.changed_answer(http.utf16),
        ("send.channel-key", "send.long-channel-key", "send.at-every-bound"),
    ),
    "ids-descend": Broken(http.changed_answer(http.ids_descend), ("send.ids-ascend",)),
    "content-is-stripped": Broken(
        http.at_the_door("content", http.stripped), ("send.content-at-its-bound",)
    ),
    "no-notes-to-oneself": Broken(Fault(response=http.notes_refused), ("send.to-oneself",)),
    "the-frame-differs": Broken(
        socket.changed_frames("message", lambda told: told | {"content": "?"}),
        ("send.one-value", "socket.ack"),
    ),
    "client-ids-are-forgotten": Broken(
        Fault(request=http.forget_client_id, sent=lambda frame: frame.pop("client_id", None)),
        (
            *(name for name in _of("idempotency.") if name != "idempotency.scope"),
            "groups.create-again",
            "groups.send-again",
        ),
    ),
    "client-ids-of-everybody": Broken(
        Fault(response=http.client_ids_of_everybody), ("idempotency.scope",)
    ),
    "conflicts-hide-the-first": Broken(
        http.changed_problem(lambda document: document.pop("id", None)),
        ("idempotency.conflict-http",),
    ),
    "pages-newest-first": Broken(
        http.changed_answer(http.backwards),
        (
            "read.newest",
            "read.around",
            "read.bounds-need-not-exist",
            "read.all-conversations",
            "read.channel-or-participants",
            "read.at-once",
        ),
    ),
    "has-more-is-wrong": Broken(http.changed_answer(http.has_more), ("read.newest", "read.after")),
    "limit-is-ignored": Broken(
        http.without_parameter("limit"), ("read.newest", "read.page-by-page")
    ),
    "after-is-ignored": Broken(
        http.without_parameter("after"), ("read.after", "changes.frames", "changes.up-to")
    ),
    "around-is-ignored": Broken(http.without_parameter("around"), ("read.around",)),
    "empty-pages-lose-the-bound": Broken(
        http.changed_answer(http.no_bounds_when_empty), ("read.empty-page",)
    ),
    "strangers-may-read": Broken(
        http.changed_status(403, 200), ("read.forbidden", "changes.of-others")
    ),
    "kinds-are-ignored": Broken(http.without_parameter("kinds"), ("changes.kinds", "socket.kinds")),
    "strangers-learn-what-exists": Broken(Fault(response=http.told_apart), ("read.forbidden",)),
    "any-message-is-found": Broken(
        http.changed_status(404, 200), ("read.not-yours", "refuse.path-and-method")
    ),
    "no-state": Broken(
        http.changed_answer(http.without("state"), MESSAGES + "/"), ("read.message",)
    ),
    "never-stored": Broken(
        http.changed_answer(http.accepted_for_ever), ("read.stored", "socket.receipts")
    ),
    "problems-are-plain-json": Broken(
        Fault(response=http.plain_json),
        (*_of("refuse."), "framing.no-handshake", "socket.parameters"),
    ),
    "errors-have-no-pointer": Broken(
        http.changed_problem(http.no_pointers),
        (*(name for name in _of("refuse.") if name not in _NOT_VALUES), "socket.parameters"),
    ),
    "errors-have-no-limit": Broken(http.changed_problem(http.no_limits), _LIMITED),
    "another-request-id": Broken(
        http.changed_problem(http.another_request_id), ("refuse.path-and-method",)
    ),
    "method-not-allowed-names-none": Broken(
        http.without_header("Allow"), ("refuse.path-and-method",)
    ),
    "hello-has-no-epoch": Broken(
        socket.changed_frames("hello", http.without("epoch")), ("socket.hello",)
    ),
    "refs-are-changed": Broken(
        socket.changed_frames("pong", socket.fresh_ref), ("socket.without-ref",)
    ),
    "acks-descend": Broken(
        socket.changed_frames("ack", socket.ack_ids_descend),
        ("socket.frame-order", "socket.many-unanswered", "channel.order"),
    ),
    "messages-in-another-order": Broken(
        Fault(frame=socket.in_pairs_backwards),
        ("socket.frame-order", "resume.many", "resume.while-others-speak"),
    ),
    "every-second-is-lost": Broken(
        Fault(frame=socket.every_second_message), ("deliver.everybody",)
    ),
    "everything-twice": Broken(
        Fault(frame=socket.twice), ("deliver.everybody", "resume.what-was-missed", "resume.many")
    ),
    "everybody-hears-everything": Broken(
        Fault(response=socket.broadcast),
        ("deliver.nobody-else", "deliver.not-the-sender", "groups.nobody-else", "groups.removed"),
    ),
    "echo-is-ignored": Broken(
        http.without_parameter("echo"),
        ("deliver.echo", "deliver.echo-of-one-device", "resume.own-device"),
    ),
    "devices-are-ignored": Broken(
        Fault(request=lambda message: message.drop("Chatsvc-Device")), ("deliver.echo-over-http",)
    ),
    "auth-ok-hides-the-end": Broken(
        socket.changed_frames("auth_ok", http.without("expires_at")), ("socket.auth",)
    ),
    "errors-close-the-socket": Broken(
        Fault(raw=socket.errors_close),
        (
            "socket.auth-refused",
            "socket.refused-frames",
            "socket.not-json",
            "socket.error-names-the-bound",
            "idempotency.conflict-socket",
        ),
    ),
    "error-frames-have-no-pointer": Broken(
        socket.changed_frames("error", http.without("pointer")), ("socket.error-names-the-bound",)
    ),
    "what-was-missed-is-lost": Broken(
        Fault(frame=socket.nothing_missed),
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
    "groups-have-another-channel": Broken(
        http.changed_answer(lambda body: body | {"channel": ",g:x"}, groups.GROUPS),
        ("groups.create",),
    ),
    "groups-stay-as-they-are": Broken(
        groups.method_for("PATCH", "GET", below=False), ("groups.update",)
    ),
    "groups-are-for-ever": Broken(
        groups.method_for("DELETE", "GET", below=False), ("groups.delete",)
    ),
    "groups-take-what-they-like": Broken(
        http.at_the_door("members", http.without("join", "history")),
        ("groups.open", "groups.history"),
    ),
    "groups-end-at-the-first-page": Broken(
        http.changed_answer(groups.first_page_alone, groups.GROUPS),
        ("groups.list", "groups.members"),
    ),
    "groups-without-leaders": Broken(
        http.changed_answer(groups.everybody_is_a_member, groups.GROUPS),
        ("groups.create", "groups.successor"),
    ),
    "groups-that-are-not-there-are-404": Broken(
        Fault(response=groups.unknown_is_404), ("groups.unknown-and-foreign",)
    ),
    "everything-is-permitted": Broken(
        http.changed_status(403, 200),
        (
            "groups.nobody-else",
            "groups.send-after-removal",
            "groups.former-member",
            "groups.moderators",
            "groups.admins",
            "groups.link-leaders",
            "groups.banned",
            "groups.ban-of-others",
            "groups.ban-of-leaders",
            "groups.ban-pages",
        ),
    ),
    "groups-need-no-admin": Broken(http.changed_status(409, 200), ("groups.last-admin",)),
    "each-removal-is-another": Broken(Fault(response=groups.another_record), ("groups.repeats",)),
    "groups-show-everything": Broken(
        Fault(response=groups.history_for_everybody),
        ("groups.former-member", "groups.history", "groups.ban-pages", "groups.ban-ended"),
    ),
    "groups-replay-what-came-later": Broken(
        Fault(frame=groups.later_replayed),
        ("groups.replay", "groups.removed", "groups.ban-replay", "groups.ban-frames"),
    ),
    "codes-lead-nowhere": Broken(
        http.at_the_door("code", groups.links_of_nobody), ("groups.link", "groups.link-revoked")
    ),
    "links-are-for-any-number": Broken(
        http.at_the_door("max_uses", http.without("max_uses")),
        ("groups.link-uses", "groups.link-unusable"),
    ),
    "links-and-bans-have-no-end": Broken(
        http.at_the_door("expires_in", http.without("expires_in")),
        ("groups.link-expires", "groups.ban-expires"),
    ),
    "links-are-never-revoked": Broken(
        Fault(request=groups.links_for_ever), ("groups.link-revoked", "groups.link-leaders")
    ),
    "links-are-told-apart": Broken(
        Fault(response=groups.links_told_apart), ("groups.link-unusable",)
    ),
    "codes-are-no-secret": Broken(
        Fault(response=groups.codes_for_everybody), ("groups.link-secret",)
    ),
    "bans-are-told-everybody": Broken(
        Fault(response=groups.bans_for_everybody), ("groups.ban-of-others",)
    ),
    "bans-are-never-ended": Broken(Fault(request=groups.bans_for_ever), ("groups.ban-ended",)),
    "joins-name-no-group": Broken(
        socket.changed_frames("joined", http.without("channel")), ("groups.socket-join",)
    ),
    "leaving-is-another-record": Broken(
        socket.changed_frames("left", lambda told: told | {"id": groups.GROUPS}),
        ("groups.socket-leave",),
    ),
    "refusals-have-no-ref": Broken(
        socket.changed_frames("error", http.without("ref")), ("groups.socket-refused",)
    ),
    "removals-are-not-told": Broken(
        Fault(frame=groups.unsaid_ends), ("groups.removed", "groups.frames", "groups.replay")
    ),
    "messages-of-groups-name-people": Broken(
        socket.changed_frames("message", lambda told: told | {"participants": ["x"]}),
        ("groups.messages",),
    ),
    "nobody-counts-members": Broken(
        socket.changed_frames("membership", lambda told: told | {"member_count": 1}),
        ("groups.frames",),
    ),
    "large-groups-hear-everything": Broken(
        Fault(response=groups.memberships_for_everybody), ("groups.large",)
    ),
    "a-cursor-of-elsewhere": Broken(
        socket.changed_frames("hello", socket.elsewhere),
        ("position.without-since", "position.of-a-replay", "position.of-a-gap"),
    ),
    "no-pong-frames": Broken(socket.changed_frames("pong", lambda told: None), ("position.ping",)),
    "never-recovered": Broken(
        socket.changed_frames("hello", lambda told: told | {"recovered": False}),
        ("resume.nothing-missed",),
    ),
    "always-recovered": Broken(
        socket.changed_frames("hello", lambda told: told | {"recovered": True}),
        ("resume.unreadable-cursor", "resume.another-epoch", "position.of-a-gap"),
    ),
    "a-gap-too-small": Broken(
        socket.changed_frames("gap", socket.gap_too_small),
        ("resume.gap-completes", "position.live-beside-a-gap"),
    ),
    "no-pongs": Broken(Fault(raw=socket.no_pongs), ("framing.fragments", "framing.ping")),
    "masked-frames": Broken(Fault(raw=socket.masked), ("framing.server-frames",)),
    "a-wrong-accept-key": Broken(Fault(response=socket.wrong_accept), ("framing.accept",)),
}

BROKEN_HEARTBEAT: Final[dict[str, Broken]] = {
    "no-pings": Broken(Fault(raw=socket.no_pings), ("socket.heartbeat",)),
    "no-pong-frames": Broken(socket.changed_frames("pong", lambda told: None), ("position.heard",)),
    "missed-is-1000": Broken(Fault(code=lambda code: 1000), ("socket.heartbeat-missed",)),
}
