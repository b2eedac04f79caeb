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
from chatsvc.app.backends import open_log, open_store, read_store_state
from chatsvc.app.components import Components, Foundations, build
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

_logger = structlog.get_logger("chatsvc")


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
    back; :meth:`stop` takes these steps in reverse. A start that fails gives back what it has
    acquired by then.
    """

    def __init__(self, settings: Settings, policy: Policy) -> None:
        self._settings = settings
        self._policy = policy
        self._ready = False
        self._shutdown = Shutdown(settings.shutdown_seconds)
        self._stack = AsyncExitStack()

    async def start(self) -> Running:
        """Start the service.

        Raises:
            ConfigurationError, VersionTooNew, LogDamaged: the service cannot start.
        """
        async with AsyncExitStack() as stack:
            running = await self._start(stack)
            self._stack = stack.pop_all()
        return running

    async def stop(self) -> None:
        """Shut down in order; idempotent.

        The service is unready at once. After the drain time sockets are closed, requests in
        progress are answered, the store gets the rest, and log and store are closed.
        """
        was_ready, self._ready = self._ready, False
        self._shutdown.begin()
        await self._stack.aclose()
        if was_ready:
            _logger.info("stopped")

    async def _start(self, stack: AsyncExitStack) -> Running:
        settings = self._settings
        lock = DataDirLock(settings.data_path)
        lock.acquire()
        stack.callback(lock.release)
        who = authentication(settings)
        listeners = listen(settings)
        stack.callback(_close, listeners)
        base = await self._open(stack, who)
        parts = build(base, is_ready=lambda: self._ready)
        self._run_background(stack, base, parts)
        await self._accept(stack, base, parts, listeners)
        self._ready = True
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

    async def _open(self, stack: AsyncExitStack, who: Authentication) -> Foundations:
        """Open the store and the log."""
        settings, metrics = self._settings, Metrics()
        store = open_store(settings)
        stack.push_async_callback(store.close)
        probe = StoreProbe(store)
        found = await read_store_state(store, answered=probe.answered)
        log = await open_log(settings, store, found, observe=observe_commit(metrics))
        stack.push_async_callback(log.close)
        return Foundations(
            settings=settings,
            policy=self._policy,
            authentication=who,
            metrics=metrics,
            store=store,
            probe=probe,
            log=log,
        )

    def _run_background(self, stack: AsyncExitStack, base: Foundations, parts: Components) -> None:
        """Start what stores, deletes and asks the store."""
        parts.retention.start()
        stack.push_async_callback(parts.retention.stop)
        base.probe.start()
        stack.push_async_callback(base.probe.stop)
        parts.persister.start()

        async def store_the_rest() -> None:
            seconds = min(PERSISTER_SECONDS, self._shutdown.seconds_left())
            await parts.persister.stop(drain=True, seconds=seconds)

        stack.push_async_callback(store_the_rest)

    async def _accept(
        self,
        stack: AsyncExitStack,
        base: Foundations,
        parts: Components,
        listeners: Sequence[socket.socket],
    ) -> None:
        """Serve requests and sockets, until the stack is unwound."""
        settings, shutdown = self._settings, self._shutdown
        runner, sockets, monitor = parts.runner, parts.sockets, parts.monitor
        await runner.setup()
        stack.push_async_callback(shutdown.step, "requests", runner.cleanup)
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
            base.metrics.watch(metric)

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

    async def step(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run one step, at most for the rest of the time."""
        try:
            async with asyncio.timeout(self.seconds_left()):
                await work()
        except TimeoutError:
            _logger.warning("shutdown_timed_out", step=name, seconds=self._seconds)


def _close(listeners: Sequence[socket.socket]) -> None:
    for listener in listeners:
        listener.close()
