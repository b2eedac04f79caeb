"""``chatsvc dev``: run the service for this machine only, and print how to try it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from chatsvc import __version__
from chatsvc.arguments import OneLineParser
from chatsvc.cli.options import (
    Overrides,
    add_data,
    add_listen,
    add_store,
    settings_from,
    variables,
)
from chatsvc.cli.serving import run_service
from chatsvc.core.origins import LOOPBACK
from chatsvc.line_writer import LineWriter
from chatsvc.logs import safe_uri

if TYPE_CHECKING:
    from chatsvc.app.lifecycle import Running

_DEV: Final = "chatsvc dev"
_DEV_USERS: Final = ("alice", "bob")


def add_arguments(parser: OneLineParser) -> None:
    """Add the arguments of the command."""
    add_listen(parser)
    add_data(parser)
    add_store(parser)
    parser.add_argument(
        "--reload", action="store_true", help="restart when the source code changes"
    )
    parser.set_defaults(run=dev)


def dev(arguments: argparse.Namespace) -> int:
    """Serve on the loopback address with the development login, and print how to try it."""
    found = variables(arguments)
    settings = settings_from(arguments, _dev_preset(found))
    if arguments.reload:
        from chatsvc.cli.reloading import serve_and_reload

        return serve_and_reload(arguments)
    return run_service(settings, found, _introduce)


def _dev_preset(found: Mapping[str, str]) -> Overrides:
    """Return the settings of ``dev``.

    Variables for logs and the login take precedence. HOST does not, or a variable meant for a
    server would open this service to other machines. Loopback origins are added to
    CORS_ORIGINS.
    """
    origins = ",".join(filter(None, [found.get("CORS_ORIGINS"), LOOPBACK]))
    preset = {"HOST": ("127.0.0.1", _DEV), "CORS_ORIGINS": (origins, _DEV)}
    for name, value in (
        ("DEV_LOGIN", "loopback"),
        ("DRAIN_SECONDS", "0"),
        ("LOG_LEVEL", "warning"),
        ("LOG_FORMAT", "console"),
    ):
        if not found.get(name):
            preset[name] = (value, _DEV)
    return preset


def _introduce(running: Running) -> None:
    """Print the introduction; a standard output that is not read does not block the service."""
    writer = LineWriter(sys.stdout.fileno())
    writer.msg(introduction(running).encode())
    writer.close(0)


def introduction(running: Running) -> str:
    """Return the address, the files and three commands that can be pasted as they are."""
    settings, url = running.settings, running.url
    data = settings.data_path
    store = (
        str(data / "store.db")
        if settings.chosen_store == "sqlite"
        else f"{safe_uri(settings.mongo_uri)}, database {settings.mongo_db}"
    )
    sender, other = _DEV_USERS
    token = running.dev_token(sender)
    lines = [
        f"chatsvc {__version__} listens on {url} (documentation: {url}/docs)",
        f"  log:   {data / 'log.db'}",
        f"  store: {store}",
        "",
    ]
    if token is None:
        lines += ["The development login is off: tokens come from your application's login."]
    else:
        curl = "curl -sS -w '\\n' -H \"Authorization: Bearer $TOKEN\""
        message = f'{{"participants":["{sender}","{other}"],"content":"Hello!"}}'
        lines += [
            f"To try it from another terminal, as {sender}:",
            "",
            f"export TOKEN={token}",
            f"{curl} -H 'Content-Type: application/json' -d '{message}' {url}/api/messages",
            f"{curl} '{url}/api/messages/get?participants={sender},{other}'",
        ]
    return "\n".join([*lines, "", "Ctrl-C ends it."])
