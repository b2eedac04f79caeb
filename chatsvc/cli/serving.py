"""Run the service, for ``chatsvc serve`` and ``chatsvc dev``."""

from __future__ import annotations

import asyncio
import importlib.util
import resource
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import structlog

from chatsvc.core.errors import ChatError
from chatsvc.logs import configure, finish
from chatsvc.server.http.connection_limits import MAX_RESERVE
from chatsvc.settings.table import Settings, near_misses

if TYPE_CHECKING:
    from chatsvc.app.lifecycle import Running


def run_service(
    settings: Settings,
    found: Mapping[str, str],
    on_started: Callable[[Running], None] | None,
) -> int:
    """Serve until SIGTERM, SIGINT or SIGHUP, and return the exit status.

    Args:
        found: the variables that are set, to warn of those that are not read.
        on_started: called once the service listens.
    """
    configure(settings, queued=True)
    try:
        return _serve(settings, found, on_started)
    finally:
        finish()


def _serve(
    settings: Settings,
    found: Mapping[str, str],
    on_started: Callable[[Running], None] | None,
) -> int:
    for name, meant in near_misses(found):
        structlog.get_logger().warning("variable_not_read", found=name, meant=meant)
    _allow_open_files(settings)
    from chatsvc.app.process import run

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(run(settings, on_started=on_started))
    except ChatError:
        raise
    except Exception:  # noqa: BLE001 - the last place where it can be logged as usual
        structlog.get_logger().exception("crashed")
        return 1
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the event loop factory of uvloop if it is installed, which depends on the platform."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.new_event_loop


def _allow_open_files(settings: Settings) -> None:
    """Raise the limit of open files to the hard limit: the default of shells and init is low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as exc:  # macOS refuses what it calls unlimited
            structlog.get_logger().warning("open_files_limit_stays", limit=soft, error=str(exc))
    needed = settings.max_connections + settings.max_http_connections + MAX_RESERVE
    if soft not in (-1, resource.RLIM_INFINITY) and soft < needed:
        structlog.get_logger().warning(
            "open_files_limit_below_max_connections",
            limit=soft,
            max_connections=settings.max_connections,
            max_http_connections=settings.max_http_connections,
        )
