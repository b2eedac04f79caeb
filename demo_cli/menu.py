"""The interactive menu: connect, send, read, see who is connected, and groups."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from chatsvc.client import (
    ChangeReceived,
    ChatApi,
    ChatClient,
    ClientError,
    Connected,
    Disconnected,
    Gap,
    Lost,
    MessageReceived,
)
from chatsvc.client.events import MESSAGE
from chatsvc.core.participants import user_id_error
from demo_cli.asking import ask_users
from demo_cli.changes import KINDS
from demo_cli.exits import Exit, Failure
from demo_cli.group_menu import ENTRIES, GroupMenu
from demo_cli.login import Login, user_of
from demo_cli.places import LOOKUP_SECONDS, Place, Places
from demo_cli.prompting import Lines
from demo_cli.rendering import visible
from demo_cli.screen import Screen

MENU: Final = f"""\
1. Connect to WebSocket
2. Send message
3. Read history
4. Conversations
5. Who is connected
6. Disconnect
7. Exit
{ENTRIES}"""
PAGE: Final = 20
ACK_SECONDS: Final = 2.0
"""How long the prompt waits for an ack before it goes on without."""


class Menu:
    """The session of one user at one terminal.

    Args:
        url: the server.
        token: used as it is, if given; otherwise the development login is asked.
        user: the user id; asked for if not given, nor named by the token.
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
        self._client: ChatClient | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._login: Login
        self._api: ChatApi
        self._places: Places
        self._groups: GroupMenu

    async def run(self) -> int:
        """Show the menu until the user leaves; returns the exit status."""
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
            self._places = Places(self._api)
            self._groups = GroupMenu(
                self._api, user, places=self._places, lines=self._lines, screen=self._screen
            )
            try:
                await self._choose()
            finally:
                await self._disconnect()
        return Exit.OK

    async def _ask_user(self) -> str:
        """Ask for a user id; empty if what was typed is none, after saying why."""
        user = (await self._lines.ask("Enter your user ID: ")).strip()
        error = user_id_error(user) if user else None
        if error is not None:
            self._screen.warn(f"That cannot be a user ID: {error[1]}.")
            return ""
        return user

    async def _choose(self) -> None:
        actions: dict[str, Callable[[], Awaitable[None]]] = {
            "1": self._connect,
            "2": self._send,
            "3": self._history,
            "4": self._conversations,
            "5": self._who,
            "6": self._end_connection,
            "8": self._groups.choose,
            "9": self._groups.create,
            "10": self._groups.add,
            "11": self._groups.remove,
            "12": self._groups.leave,
            "13": self._groups.rename,
            "14": self._groups.join,
            "15": self._groups.make_link,
        }
        while self._failure is None:
            try:
                choice = (await self._lines.ask("> ")).strip().rstrip(".")
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
        raise self._failure

    # The socket

    async def _connect(self) -> None:
        if self._client is not None:
            self._screen.note("There is a connection already; 6 ends it.")
            return
        await self._login.token()  # what is wrong with it is said now, not tried for ever
        client = ChatClient(
            self._url,
            self._login.source or self._login.token,
            device=self._device,
            echo=True,
            kinds=(MESSAGE, *KINDS),
        )
        self._client = await client.__aenter__()
        self._start(self._show_events(client))

    async def _show_events(self, client: ChatClient) -> None:
        before = lost = False
        try:
            async for event in client:
                match event:
                    case MessageReceived():
                        self._places.note(event)
                        self._screen.message(event, await self._places.name_of(event.channel))
                    case ChangeReceived():
                        await self._groups.show(event)
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
                    case Lost():
                        self._screen.warn("Some messages are lost on the server.")
        except ClientError as exc:
            self._screen.warn(f"Disconnected: {exc}.")
            if self._client is client:
                self._client = None
            await client.close()

    async def _end_connection(self) -> None:
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

    # Sending and reading

    async def _send(self) -> None:
        place = await self._ask_place()
        if place is None:
            return
        content = (await self._lines.ask("Message: ")).rstrip("\n")  # a paste often ends in one
        if not content.strip():
            self._screen.note("Nothing to send.")
        elif self._client is None:
            await self._api.post(place.participants, content, channel=place.channel)
            self._screen.note(await self._sent(place))
        else:
            acknowledged = asyncio.Event()
            sending = self._start(self._send_by(self._client, place, content, acknowledged))
            await asyncio.wait([sending], timeout=ACK_SECONDS + LOOKUP_SECONDS)
            if not sending.done() and not acknowledged.is_set():
                self._screen.warn("Not there yet; it goes out when the connection is back.")

    async def _send_by(
        self, client: ChatClient, place: Place, content: str, acknowledged: asyncio.Event
    ) -> None:
        try:
            await client.send(place.participants, content, channel=place.channel)
        except (ClientError, ValueError) as exc:
            self._screen.warn(f"Not sent: {exc}")
        else:
            acknowledged.set()
            self._screen.note(await self._sent(place))

    async def _sent(self, place: Place) -> str:
        """Say that a message is durable, and if nobody is there to receive it now."""
        if place.participants is None:
            return "Sent."  # who is in the group would be a request more
        others = [user for user in place.participants if user != self._login.user]
        if not others:
            return "Sent. You are the only participant."
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                counts = await self._api.connections(others)
        except (ClientError, TimeoutError):
            return "Sent."  # the server may keep to itself who is connected
        if any(counts.values()):
            return "Sent."
        return "Sent. No other participant is connected: it is in the history."

    async def _history(self) -> None:
        place = await self._ask_place()
        if place is None:
            return
        page = await self._api.history(place.participants, channel=place.channel, limit=PAGE)
        if place.channel is not None:
            name = await self._places.name_of(place.channel)
            self._screen.history([place.channel], page.messages, name)
        else:
            self._screen.history(sorted(place.participants or ()), page.messages)
        if not page.messages:
            self._screen.note("There are no messages yet.")
        if page.has_more:
            self._screen.note(f"These are the last {PAGE}.")
        self._warn_if_incomplete(page.complete)

    async def _conversations(self) -> None:
        page = await self._api.conversations(limit=PAGE)
        for conversation in page.conversations:
            name = await self._places.name_of(conversation.channel)
            self._screen.conversation(conversation, name)
        if not page.conversations:
            self._screen.note("There are none yet.")
        if page.has_more:
            self._screen.note(f"These are the newest {PAGE}.")
        self._warn_if_incomplete(page.complete)

    def _warn_if_incomplete(self, complete: bool) -> None:
        if not complete:
            self._screen.warn("The database is away: older ones may be missing.")

    async def _who(self) -> None:
        known = [*self._known(self._places.chosen), *self._known(self._places.received)]
        users = await ask_users(self._lines, "Users: ", known) or [self._login.user or ""]
        counts = await self._api.connections(users)
        for user, count in counts.items():
            state = "not connected"
            if count:
                state = f"connected, {count} {'times' if count > 1 else 'time'}"
            self._screen.note(f"{user}: {state}")

    async def _ask_place(self) -> Place | None:
        """Ask for the others, and add oneself; Enter is for the last conversation."""
        last = self._places.last or await self._places.newest()
        question = f" ({visible(await self._places.label(last))})" if last else ""
        users = await ask_users(self._lines, f"Participants{question}: ", self._known(last))
        if users:
            me = self._login.user
            last = Place(tuple(users if me is None or me in users else [*users, me]))
        if last is None:
            self._screen.note("Name at least one participant.")
            return None
        self._places.chosen = last
        return last

    def _known(self, place: Place | None) -> list[str]:
        """User ids that are known to be some: those of a place, and one's own."""
        return [*((place and place.participants) or ()), self._login.user or ""]

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Keep an error, such as of an output that nobody reads, for :meth:`run` to raise."""
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()
