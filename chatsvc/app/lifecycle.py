"""A service from its start to its end: what is acquired, in which order, and given back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

import structlog

from chatsvc import __version__
from chatsvc.app.backends import ask_past, open_log, open_store, read_store_state
from chatsvc.app.components import Components, Resources, build
from chatsvc.app.features import known_kinds, known_projections
from chatsvc.app.metrics import connection_metrics, observe_commit
from chatsvc.auth.authentication import Authentication, authentication
from chatsvc.features.messages.service import Policy
from chatsvc.log.local.lock import DataDirLock
from chatsvc.server.http.accepting import accept_on
from chatsvc.server.http.connection_limits import connection_limits, open_files_limit
from chatsvc.server.http.listener import listen, url_of
from chatsvc.server.observability.metrics import Metrics
from chatsvc.settings.table import Settings
from chatsvc.storage.probe import StoreProbe

PERSISTER_SECONDS: Final = 5.0
"""The most of a shutdown that storing the rest of the log may take."""

REQUESTS_SHARE: Final = 3 / 4
"""The share of the remaining time that requests in progress may take; the rest is for storing."""
MIN_SECONDS: Final = 0.5
"""The least time of a step that releases connections or files."""

_logger = structlog.get_logger("chatsvc")


class StoppedWhileStarting(Exception):
    """The service was stopped before it had started."""


@dataclass(frozen=True, slots=True)
class Running:
    """A service that has started: its address and its settings."""

    url: str
    settings: Settings
    authentication: Authentication

    def dev_token(self, user: str) -> str | None:
        """Return a token of the development login, or ``None`` if it is off."""
        mint = self.authentication.mint_dev
        return mint(user)[0] if mint is not None else None


class Service:
    """The whole service.

    :meth:`start` acquires its parts one after the other, each with the step that gives it
    back; :meth:`stop` takes these steps in reverse. A start that fails, is cancelled or is
    stopped gives back what it has acquired by then.
    """

    def __init__(self, settings: Settings, policy: Policy) -> None:
        self._settings = settings
        self._policy = policy
        self._ready = False
        self._shutdown = Shutdown(settings.shutdown_seconds)
        self._turn = asyncio.Lock()
        """Held by a start or a stop: a stop waits for the start that it ends, a start for a stop,
        and a second stop for the first."""
        self._starting: asyncio.Timeout | None = None
        """The scope of the start that is under way; it expires when it is to end."""
        self._stack: AsyncExitStack | None = None

    @property
    def is_ready(self) -> bool:
        """Whether it has started, and was not asked to stop."""
        return self._ready

    async def start(self) -> Running:
        """Start the service.

        Raises:
            ConfigurationError, VersionTooNew, LogDamaged: the service cannot start.
            StoppedWhileStarting: :meth:`stop` was called meanwhile.
        """
        async with self._turn:
            scope = self._starting = asyncio.timeout(None)
            try:
                async with scope, AsyncExitStack() as stack:
                    running = await self._start(stack)
                    if scope.when() is not None:  # stopped in this turn of the event loop
                        raise StoppedWhileStarting
                    self._stack = stack.pop_all()
                    self._ready = True
            except TimeoutError:
                if scope.expired():
                    raise StoppedWhileStarting from None
                raise
            finally:
                self._starting = None
                if self._stack is None:
                    self._shutdown.end()
        return running

    async def stop(self) -> None:
        """Shut down in order; idempotent. It also ends a start that is under way.

        The service is unready at once. After the drain time sockets are closed, requests in
        progress are answered, the store gets the rest, and log and store are closed.
        """
        self._ready = False
        self._shutdown.begin()
        if self._starting is not None and not self._starting.expired():
            self._starting.reschedule(asyncio.get_running_loop().time())
        async with self._turn:
            self._ready = False
            stack, self._stack = self._stack, None
            try:
                if stack is not None:
                    await stack.aclose()
                    _logger.info("stopped")
            finally:
                self._shutdown.end()

    async def _start(self, stack: AsyncExitStack) -> Running:
        settings = self._settings
        lock = DataDirLock(settings.data_path)
        lock.acquire()
        stack.callback(lock.release)
        who = authentication(settings)
        listeners = listen(settings)
        stack.callback(_close, listeners)
        resources = await self._open(stack, who)
        parts = build(resources, is_ready=lambda: self._ready)
        self._run_background(stack, resources, parts)
        await self._accept(stack, resources, parts, listeners)
        url = url_of(settings.host, listeners[0])
        _logger.info(
            "started",
            url=url,
            data_dir=str(settings.data_path),
            store=settings.chosen_store,
            version=__version__,
        )
        if settings.dev_login == "anywhere":
            _logger.warning(
                "dev_login_anywhere", meaning="every client can get a token for any user"
            )
        return Running(url, settings, who)

    async def _open(self, stack: AsyncExitStack, who: Authentication) -> Resources:
        """Open the store and the log."""
        settings, metrics = self._settings, Metrics()
        store = open_store(settings)

        async def close_store() -> None:
            # One that hangs is not waited for, and may end a write after this folder is given
            # to another process. Its lock is the log's, which is closed by then; the embedded
            # store's file has SQLite's own locks. What is written late is of the log and
            # stored under its ids, and the watermark is set from what was set before it.
            await self._shutdown.step("store", store.close, minimum=MIN_SECONDS)

        stack.push_async_callback(close_store)
        probe = StoreProbe(store)
        found = await read_store_state(store, answered=probe.answered)
        log = await open_log(settings, found, observe=observe_commit(metrics))
        stack.push_async_callback(log.close)
        if found is not None:
            await ask_past(log, store)
        return Resources(
            settings=settings,
            policy=self._policy,
            authentication=who,
            metrics=metrics,
            kinds=known_kinds(),
            projections=known_projections(),
            store=store,
            probe=probe,
            log=log,
        )

    def _run_background(
        self, stack: AsyncExitStack, resources: Resources, parts: Components
    ) -> None:
        """Start what stores, deletes, builds rows and asks the store."""
        parts.retention.start()
        stack.push_async_callback(parts.retention.stop)
        parts.builder.start()
        stack.push_async_callback(parts.builder.stop)
        resources.probe.start()
        stack.push_async_callback(resources.probe.stop)
        parts.persister.start()

        async def store_the_rest() -> None:
            seconds = min(PERSISTER_SECONDS, self._shutdown.seconds_left())
            await parts.persister.stop(drain=True, seconds=seconds)

        stack.push_async_callback(store_the_rest)

    async def _accept(
        self,
        stack: AsyncExitStack,
        resources: Resources,
        parts: Components,
        listeners: Sequence[socket.socket],
    ) -> None:
        """Serve requests and sockets, until the stack is unwound."""
        settings, shutdown = self._settings, self._shutdown
        runner, sockets, monitor = parts.runner, parts.sockets, parts.monitor
        await runner.setup()
        stack.push_async_callback(shutdown.step, "commands", sockets.commands.stop)

        async def end_requests() -> None:
            # It keeps its time itself: cut off from outside, it would leave its connections open.
            await runner.stop(max(MIN_SECONDS, shutdown.seconds_left() * REQUESTS_SHARE))

        stack.push_async_callback(end_requests)
        monitor.start()

        async def close_sockets() -> None:
            sockets.registry.draining = True
            await monitor.close_all(settings.shutdown_seconds / 4)
            await monitor.stop()

        stack.push_async_callback(shutdown.step, "sockets", close_sockets)
        sites = await accept_on(
            runner,
            listeners,
            sockets=lambda: len(sockets.registry.sockets),
            limits=connection_limits(
                settings.max_http_connections,
                settings.max_http_connections_per_address,
                open_files_limit(),
            ),
        )
        for metric in connection_metrics(runner.problem_server, sites):
            resources.metrics.watch(metric)

        async def drain() -> None:
            # A load balancer sees that the service is not ready, and stops routing.
            await asyncio.sleep(settings.drain_seconds)

        stack.push_async_callback(shutdown.step, "drain", drain)


class Shutdown:
    """The time that a shutdown may take, shared by the steps that wait for somebody.

    Args:
        seconds: for all steps together, from :meth:`begin`.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends: float | None = None

    def begin(self) -> None:
        """Start the time, at the first call."""
        if self._ends is None:
            self._ends = asyncio.get_running_loop().time() + self._seconds

    def seconds_left(self) -> float:
        """Return the rest of the time; it begins now if it has not yet."""
        self.begin()
        assert self._ends is not None
        return max(0.0, self._ends - asyncio.get_running_loop().time())

    def end(self) -> None:
        """Forget that the time has begun: the next shutdown has its own."""
        self._ends = None

    async def step(
        self,
        name: str,
        work: Callable[[], Coroutine[Any, Any, None]],
        *,
        minimum: float = 0.0,
    ) -> None:
        """Run one step, for the rest of the time at most, or for ``minimum`` seconds."""
        try:
            async with asyncio.timeout(max(minimum, self.seconds_left())):
                await work()
        except TimeoutError:
            _logger.warning("shutdown_timed_out", step=name, seconds=self._seconds)


def _close(listeners: Sequence[socket.socket]) -> None:
    for listener in listeners:
        listener.close()
