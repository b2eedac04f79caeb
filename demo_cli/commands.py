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
    Message,
    MessageReceived,
    TokenUnavailable,
    Unreachable,
)
from demo_cli.exits import Exit, Failure
from demo_cli.login import Login
from demo_cli.rendering import visible
from demo_cli.screen import Screen


async def run(arguments: argparse.Namespace) -> int:
    """Carry out the command.

    Raises:
        Failure: it could not be.
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
    return Failure(visible(str(error)), Exit.UNREACHABLE if unreachable else Exit.REFUSED)


def _api(arguments: argparse.Namespace, login: Login) -> ChatApi:
    return ChatApi(arguments.url, login.source or login.token)


async def _send(arguments: argparse.Namespace, login: Login) -> int:
    text = sys.stdin.read() if arguments.text == "-" else arguments.text
    participants = arguments.participants
    if login.user is not None and login.user not in participants:
        participants = [*participants, login.user]
    async with _api(arguments, login) as api:
        sent = await api.post(participants, text, client_id=arguments.client_id)
    _result(arguments, sent._asdict(), f"sent {visible(sent.id)}")
    return Exit.OK


async def _history(arguments: argparse.Namespace, login: Login) -> int:
    participants = arguments.participants
    if login.user is not None and login.user not in participants:
        participants = [*participants, login.user]
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
        print("the store is away: older messages may be missing", file=sys.stderr)
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
                _tell(event)
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


def _tell(event: object) -> None:
    """What befalls the connection, on standard error: standard output is for messages."""
    match event:
        case Connected(hello=hello):
            text = f"connected as {hello.user}"
        case Disconnected(reason=reason, code=code, retry_in=float(wait)):
            text = f"disconnected ({code} {reason}); trying again in {wait:.1f} s"
        case Gap(from_id=first, to_id=last):
            text = f"messages above {first} up to {last} could not be fetched"
        case _:
            return
    print(visible(text), file=sys.stderr, flush=True)


def _result(arguments: argparse.Namespace, value: dict[str, Any], text: str) -> None:
    print(json.dumps(value) if arguments.json else text, flush=True)


def _json_line(message: Message) -> str:
    # Written anew: ASCII alone, so that it is safe to look at in a terminal too.
    return json.dumps(json.loads(message.raw))
