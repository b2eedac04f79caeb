"""Many people at once: senders, listeners that come and go, readers of history.

::

    async with Workload(recorder, service.url, Mix()) as load:
        await load.acknowledged_reach(500)
        await service.restart()
        await load.acknowledged_reach(1000)
        await load.finish()
    verdict = check_files(recorder.path)
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from testkit.blocks import Block
from tests.fault.kit.clients import Delivery, Http, Outgoing, Refused, Undecided, brief, uuid7
from tests.fault.kit.listener import Listener
from tests.fault.kit.recorder import Recorder


@dataclass(frozen=True, slots=True)
class Mix:
    """How much of what. ``pause`` is the mean time between two sends of a sender, in
    seconds; ``request_seconds`` is how long a client waits for an answer."""

    users: int = 8
    conversations: int = 8
    http_senders: int = 4
    socket_senders: int = 4
    listeners: int = 12
    readers: int = 2
    pause: float = 0.02
    drop_after: float | None = 2.0
    request_seconds: float = 5.0
    seed: int = 1


class WorkloadError(Exception):
    """It did not come as far as it should have."""


class Workload(Block):
    """See the module's text.

    Args:
        socket_url: where listeners connect, if not where senders do: a proxy.
    """

    def __init__(
        self, recorder: Recorder, url: str, mix: Mix | None = None, *, socket_url: str | None = None
    ) -> None:
        self.recorder = recorder
        self.url = url
        self.mix = mix or Mix()
        self.socket_url = socket_url
        self.random = random.Random(self.mix.seed)
        self.users = [f"user{number}" for number in range(self.mix.users)]
        self.conversations = self._overlapping()
        self.listeners: list[Listener] = []
        self.acknowledged = 0
        self.unknown = 0
        self.refused = 0
        self.turned_away = 0
        self._oldest = ""
        self._progress = asyncio.Condition()
        self._newest: dict[tuple[str, ...], dict[str, str]] = {}
        self._stop_sending = asyncio.Event()
        self._senders: list[asyncio.Task[None]] = []
        self._others: list[asyncio.Task[None]] = []
        self._listening: dict[str, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None

    def _overlapping(self) -> list[tuple[str, ...]]:
        """Conversations of two to all users; neighbours have people in common."""
        found: set[tuple[str, ...]] = {tuple(self.users)}
        while len(found) < self.mix.conversations:
            size = self.random.choice((2, 2, 3, 4))
            found.add(tuple(sorted(self.random.sample(self.users, min(size, len(self.users))))))
        return sorted(found)

    async def begin(self) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        http = Http(self._session, self.url, timeout=self.mix.request_seconds)
        self.http = http
        for number in range(self.mix.listeners):
            user = self.users[number % len(self.users)]
            listener = Listener(
                http,
                self.recorder,
                user,
                f"listen:{user}:{number}",
                url=self.socket_url,
                echo=number % 3 == 2,
                drop_after=self.mix.drop_after,
                seed=self.random.getrandbits(32),
            )
            self.listeners.append(listener)
            self.come_back(listener)
        await self._all_connected()
        for number in range(self.mix.http_senders):
            user = self.users[number % len(self.users)]
            self._start_sender(user, f"send:{user}:{number}", http.send, f"http-{number}")
        for number in range(self.mix.socket_senders):
            listener = self.listeners[number % len(self.listeners)]
            self._start_sender(listener.user, f"socket:{number}", listener.send, listener.device)
        for number in range(self.mix.readers):
            self._others.append(asyncio.create_task(self._read(f"read:{number}")))

    async def end(self, error: BaseException | None) -> None:
        tasks = [*self._senders, *self._others]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        self.recorder.flush()

    async def _all_connected(self) -> None:
        async with asyncio.timeout(30):
            for listener in self.listeners:
                while listener.cursor is None:
                    listener.moved.clear()
                    await listener.moved.wait()

    @property
    def newest_acknowledged(self) -> str:
        """The highest id that anybody was told."""
        return max(known for newest in self._newest.values() for known in newest.values())

    # -- what a test waits for --------------------------------------------------------

    async def acknowledged_reach(self, count: int, seconds: float = 60.0) -> None:
        """Wait until so many messages were acknowledged, from the beginning.

        Raises:
            WorkloadError: they were not, in time.
        """
        await self.until(lambda: self.acknowledged >= count, f"{count} acknowledged", seconds)

    async def unknown_reach(self, count: int, seconds: float = 60.0) -> None:
        """Wait until so many attempts ended without anybody knowing how."""
        await self.until(lambda: self.unknown >= count, f"{count} unknown", seconds)

    async def until(self, met: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
        """Wait for a condition, looked at after every attempt to send.

        Raises:
            WorkloadError: it was not met in time.
        """
        try:
            async with asyncio.timeout(seconds), self._progress:
                await self._progress.wait_for(met)
        except TimeoutError:
            raise WorkloadError(
                f"not {what} after {seconds:g} s: {self.acknowledged} acknowledged, "
                f"{self.unknown} unknown ({self.turned_away} turned away), {self.refused} refused"
            ) from None
        self._raise_failures()

    async def more(self, count: int, seconds: float = 60.0) -> None:
        """Wait for so many more acknowledgements than there are now."""
        await self.acknowledged_reach(self.acknowledged + count, seconds)

    async def finish(self, seconds: float = 60.0, *, histories: bool = True) -> None:
        """End the sending, let every listener catch up, read every history to its end.

        Without ``histories`` the last is left to the caller, who has another way.

        A listener that has not caught up in time settles nevertheless: the checker then
        says what it lacks.
        """
        self._stop_sending.set()
        await asyncio.gather(*self._senders)
        deadline = time.monotonic() + seconds
        for listener in self.listeners:
            await self._settle(listener, deadline)
        self._raise_failures()
        if not histories:
            return
        for conversation in self.conversations:
            await self._history(self.random.choice(conversation), ",".join(conversation), seconds)
        for user in self.users:
            await self._history(user, None, seconds)

    def let_go(self, ahead_ms: int) -> None:
        """From that moment on senders give up what was made before it and is turned away."""
        self._oldest = uuid7(ahead_ms)

    async def leave(self, listener: Listener) -> None:
        """A listener goes offline, with its cursor in hand."""
        task = self._listening.pop(listener.name)
        self._others.remove(task)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def come_back(self, listener: Listener) -> None:
        """After :meth:`leave`, or for the first time."""
        task = asyncio.create_task(listener.run())
        self._listening[listener.name] = task
        self._others.append(task)

    def _raise_failures(self) -> None:
        for task in [*self._senders, *self._others]:
            if task.done() and not task.cancelled():
                task.result()

    async def _settle(self, listener: Listener, deadline: float) -> None:
        up_to = "0" * 16
        for conversation, newest in self._newest.items():
            if listener.user in conversation:
                others = [known for sender, known in newest.items() if sender != listener.user]
                up_to = max([up_to, *others])
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                while listener.position < up_to or listener.fetching:
                    listener.moved.clear()
                    await listener.moved.wait()
        except TimeoutError:
            pass  # the checker will say what is missing
        self.recorder.saw(listener.name, "settle", listener=listener.name, up_to=up_to)

    async def _history(self, user: str, channel: str | None, seconds: float) -> None:
        call = self.recorder.invoke("history", "history", user=user, channel=channel)
        call.ok(messages=await self.http.everything(user, channel, wait=seconds))

    # -- roles ------------------------------------------------------------------------

    def _start_sender(
        self,
        user: str,
        process: str,
        transport: Callable[[Outgoing], Awaitable[tuple[str, bool]]],
        device: str,
    ) -> None:
        delivery = Delivery(
            self.recorder,
            process,
            random.Random(self.random.getrandbits(32)),
            attempted=self._attempted,
            oldest=lambda: self._oldest,
        )
        self._senders.append(asyncio.create_task(self._send(user, delivery, transport, device)))

    async def _send(
        self,
        user: str,
        delivery: Delivery,
        transport: Callable[[Outgoing], Awaitable[tuple[str, bool]]],
        device: str,
    ) -> None:
        mine = [conversation for conversation in self.conversations if user in conversation]
        number = 0
        while not self._stop_sending.is_set():
            number += 1
            conversation = delivery.random.choice(mine)
            given = list(conversation)
            delivery.random.shuffle(given)
            message = Outgoing(user, tuple(given), f"{delivery.process} {number}", device)
            got = await delivery.deliver(message, transport)
            if got is not None:
                await self.acknowledge(conversation, user, got)
            if self.mix.pause:
                await asyncio.sleep(delivery.random.expovariate(1 / self.mix.pause))

    async def _attempted(self, outcome: str | Refused | Undecided) -> None:
        async with self._progress:
            self.unknown += isinstance(outcome, Undecided)
            self.refused += isinstance(outcome, Refused)
            self.turned_away += isinstance(outcome, Undecided) and outcome.told
            self._progress.notify_all()

    async def acknowledge(self, conversation: tuple[str, ...], sender: str, got: str) -> None:
        """Somebody was told this id."""
        newest = self._newest.setdefault(conversation, {})
        newest[sender] = max(newest.get(sender, ""), got)
        async with self._progress:
            self.acknowledged += 1
            self._progress.notify_all()

    async def _read(self, process: str) -> None:
        chance = random.Random(self.random.getrandbits(32))
        while True:
            await asyncio.sleep(chance.expovariate(1 / 0.05))
            conversation = chance.choice(self.conversations)
            user = chance.choice(conversation)
            channel = ",".join(conversation) if chance.random() < 0.7 else None
            asked: dict[str, str | None] = {"after": None, "before": None}
            known = self._newest.get(conversation, {})
            if known and chance.random() < 0.5:
                asked[chance.choice(("after", "before"))] = chance.choice(sorted(known.values()))
            call = self.recorder.invoke(process, "read", user=user, channel=channel, **asked)
            query = {name: bound for name, bound in asked.items() if bound}
            if channel is not None:
                query["participants"] = channel
            page = await self.http.page(user, limit=50, **query)
            if page is None:
                call.unknown()
                continue
            call.ok(
                messages=[brief(message) for message in page["messages"]],
                has_more=page["has_more"],
                complete=page["complete"],
            )
