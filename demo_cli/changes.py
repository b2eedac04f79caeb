"""Changes of groups as sentences, such as ``alice added bob to Readers.``, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from chatsvc.client import Change
from demo_cli.rendering import visible

KINDS: Final = ("group", "membership")
"""The kinds of records that tell of groups."""

_ROLES: Final = {"admin": "an admin", "moderator": "a moderator", "member": "a member"}


def change_line(change: Change, name: str | None) -> str:
    """Say what somebody did; names are escaped.

    Args:
        change: a record of one of :data:`KINDS`.
        name: the name of the group before it, if it is known.
    """
    if change.kind == "group":
        return _of_group(change, name or new_name(change) or "a group")
    return _of_members(change, visible(name or "a group"))


def named_users(change: Change) -> list[str]:
    """Return the users that a change names."""
    users = change.fields.get("users")
    return [user for user in users if isinstance(user, str)] if isinstance(users, list) else []


def new_name(change: Change) -> str | None:
    """Return the name that a group has from then on; ``None`` where it is not told."""
    return (_text(change, "name") or None) if change.kind == "group" else None


def _of_group(change: Change, name: str) -> str:
    who, before, now = visible(change.sender), visible(name), visible(new_name(change) or name)
    match change.fields.get("change"):
        case "created":
            others = _joined(user for user in named_users(change) if user != change.sender)
            return f"{who} created {now} with {others}." if others else f"{who} created {now}."
        case "deleted":
            return f"{who} deleted {before}."
        case "updated" if now != before:
            return f"{who} renamed {before} to {now}."
        case "links":
            return f"{who} changed the invite links of {before}."
    return f"{who} changed {before}."


def _of_members(change: Change, name: str) -> str:
    who, users = visible(change.sender), _joined(named_users(change))
    match change.fields.get("change"):
        case "added":
            return f"{who} added {users} to {name}."
        case "joined":
            return f"{users} joined {name}."
        case "removed":
            return f"{who} removed {users} from {name}."
        case "banned":
            return f"{who} banned {users} from {name}."
        case "unbanned":
            return f"{who} unbanned {users} from {name}."
        case "left":
            promoted = visible(_text(change, "promoted"))
            return f"{users} left {name}." + (f" {promoted} is an admin now." if promoted else "")
        case "role":
            role = _text(change, "role")
            return f"{who} made {users} {_ROLES.get(role, visible(role))} of {name}."
    return f"{who} changed {name}."


def _joined(users: Iterable[str]) -> str:
    return ", ".join(visible(user) for user in users)


def _text(change: Change, field: str) -> str:
    value: Any = change.fields.get(field)
    return value if isinstance(value, str) else ""
