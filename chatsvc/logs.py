"""Log lines: one JSON object or one console line each, on standard error.

All sources use the same output: structlog's loggers, those of the standard library (aiohttp,
motor) and warnings. Values of local variables are never part of a stack trace, and the
finished line is searched for the form of a token or of a password in a URI, which are masked.
Callers must not log message content.

A service writes its lines through a :class:`~chatsvc.line_writer.LineWriter`: a reader that
does not read them blocks nothing.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from typing import Any, BinaryIO, Final
from urllib.parse import parse_qsl

import msgspec
import structlog
from structlog.tracebacks import ExceptionDictTransformer

from chatsvc.line_writer import LineWriter
from chatsvc.settings.table import Settings

MASK: Final = "***"
FLUSH_SECONDS: Final = 1.0
"""How long a process that ends waits until its last lines are written."""

_SECRET_OPTION: Final = re.compile(r"password|secret|token|authmechanismproperties", re.IGNORECASE)
_URI: Final = re.compile(rb"""(://[^\s/:@"']*:)[^\s"']*@""")
_BEARER: Final = re.compile(rb"""(bearer[ .])[^\s"',]+""", re.IGNORECASE)
_TOKEN: Final = re.compile(rb"eyJ[\w-]+\.[\w-]+\.[\w-]*")

_QUIET: Final = {
    "aiohttp.access": logging.WARNING,  # the server writes its own line for each request
    "asyncio": logging.INFO,
    "pymongo": logging.INFO,  # its debug lines have whole commands, with message content
}

Event = MutableMapping[str, Any]


class Output:
    """The output of a command, which writes each line immediately.

    A line that cannot be written is counted in ``lost``: it cannot be logged.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.lost = 0

    def msg(self, line: bytes) -> None:
        """Write one line."""
        try:
            self._file.write(line + b"\n")
            self._file.flush()
        except (OSError, ValueError):
            self.lost += 1

    log = debug = info = warn = warning = error = critical = exception = fatal = msg


_output: Output | LineWriter | None = None


def lines_lost() -> int:
    """Return how many lines could not be written."""
    return _output.lost if _output is not None else 0


def configure(
    settings: Settings, file: BinaryIO | None = None, *, queued: bool = False
) -> Output | LineWriter:
    """Set up logging for the process, by ``LOG_LEVEL`` and ``LOG_FORMAT``; once, at its start.

    Args:
        file: where to write instead of standard error.
        queued: a thread writes, and callers never wait for it; call :func:`finish` at the end.
    """
    global _output
    into = sys.stderr.buffer if file is None else file
    output: Output | LineWriter
    if queued:
        output = LineWriter(into.fileno(), on_dropped=_report_dropped)
        sys.unraisablehook = _on_unraisable
        threading.excepthook = _on_thread_exception
    else:
        output = Output(into)
    _output = output
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    terminal = file is None and sys.stderr.isatty()
    console = settings.log_format == "console" or (settings.log_format == "auto" and terminal)
    structlog.configure(
        processors=_console(terminal) if console else _json(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_names: output,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Bridge(structlog.get_logger())], level=level, force=True)
    for name, min_level in _QUIET.items():
        logging.getLogger(name).setLevel(max(level, min_level))
    logging.captureWarnings(True)
    return output


def finish(seconds: float = FLUSH_SECONDS) -> None:
    """Write the queued lines, for at most ``seconds``; later lines are dropped."""
    if isinstance(_output, LineWriter):
        _output.close(seconds)


def _report_dropped(lines: int) -> None:
    structlog.get_logger().warning("log_lines_lost", lines=lines)


def _on_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Log the exception; the interpreter itself would write and wait for the reader."""
    structlog.get_logger().error(
        "unraisable_exception", detail=unraisable.err_msg, exc_info=unraisable.exc_value
    )


def _on_thread_exception(arguments: threading.ExceptHookArgs) -> None:
    thread = arguments.thread.name if arguments.thread is not None else None
    structlog.get_logger().critical("thread_died", thread=thread, exc_info=arguments.exc_value)


def on_loop_exception(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an exception that no task awaits, with its trace; for ``set_exception_handler``.

    The context's callbacks and transports are omitted: their ``repr`` may contain data.
    """
    task = context.get("task") or context.get("future")
    error = context.get("exception")
    structlog.get_logger().error(
        "unhandled_exception",
        detail=context.get("message", ""),
        task=task.get_name() if isinstance(task, asyncio.Task) else None,
        exc_info=error,
    )


def safe_uri(uri: str) -> str:
    """Return a URI with its password and secret options masked and its user kept.

    In doubt it masks: everything up to the last ``@`` counts as the password.
    """
    head, at, tail = uri.rpartition("@")
    if at:
        scheme, separator, credentials = head.rpartition("://")
        user, colon, _password = credentials.partition(":")
        tail = f"{scheme}{separator}{user}{colon}{MASK if colon else ''}@{tail}"
    address, question, query = tail.partition("?")
    if not question:
        return address
    options = [
        f"{name}={MASK if _SECRET_OPTION.search(name) else value}"
        for name, value in parse_qsl(query, keep_blank_values=True)
    ]
    return f"{address}?{'&'.join(options)}"


def redact(line: bytes) -> bytes:
    """Return the line with tokens, and passwords in URIs, masked."""
    if b"://" in line and b"@" in line:
        line = _URI.sub(rb"\1***@", line)
    if b"eyJ" in line:
        line = _TOKEN.sub(b"***", line)
    if b"earer" in line or b"EARER" in line:
        line = _BEARER.sub(rb"\1***", line)
    return line


class _Bridge(logging.Handler):
    """Passes the records of the standard library to structlog."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields: dict[str, Any] = {"logger": record.name}
            if record.exc_info:
                fields["exc_info"] = record.exc_info
            # Levels between the five named ones are rounded down to one of them.
            level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
            self._logger.log(level, record.getMessage(), **fields)
        except Exception as exc:  # noqa: BLE001 - logging must not fail its caller
            self._logger.error("log_record_failed", logger=record.name, error=type(exc).__name__)


class _Stamp:
    """Adds ``time`` (RFC 3339, UTC, milliseconds); the text of a second is computed once."""

    def __init__(self) -> None:
        self._second = (-1, "")

    def __call__(self, _logger: Any, _level: str, event: Event) -> Event:
        millis = int(time.time() * 1000)
        second, text = self._second
        if millis // 1000 != second:
            second = millis // 1000
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = (second, text)
        event["time"] = f"{text}.{millis % 1000:03d}Z"
        return event


_stamp: Final = _Stamp()


def _json() -> list[Callable[..., Any]]:
    transform = ExceptionDictTransformer(show_locals=False, max_frames=50)
    return [_stamp, structlog.processors.ExceptionRenderer(transform), _render_json]


def _console(colors: bool) -> list[Callable[..., Any]]:
    render = structlog.dev.ConsoleRenderer(
        colors=colors,
        timestamp_key="time",
        # The default formatter shows the values of local variables.
        exception_formatter=structlog.dev.plain_traceback,
    )

    def finish(logger: Any, name: str, event: Event) -> bytes:
        return redact(render(logger, name, event).encode("utf-8", "backslashreplace"))

    return [_stamp, structlog.processors.add_log_level, finish]


_encode: Final = msgspec.json.Encoder(enc_hook=repr).encode


def _render_json(_logger: Any, level: str, event: Event) -> bytes:
    fields = {"time": event.pop("time"), "level": level, "event": event.pop("event"), **event}
    try:
        line = _encode(fields)
    except (TypeError, ValueError):
        line = _encode({_escaped(name): _encodable(value) for name, value in fields.items()})
    return redact(line)


def _encodable(value: object) -> object:
    """Return the value, or what can be logged of one that is not JSON or not Unicode."""
    if isinstance(value, str):
        return _escaped(value)
    try:
        _encode(value)
    except (TypeError, ValueError):
        return ascii(value)
    return value


def _escaped(text: str) -> str:
    """Escape lone surrogates, such as those of a path that is not UTF-8 (PEP 383)."""
    return text.encode("utf-8", "backslashreplace").decode()
