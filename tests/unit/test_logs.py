"""One way for all log lines, and nothing secret in any of them."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from chatsvc.auth.minting import mint
from chatsvc.logs import (
    Output,
    configure,
    finish,
    lines_lost,
    on_loop_exception,
    redact,
    safe_uri,
)
from chatsvc.settings.table import load


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    names = ("aiohttp.access", "asyncio", "pymongo")
    levels = {name: logging.getLogger(name).level for name in names}
    hooks = sys.unraisablehook, threading.excepthook
    yield
    sys.unraisablehook, threading.excepthook = hooks
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


def logging_to(form: str = "json", level: str = "info") -> io.BytesIO:
    file = io.BytesIO()
    configure(load({"LOG_FORMAT": form, "LOG_LEVEL": level}), file)
    return file


def lines(file: io.BytesIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.getvalue().splitlines()]


def test_a_line_is_an_object_with_time_level_and_event_first() -> None:
    file = logging_to()
    structlog.get_logger().info("request", status=201, user="alice", ids=(1, 2))
    (line,) = lines(file)
    assert list(line) == ["time", "level", "event", "status", "user", "ids"]
    assert datetime.fromisoformat(line["time"]).utcoffset() == timedelta(0)
    assert (line["level"], line["event"], line["ids"]) == ("info", "request", [1, 2])


def test_auto_is_json_where_there_is_no_terminal() -> None:
    file = logging_to("auto")
    structlog.get_logger().info("started")
    assert lines(file)[0]["event"] == "started"


def test_the_console_has_a_line_without_colours_where_there_is_no_terminal() -> None:
    file = logging_to("console")
    structlog.get_logger().warning("retry", attempt=2)
    text = file.getvalue().decode()
    assert "retry" in text
    assert "attempt=2" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("level", "seen"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_levels(level: str, seen: list[str]) -> None:
    file = logging_to(level=level)
    for name in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger(), name)("ours")
        getattr(logging.getLogger("theirs"), name)("theirs")
    assert [line["level"] for line in lines(file)] == [one for one in seen for _ in range(2)]


def test_the_standard_library_goes_the_same_way() -> None:
    file = logging_to()
    logging.getLogger("aiohttp.server").error("broken %s at 100%%", "pipe")
    logging.getLogger("odd").log(25, "between")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", UserWarning, stacklevel=1)
    first, second, third = lines(file)
    assert (first["event"], first["logger"]) == ("broken pipe at 100%", "aiohttp.server")
    assert (second["event"], second["level"]) == ("between", "info")
    assert third["logger"] == "py.warnings"


def test_drivers_that_log_content_never_do() -> None:
    file = logging_to(level="debug")
    logging.getLogger("pymongo.command").debug('{"insert": "messages", "content": "hello"}')
    logging.getLogger("aiohttp.access").info("GET /")
    assert file.getvalue() == b""


SECRET = "hunter2"


def fail(password: str) -> None:
    raise ValueError("no such thing")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_stack_trace_without_the_values_of_variables(form: str) -> None:
    file = logging_to(form)
    try:
        fail(SECRET)
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("theirs").exception("failed too")
    text = file.getvalue().decode()
    assert text.count("in fail" if form == "console" else '"name":"fail"') == 2
    assert "no such thing" in text
    assert "hunter2" not in text


def test_a_stack_trace_is_structured() -> None:
    file = logging_to()
    try:
        fail("")
    except ValueError as exc:
        structlog.get_logger().error("failed", exc_info=exc)
    (trace,) = lines(file)[0]["exception"]
    assert (trace["exc_type"], trace["exc_value"]) == ("ValueError", "no such thing")
    assert trace["frames"][-1]["name"] == "fail"


class Odd(msgspec.Struct):
    a: int


@pytest.mark.parametrize("value", ["\udcff", object(), {1: "\ud800"}, {object(): 1}, Odd(1), 2**80])
@pytest.mark.parametrize("form", ["json", "console"])
def test_any_value_can_be_logged(form: str, value: object) -> None:
    file = logging_to(form)
    structlog.get_logger().info("odd", value=value)
    assert b"odd" in file.getvalue()
    assert file.getvalue().count(b"\n") == 1


class Broken(io.BytesIO):
    def write(self, data: object) -> int:
        raise BrokenPipeError


def test_a_line_that_cannot_be_written_is_counted_and_fails_nothing() -> None:
    output = Output(Broken())
    output.msg(b"line")
    output.info(b"line")
    assert output.lost == 2


TOKEN = mint(b"x" * 32, "alice", 60)


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"refused {TOKEN}", TOKEN.rsplit(".", 1)[1]),
        (f"Authorization: Bearer {TOKEN}", TOKEN.split(".")[0]),
        ("chatsvc.v1, bearer.abc.def.ghi", "abc.def"),
        ("mongodb://chat:hunter2@db.example.org:27017/?x=1", "hunter2"),
        ("cannot reach mongodb+srv://chat:p@ss/word@db", "ss/word"),
    ],
    ids=itertools.count(),  # the token is another at each run
)
def test_tokens_and_passwords_are_blotted_out(form: str, text: str, secret: str) -> None:
    file = logging_to(form)
    structlog.get_logger().info("event", detail=text)
    structlog.get_logger().info(text)
    logging.getLogger("theirs").warning(text)
    try:
        raise RuntimeError(text)
    except RuntimeError:
        structlog.get_logger().exception("event")
    shown = file.getvalue().decode()
    assert secret not in shown
    assert shown.count("***") >= 4


@pytest.mark.parametrize(
    "line", [b'{"event":"request","path":"/api/messages"}', b"http://127.0.0.1:8080 alice@example"]
)
def test_other_lines_stay_as_they_are(line: bytes) -> None:
    assert redact(line) == line


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("mongodb://localhost:27017", "mongodb://localhost:27017"),
        ("mongodb://chat:hunter2@db:1/x", "mongodb://chat:***@db:1/x"),
        ("mongodb://chat:p%40ss@a,b/?replicaSet=rs", "mongodb://chat:***@a,b/?replicaSet=rs"),
        ("mongodb://chat:p@ss:w/rd@a", "mongodb://chat:***@a"),
        ("mongodb://chat@db", "mongodb://chat@db"),
        ("chat:hunter2@db", "chat:***@db"),
        (
            "mongodb://a/?tlsCertificateKeyFilePassword=hunter2&tls=true",
            "mongodb://a/?tlsCertificateKeyFilePassword=***&tls=true",
        ),
        (
            "mongodb://a/?authMechanismProperties=AWS_SESSION_TOKEN:hunter2",
            "mongodb://a/?authMechanismProperties=***",
        ),
    ],
)
def test_a_uri_that_may_be_shown(uri: str, shown: str) -> None:
    assert safe_uri(uri) == shown
    assert "hunter2" not in safe_uri(uri)


async def test_what_no_one_awaited_is_logged_with_its_trace() -> None:
    file = logging_to()
    loop = asyncio.get_running_loop()
    try:
        fail("hunter2")
    except ValueError as exc:
        on_loop_exception(loop, {"message": "never retrieved", "exception": exc, "transport": "x"})
    on_loop_exception(loop, {"message": "no exception"})
    first, second = lines(file)
    assert (first["event"], first["detail"]) == ("unhandled_exception", "never retrieved")
    assert first["exception"][0]["exc_value"] == "no such thing"
    assert "transport" not in first
    assert second["detail"] == "no exception"


# Queued, as a service does it


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_what_python_itself_would_print_goes_the_same_way(tmp_path: Path) -> None:
    """Printed by the interpreter it would wait for whoever reads standard error."""
    path = tmp_path / "lines"
    with path.open("wb") as file:
        configure(load({"LOG_FORMAT": "json"}), file, queued=True)

        class Fails:
            def __del__(self) -> None:
                raise ValueError("while it was thrown away")

        Fails()

        def die() -> None:
            raise ValueError("in a thread")

        thread = threading.Thread(target=die, name="worker")
        thread.start()
        thread.join()
        logging.getLogger("theirs").error("%s", Unprintable())
        finish()
    unraisable, died, failed = map(json.loads, path.read_bytes().splitlines())
    assert unraisable["event"] == "unraisable_exception"
    assert unraisable["exception"][0]["exc_value"] == "while it was thrown away"
    assert (died["event"], died["thread"]) == ("thread_died", "worker")
    assert died["exception"][0]["exc_value"] == "in a thread"
    assert (failed["event"], failed["logger"]) == ("log_record_failed", "theirs")


def test_lines_that_were_dropped_are_counted_and_one_line_says_so() -> None:
    reading, writing = os.pipe()
    with open(writing, "wb") as file:
        output = configure(load({"LOG_FORMAT": "json"}), file, queued=True)
        for _ in range(60):
            structlog.get_logger().info("long", text="x" * 100_000)
        lost = lines_lost()
        assert lost >= 60 - (4 * 1024 * 1024 + 65536 + 100_200) // 100_000
        collected = bytearray()

        def read() -> None:
            while piece := os.read(reading, 65536):
                collected.extend(piece)

        reader = threading.Thread(target=read)
        reader.start()
        deadline = time.monotonic() + 30
        while b"log_lines_lost" not in collected:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        finish(30)
        assert output.lost == lost
    reader.join(30)
    os.close(reading)
    lines = [json.loads(line) for line in collected.splitlines()]
    reports = [line for line in lines if line["event"] == "log_lines_lost"]
    assert [(line["level"], line["lines"]) for line in reports] == [("warning", lost)]
    assert len(lines) == 60 - lost + 1


def test_a_field_that_cannot_be_encoded_leaves_the_others_as_they_are() -> None:
    file = logging_to()
    structlog.get_logger().info("started", path="caf\udce9", url="http://h", odd=object())
    (line,) = lines(file)
    assert (line["level"], line["event"], line["url"]) == ("info", "started", "http://h")
    assert line["path"] == "caf\\udce9"
    assert datetime.fromisoformat(line["time"])
