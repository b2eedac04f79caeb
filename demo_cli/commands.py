"""The scriptable form: one command, one exit status."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

from chatsvc.client import (
    ChatApi,
    ChatClient,
    ClientError,
    Connected,
    Disconnected,
    Gap,
    GaveUp,
    Lost,
    Message,
    MessageReceived,
    Refused,
    TokenUnavailable,
    Unreachable,
)
from demo_cli.arguments import names_with_spaces
from demo_cli.exits import Exit, Failure
from demo_cli.line_reader import LineReader
from demo_cli.login import Login
from demo_cli.rendering import visible
from demo_cli.screen import Screen


async def run(arguments: argparse.Namespace) -> int:
    """Carry out the command; returns the exit status.

    Raises:
        Failure: it could not be done.
    """
    login = Login(arguments.url, arguments.token, arguments.user)
    command = {"send": _send, "listen": _listen, "history": _history, "who": _who}
    try:
        return await command[arguments.command](arguments, login)
    except TokenUnavailable as exc:
        raise exc.__cause__ if isinstance(exc.__cause__, Failure) else _failure(exc) from exc
    except ClientError as exc:
        raise _failure(exc) from exc


def _failure(error: ClientError) -> Failure:
    unreachable = isinstance(error, Unreachable) or (
        isinstance(error, GaveUp) and error.code == 1006
    )
    text = str(error)
    if isinstance(error, Refused) and error.first_id is not None:
        text += f"; the first message under this client_id is {error.first_id}"
    return Failure(visible(text), Exit.UNREACHABLE if unreachable else Exit.REFUSED)


def _api(arguments: argparse.Namespace, login: Login) -> ChatApi:
    return ChatApi(arguments.url, login.source or login.token)


def _participants(arguments: argparse.Namespace, login: Login) -> list[str]:
    """The ids that were given, and the user's own."""
    users: list[str] = arguments.participants
    for name in names_with_spaces(users, [login.user or ""]):
        note = f"{name!r} is taken as one user id: several are joined by commas"
        print(f"chatsvc-demo: {visible(note)}", file=sys.stderr)
    return users if login.user is None or login.user in users else [*users, login.user]


async def _send(arguments: argparse.Namespace, login: Login) -> int:
    text = await _standard_input() if arguments.text == "-" else arguments.text
    participants = _participants(arguments, login)
    async with _api(arguments, login) as api:
        sent = await api.post(participants, text, client_id=arguments.client_id)
    before = " (accepted before, under the same client_id)" if sent.duplicate else ""
    _result(arguments, sent._asdict(), f"sent {visible(sent.id)}{before}")
    return Exit.OK


async def _standard_input() -> str:
    try:
        return await LineReader(sys.stdin).read()
    except UnicodeDecodeError as exc:
        raise Failure(f"standard input must be {exc.encoding}", Exit.USAGE) from None


async def _history(arguments: argparse.Namespace, login: Login) -> int:
    participants = _participants(arguments, login)
    async with _api(arguments, login) as api:
        page = await api.history(
            participants, limit=arguments.limit, before=arguments.before, after=arguments.after
        )
    if arguments.json:
        for message in page.messages:
            print(_json_line(message))
    else:
        Screen().history(sorted(participants), page.messages)
    if not page.complete:
        print("the database is away: older messages may be missing", file=sys.stderr)
    return Exit.OK


async def _who(arguments: argparse.Namespace, login: Login) -> int:
    async with _api(arguments, login) as api:
        counts = await api.connections(arguments.users)
    for user, count in counts.items():
        _result(arguments, {"user": user, "connections": count}, f"{visible(user)}: {count}")
    return Exit.OK


async def _listen(arguments: argparse.Namespace, login: Login) -> int:
    await login.token()  # what is wrong with it is said now, not tried for ever
    screen = Screen()
    left = arguments.count
    try:
        client = ChatClient(
            arguments.url,
            login.source or login.token,
            echo=arguments.echo,
            since=arguments.since,
        )
    except ValueError as exc:
        raise Failure(str(exc), Exit.USAGE) from exc
    try:
        async with asyncio.timeout(arguments.timeout), client:
            async for event in client:
                _report(event)
                if not isinstance(event, MessageReceived):
                    continue
                if arguments.json:
                    print(_json_line(event), flush=True)
                else:
                    screen.message(event)
                if left is not None:
                    left -= 1
                    if left == 0:
                        return Exit.OK
    except TimeoutError:
        return Exit.OK if left is None else Exit.TIMED_OUT
    return Exit.OK


def _report(event: object) -> None:
    """Print a change of the connection on standard error: standard output is for messages."""
    match event:
        case Connected(hello=hello):
            text = f"connected as {hello.user}"
        case Disconnected(reason=reason, code=code, retry_in=float(wait)):
            text = f"disconnected ({code} {reason}); trying again in {wait:.1f} s"
        case Gap(from_id=first, to_id=last):
            text = f"messages above {first} up to {last} could not be fetched"
        case Lost(from_id=first, to_id=last):
            text = f"messages above {first} up to {last} are lost on the server"
        case _:
            return
    print(visible(text), file=sys.stderr, flush=True)


def _result(arguments: argparse.Namespace, value: dict[str, Any], text: str) -> None:
    print(json.dumps(value) if arguments.json else text, flush=True)


def _json_line(message: Message) -> str:
    # Encoded again, as ASCII alone, so that it is safe to show in a terminal too.
    return json.dumps(json.loads(message.raw))
