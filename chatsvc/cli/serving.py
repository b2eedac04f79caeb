"""``chatsvc serve`` and ``chatsvc dev``: run the service."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import resource
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import structlog

from chatsvc import __version__
from chatsvc.cli.options import Overrides, settings_from, variables
from chatsvc.core.errors import ChatError
from chatsvc.core.origins import LOOPBACK
from chatsvc.line_writer import LineWriter
from chatsvc.logs import configure, finish, safe_uri
from chatsvc.server.http.connection_limits import MAX_RESERVE
from chatsvc.settings.table import Settings, near_misses

if TYPE_CHECKING:
    from chatsvc.app.lifecycle import Running

_DEV: Final = "chatsvc dev"
_DEV_USERS: Final = ("alice", "bob")


def serve(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    return _run(settings_from(arguments), variables(arguments), None)


def dev(arguments: argparse.Namespace) -> int:
    """Serve on the loopback address with the development login, and print how to try it."""
    found = variables(arguments)
    settings = settings_from(arguments, _dev_preset(found))
    if arguments.reload:
        from chatsvc.cli.reloading import serve_and_reload

        return serve_and_reload(arguments)
    return _run(settings, found, _introduce)


def _dev_preset(found: Mapping[str, str]) -> Overrides:
    """Return the settings of ``dev``.

    Variables for logs and the login take precedence. HOST does not, or a variable meant for a
    server would open this service to other machines. Loopback origins are added to
    CORS_ORIGINS.
    """
    origins = ",".join(filter(None, [found.get("CORS_ORIGINS"), LOOPBACK]))
    preset = {"HOST": ("127.0.0.1", _DEV), "CORS_ORIGINS": (origins, _DEV)}
    for name, value in (
        ("DEV_LOGIN", "loopback"),
        ("DRAIN_SECONDS", "0"),
        ("LOG_LEVEL", "warning"),
        ("LOG_FORMAT", "console"),
    ):
        if not found.get(name):
            preset[name] = (value, _DEV)
    return preset


def _run(
    settings: Settings,
    found: Mapping[str, str],
    on_started: Callable[[Running], None] | None,
) -> int:
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


def _introduce(running: Running) -> None:
    """Print the introduction; a standard output that is not read does not block the service."""
    writer = LineWriter(sys.stdout.fileno())
    writer.msg(introduction(running).encode())
    writer.close(0)


def introduction(running: Running) -> str:
    """Return the address, the files and three commands that can be pasted as they are."""
    settings, url = running.settings, running.url
    data = settings.data_path
    store = (
        str(data / "store.db")
        if settings.chosen_store == "sqlite"
        else f"{safe_uri(settings.mongo_uri)}, database {settings.mongo_db}"
    )
    sender, other = _DEV_USERS
    token = running.dev_token(sender)
    lines = [
        f"chatsvc {__version__} listens on {url} (documentation: {url}/docs)",
        f"  log:   {data / 'log.db'}",
        f"  store: {store}",
        "",
    ]
    if token is None:
        lines += ["The development login is off: tokens come from your application's login."]
    else:
        curl = "curl -sS -w '\\n' -H \"Authorization: Bearer $TOKEN\""
        message = f'{{"participants":["{sender}","{other}"],"content":"Hello!"}}'
        lines += [
            f"To try it from another terminal, as {sender}:",
            "",
            f"export TOKEN={token}",
            f"{curl} -H 'Content-Type: application/json' -d '{message}' {url}/api/messages",
            f"{curl} '{url}/api/messages/get?participants={sender},{other}'",
        ]
    return "\n".join([*lines, "", "Ctrl-C ends it."])
