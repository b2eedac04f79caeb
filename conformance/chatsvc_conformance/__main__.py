"""``chatsvc-conformance URL``: hold a running server to ``docs/protocol.md``.

Exit status: 0 where no check failed, 1 where one did, 2 where the run could not begin.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chatsvc_conformance.check import Check, Outcome
from chatsvc_conformance.console import OneLineParser, open_streams, run_program, seconds
from chatsvc_conformance.report import Table, as_json, summary
from chatsvc_conformance.runner import (
    TIMEOUT_SECONDS,
    Unusable,
    connected_api,
    run,
    select_checks,
    users_for,
)
from chatsvc_conformance.tokens import User

PROGRAM: Final = "chatsvc-conformance"


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog=PROGRAM,
        description="Hold a running server to the protocol. It uses fresh, random user ids, "
        "so a server in use is not disturbed; what it sends stays in the database.",
    )
    add = parser.add_argument
    add("url", nargs="?", metavar="URL", help="the server, such as http://127.0.0.1:8080")
    add("--secret", help="the server's HS256 secret, to sign tokens with")
    add("--secret-file", type=Path, metavar="PATH", help="a file that holds it")
    add("--claim", default="id", help="the claim that carries the user id (id)")
    add(
        "--token",
        action="append",
        default=[],
        metavar="USER=JWT",
        help="a user's token, where there is no secret; give three or more",
    )
    add("--json", action="store_true", help="print JSON instead of a table")
    add("--only", action="append", default=[], metavar="NAME", help="a check or group; repeatable")
    add("--list", action="store_true", help="list the checks, and run none")
    add(
        "--timeout",
        "--patience",
        type=seconds,
        default=TIMEOUT_SECONDS,
        metavar="SECONDS",
        help=f"how long anything may take ({TIMEOUT_SECONDS:g})",
    )
    return parser


def _secret(arguments: argparse.Namespace) -> bytes | None:
    if arguments.secret_file is None:
        return arguments.secret.encode() if arguments.secret else None
    try:
        data: bytes = arguments.secret_file.read_bytes()
    except OSError as exc:
        raise Unusable(f"--secret-file: {exc.strerror}: {arguments.secret_file}") from None
    return data.strip().splitlines()[0] if data.strip() else None


def _given(texts: Sequence[str]) -> list[User]:
    users: list[User] = []
    for text in texts:
        # No token holds a "=": its parts are base64url without padding (RFC 7515 §2).
        name, _, token = text.rpartition("=")
        if not name or not token:
            raise Unusable("--token is USER=JWT")
        users.append(User(name, token))
    if len({user.id for user in users}) < len(users):
        raise Unusable("--token: a user is given twice")
    return users


async def _run(arguments: argparse.Namespace, checks: Sequence[Check]) -> list[Outcome]:
    table = Table(checks)

    def on_outcome(outcome: Outcome) -> None:
        print(table.row(outcome), flush=True)

    async with connected_api(arguments.url, arguments.timeout) as api:
        users = await users_for(
            api,
            secret=_secret(arguments),
            claim=arguments.claim,
            given=_given(arguments.token),
        )
        if arguments.json:
            outcomes = await run(api, users, checks, timeout=arguments.timeout)
            print(as_json(arguments.url, outcomes))
            return outcomes
        print(table.head())
        outcomes = await run(api, users, checks, timeout=arguments.timeout, on_outcome=on_outcome)
        print(f"\n{summary(outcomes)}")
        return outcomes


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; the exit status. ``2`` also if nobody reads the output."""
    open_streams()
    return run_program(lambda: _main(argv), PROGRAM)


def _main(argv: Sequence[str] | None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        checks = select_checks(arguments.only)
        if arguments.list:
            table = Table(checks)
            for check in checks:
                print(table.listed(check))
            return 0
        if not arguments.url:
            parser.error("URL must be given")
        outcomes = asyncio.run(_run(arguments, checks))
    except Unusable as exc:
        print(f"{PROGRAM}: {exc}", file=sys.stderr)
        return 2
    return 1 if any(outcome.result == "fail" for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
