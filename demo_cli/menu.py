"""The menu: connect, speak, read, look who is there."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from chatsvc.client import (
    ChatApi,
    ChatClient,
    ClientError,
    Connected,
    Disconnected,
    Gap,
    MessageReceived,
)
from chatsvc.core.participants import user_id_fault
from demo_cli.arguments import split_users
from demo_cli.exits import Exit, Failure
from demo_cli.login import Login, user_of
from demo_cli.prompting import Lines
from demo_cli.screen import Screen

MENU: Final = """\
1 connect
2 send message
3 read history
4 conversations
5 who is connected
6 disconnect
7 exit"""
PAGE: Final = 20
ACK_SECONDS: Final = 2.0
"""How long the prompt waits for an ack before it goes on without."""


class Menu:
    """One person at one terminal.

    Args:
        url: the server.
        token: used as it is, if given; otherwise the development login is asked.
        user: who it is; asked for if not given, nor named by the token.
        lines: where what is typed comes from.
        screen: where things are shown.
    """

    def __init__(
        self, url: str, token: str | None, user: str | None, *, lines: Lines, screen: Screen
    ) -> None:
        self._url = url
        self._given_token = token
        self._given_user = user
        self._lines = lines
        self._screen = screen
        self._device = f"demo-{secrets.token_hex(4)}"
        self._participants: list[str] = []
        self._client: ChatClient | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._login: Login
        self._api: ChatApi

    async def run(self) -> int:
        """Until the person leaves."""
        try:
            user = self._given_user or (self._given_token and user_of(self._given_token))
            while not user:
                user = await self._ask_user()
        except (EOFError, KeyboardInterrupt):
            return Exit.OK
        self._login = Login(self._url, self._given_token, user)
        source = self._login.source or self._login.token
        self._screen.plain(f"{self._url}\n{MENU}")
        async with ChatApi(self._url, source, device=self._device) as self._api:
            try:
                await self._choose()
            finally:
                await self._disconnect()
        return Exit.OK

    async def _ask_user(self) -> str:
        """A user id; empty if what was typed is none, and why was told."""
        user = (await self._lines.ask("Your user id: ")).strip()
        fault = user_id_fault(user) if user else None
        if fault is not None:
            self._screen.warn(f"That cannot be a user id: {fault[1]}.")
            return ""
        return user

    async def _choose(self) -> None:
        actions: dict[str, Callable[[], Awaitable[None]]] = {
            "1": self._connect,
            "2": self._send,
            "3": self._history,
            "4": self._conversations,
            "5": self._who,
            "6": self._say_disconnect,
        }
        while True:
            try:
                choice = (await self._lines.ask("> ")).strip()
            except (EOFError, KeyboardInterrupt):
                return
            if choice == "7":
                return
            action = actions.get(choice)
            if action is None:
                self._screen.plain(MENU)
                continue
            try:
                await action()
            except (KeyboardInterrupt, EOFError):
                self._screen.note("Left as it was.")
            except (ClientError, Failure) as exc:
                self._screen.warn(f"That did not work: {exc}")

    # The socket

    async def _connect(self) -> None:
        if self._client is not None:
            self._screen.note("There is a connection already; 6 ends it.")
            return
        await self._login.token()  # what is wrong with it is said now, not tried for ever
        client = ChatClient(
            self._url, self._login.source or self._login.token, device=self._device, echo=True
        )
        self._client = await client.__aenter__()
        self._start(self._watch(client))

    async def _watch(self, client: ChatClient) -> None:
        before = lost = False
        try:
            async for event in client:
                match event:
                    case MessageReceived():
                        self._screen.message(event)
                    case Connected(hello=hello):
                        again = " again" if before else ""
                        self._screen.note(f"Connected{again} as {hello.user}.")
                        before, lost = True, False
                    case Disconnected(retry_in=float(wait)) if before and not lost:
                        self._screen.warn(f"The connection was lost. Reconnecting in {wait:.1f} s.")
                        lost = True
                    case Disconnected(reason=reason, retry_in=float(wait)):
                        self._screen.warn(f"Not connected: {reason}. Trying again in {wait:.1f} s.")
                    case Gap():
                        self._screen.warn("Some messages could not be fetched: 3 reads history.")
        except ClientError as exc:
            self._screen.warn(f"Disconnected: {exc}.")
            if self._client is client:
                self._client = None
            await client.close()

    async def _say_disconnect(self) -> None:
        if self._client is None:
            self._screen.note("There is no connection; 1 makes one.")
            return
        await self._disconnect()
        self._screen.note("Disconnected.")

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # Speaking and reading

    async def _send(self) -> None:
        participants = await self._ask_participants()
        content = (await self._lines.ask("Message: ")).rstrip("\n")  # a paste often ends in one
        if not content.strip():
            self._screen.note("Nothing to send.")
        elif self._client is None:
            await self._api.post(participants, content)
            self._screen.note("Sent.")
        else:
            sending = self._start(self._send_by(self._client, participants, content))
            done, _ = await asyncio.wait([sending], timeout=ACK_SECONDS)
            if not done:
                self._screen.warn("Not there yet; it goes out when the connection is back.")

    async def _send_by(self, client: ChatClient, participants: list[str], content: str) -> None:
        try:
            await client.send(participants, content)
        except (ClientError, ValueError) as exc:
            self._screen.warn(f"Not sent: {exc}")
        else:
            self._screen.note("Sent.")

    async def _history(self) -> None:
        participants = await self._ask_participants()
        page = await self._api.history(participants, limit=PAGE)
        self._screen.history(sorted(participants), page.messages)
        if not page.messages:
            self._screen.note("Nothing was said yet.")
        if page.has_more:
            self._screen.note(f"These are the last {PAGE}.")
        self._say_incomplete(page.complete)

    async def _conversations(self) -> None:
        page = await self._api.conversations(limit=PAGE)
        for conversation in page.conversations:
            self._screen.conversation(conversation)
        if not page.conversations:
            self._screen.note("There are none yet.")
        if page.has_more:
            self._screen.note(f"These are the newest {PAGE}.")
        self._say_incomplete(page.complete)

    def _say_incomplete(self, complete: bool) -> None:
        if not complete:
            self._screen.warn("The store is away: older ones may be missing.")

    async def _who(self) -> None:
        answer = await self._lines.ask("Users: ")
        users = split_users(answer) or [self._login.user or ""]
        counts = await self._api.connections(users)
        for user, count in counts.items():
            state = "not connected"
            if count:
                state = f"connected, {count} {'times' if count > 1 else 'time'}"
            self._screen.note(f"{user}: {state}")

    async def _ask_participants(self) -> list[str]:
        """The others; oneself is added. Nothing typed means those of the last time."""
        last = ", ".join(sorted(self._participants))
        prompt = f"Participants ({last}): " if last else "Participants: "
        users = split_users(await self._lines.ask(prompt)) or self._participants
        me = self._login.user
        self._participants = users if me is None or me in users else [*users, me]
        return self._participants

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
