"""``chatsvc dead-letters``: messages that the store refused. May run beside the service."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from chatsvc import logs
from chatsvc.arguments import OneLineParser
from chatsvc.cli.options import add_data, add_store, print_line, settings_from, warn_of_near_misses
from chatsvc.cli.stores import existing_store
from chatsvc.core.errors import ConfigurationError, LogDamaged, VersionTooNew
from chatsvc.core.ids import format_id, parse_id
from chatsvc.core.projection import NO_PROJECTIONS
from chatsvc.core.record import unpack
from chatsvc.settings.table import Settings
from chatsvc.storage.dead_letters import DeadLetterAdmin
from chatsvc.storage.ports.dead_letters import DeadLetter


def add_arguments(parser: OneLineParser) -> None:
    """Add the arguments of the command."""
    actions = parser.add_subparsers(
        title="actions", metavar="ACTION", required=True, parser_class=OneLineParser
    )

    def add_action(name: str, text: str) -> OneLineParser:
        action = actions.add_parser(name, help=text)
        add_data(action)
        add_store(action)
        action.set_defaults(action=name, run=dead_letters)
        return action

    add_action("list", "list them, oldest first")
    show = add_action("show", "show one with all its fields, as JSON")
    show.add_argument("id", metavar="ID")
    replay = add_action("replay", "store it now, and remove it here")
    replay.add_argument("ids", nargs="*", metavar="ID")
    replay.add_argument("--all", action="store_true", help="replay all of them")
    drop = add_action("drop", "delete it permanently")
    drop.add_argument("ids", nargs="+", metavar="ID")


def dead_letters(arguments: argparse.Namespace) -> int:
    """List, show, replay or drop dead letters.

    Returns:
        1 if a named dead letter does not exist, or is still not stored; otherwise 0.
    """
    settings = settings_from(arguments)
    warn_of_near_misses(arguments)
    logs.configure(settings)
    texts: list[str] = getattr(arguments, "ids", None) or []
    if arguments.action == "show":
        texts = [arguments.id]
    ids = [_id(text) for text in texts]
    if arguments.action == "replay" and bool(ids) == arguments.all:
        raise ConfigurationError("dead-letters replay: either ids or --all must be given")
    return asyncio.run(_act(settings, arguments.action, ids))


def _id(text: str) -> int:
    try:
        return parse_id(text)
    except ValueError as exc:
        raise ConfigurationError(f"ID: {text!r}: {exc}") from None


async def _act(settings: Settings, action: str, ids: Sequence[int]) -> int:
    # Only what is stored is folded: whoever looks begins nobody's rows anew, as of a service of
    # another version beside it.
    projections = None if action == "replay" else NO_PROJECTIONS
    async with existing_store(settings, projections) as store:
        admin = DeadLetterAdmin(store)
        if action == "list":
            return await _list(admin)
        if action == "show":
            return await _show(admin, ids[0])
        if action == "replay":
            return await _replay(admin, ids)
        return await _drop(admin, ids)


async def _list(admin: DeadLetterAdmin) -> int:
    async for letter in admin.all():
        reason = " ".join(letter.reason.split())
        print_line(f"{format_id(letter.id)}  {_when(letter)}  {letter.code}  {reason}")
    return 0


async def _show(admin: DeadLetterAdmin, letter_id: int) -> int:
    letter = await admin.show(letter_id)
    if letter is None:
        return _missing([letter_id])
    shown: dict[str, Any] = {
        "id": format_id(letter.id),
        "code": letter.code,
        "reason": letter.reason,
        "put_aside_at": _when(letter),
        "bytes": len(letter.data),
    }
    try:
        record = unpack(letter.id, letter.data)
    except (LogDamaged, VersionTooNew) as exc:
        shown |= {"unreadable": str(exc), "data": letter.data.hex()}
    else:
        shown |= {
            "kind": record.kind,
            "channel": record.channel,
            "sender": record.sender,
            "audience": record.audience,
            "client_id": record.client_id,
        }
        shown |= _shown_body(record.body)
    print_line(_as_json(shown))
    return 0


def _shown_body(body: bytes) -> dict[str, Any]:
    shown = {"body": msgspec.Raw(body)}
    try:
        _as_json(shown)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        # That is what a store refuses too, so such a letter is not rare.
        return {"unreadable": f"the body is not JSON: {exc}", "data": body.hex()}
    return shown


def _as_json(shown: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode()


async def _replay(admin: DeadLetterAdmin, ids: Sequence[int]) -> int:
    outcomes = await admin.replay(ids or None)
    status = 0
    for outcome in outcomes:
        if outcome.stored:
            print_line(f"{format_id(outcome.id)}  stored")
        else:
            reason = " ".join((outcome.reason or "").split())
            sys.stderr.write(f"chatsvc: {format_id(outcome.id)} is kept: {reason}\n")
            status = 1
    found = {outcome.id for outcome in outcomes}
    return max(status, _missing([one for one in ids if one not in found]))


async def _drop(admin: DeadLetterAdmin, ids: Sequence[int]) -> int:
    missing = [one for one in ids if await admin.show(one) is None]
    dropped = await admin.drop(ids)
    print_line(f"{dropped} dropped")
    return _missing(missing)


def _missing(ids: Sequence[int]) -> int:
    for one in ids:
        sys.stderr.write(f"chatsvc: there is no dead letter {format_id(one)}\n")
    return 1 if ids else 0


def _when(letter: DeadLetter) -> str:
    at = datetime.fromtimestamp(letter.at_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
