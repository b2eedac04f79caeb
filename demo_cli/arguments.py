"""The arguments of the command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Mapping, Sequence

from chatsvc.arguments import OneLineParser, positive, seconds
from chatsvc.core.text import has_surrogate

DEFAULT_URL = "http://127.0.0.1:8080"

_EPILOG = """\
Without a command: an interactive menu. The token is --token, or CHATSVC_TOKEN in the
environment, or what the server's development login gives for --user. The server is
--url, or CHATSVC_URL in the environment, or what HOST and PORT there name.

Exit status: 0 done, 1 refused, 2 wrong arguments or no token, 3 no answer from the
server, 4 the time was up (listen), 141 nobody reads the output.
"""
_ANY_ADDRESS = frozenset({"", "0.0.0.0", "::", "*"})


def split_users(text: str) -> list[str]:
    """Split user ids that are joined by commas: each once, in their order."""
    return list(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def names_with_spaces(users: Sequence[str], known: Collection[str] = ()) -> list[str]:
    """Find the ids with white space in them, apart from those that are known.

    They are allowed, and more often several ids of which the commas were left out.
    """
    return [user for user in users if user not in known and len(user.split()) > 1]


def default_url(environment: Mapping[str, str]) -> str:
    """Choose the server that the environment names.

    ``CHATSVC_URL``, or ``HOST`` and ``PORT`` as the server itself reads them: an address
    that means every interface is the loopback one for a client.
    """
    url = environment.get("CHATSVC_URL")
    if url:
        return url
    host, port = environment.get("HOST", ""), environment.get("PORT", "")
    if not host and not port:
        return DEFAULT_URL
    if host in _ANY_ADDRESS:
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port or 8080}"


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line, or end the program with 2 and a line that says why."""
    common = OneLineParser(add_help=False)
    # Given before or after the command: the default must not undo what came before it.
    quiet = argparse.SUPPRESS
    common.add_argument(
        "--url", default=quiet, help=f"the server (default: {default_url(os.environ)})"
    )
    common.add_argument("--token", default=quiet, help="the user's token")
    common.add_argument("--user", default=quiet, help="the user id, for the development login")

    parser = OneLineParser(
        prog="chatsvc-demo",
        description="A terminal client for a chatsvc server.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    send = commands.add_parser("send", parents=[common], help="send a message")
    send.add_argument("participants", type=_users, help="user ids joined by commas")
    send.add_argument("text", help="the content; - reads standard input")
    send.add_argument("--client-id", help="makes a repeated send the same message")

    listen = commands.add_parser("listen", parents=[common], help="print messages as they come")
    listen.add_argument("--count", type=positive, help="end after so many messages")
    listen.add_argument("--timeout", type=seconds, help="end after so many seconds")
    listen.add_argument("--since", help="a cursor to go on from")
    listen.add_argument("--echo", action="store_true", help="one's own from other devices too")

    history = commands.add_parser("history", parents=[common], help="print past messages")
    history.add_argument("participants", type=_users, help="user ids joined by commas")
    history.add_argument("--limit", type=positive, default=100, help="at most (default: 100)")
    bounds = history.add_mutually_exclusive_group()
    bounds.add_argument("--before", metavar="ID", help="older than this message")
    bounds.add_argument("--after", metavar="ID", help="newer than this message")

    who = commands.add_parser("who", parents=[common], help="say who is connected")
    who.add_argument("users", type=_users, help="user ids joined by commas")

    for command in (send, listen, history, who):
        command.add_argument("--json", action="store_true", help="one JSON object a line")
    for value in argv:
        if has_surrogate(value):  # a byte that could not be decoded (PEP 383)
            parser.error(f"{value!r} must be text of the terminal's encoding")
    arguments = parser.parse_args(argv)
    _complete(arguments)
    return arguments


def _complete(arguments: argparse.Namespace) -> None:
    """Take from the environment what the arguments do not say."""
    for name, default in (
        ("url", default_url(os.environ)),
        ("token", os.environ.get("CHATSVC_TOKEN") or None),
        ("user", None),
    ):
        if not hasattr(arguments, name):
            setattr(arguments, name, default)


def _users(text: str) -> list[str]:
    users = split_users(text)
    if not users:
        raise argparse.ArgumentTypeError(f"{text!r} must have at least one user id")
    return users
