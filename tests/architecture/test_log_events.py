"""Log events are snake_case literals."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.architecture.support.source_texts import Found, Texts, name_of, sources

EVENT = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LEVELS = {"debug", "info", "warning", "error", "critical", "exception", "log"}
LOGGERS = {"log", "_log", "logger", "_logger", "get_logger"}
# The client library logs sentences through the standard library, and so may its callers:
# chatsvc/logs.py passes records of the standard library on as they are.
WITHOUT_STRUCTLOG = ("chatsvc/client/", "demo_cli/")
PASSED_ON = {
    "chatsvc/logs.py": {"record.getMessage()"},
    # Of privacy.py, one for each finding.
    "chatsvc/log/local/lock.py": {"finding.event"},
}


def is_level(node: ast.expr) -> bool:
    """``_log.info``."""
    return (
        isinstance(node, ast.Attribute) and node.attr in LEVELS and name_of(node.value) in LOGGERS
    )


def events(name: str, tree: ast.Module) -> Iterator[Found]:
    texts = Texts(tree)
    aliases = {  # write = _log.info
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and is_level(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.id if isinstance(node.func, ast.Name) else ""
        if not is_level(node.func) and called not in aliases:
            continue
        index = 1 if isinstance(node.func, ast.Attribute) and node.func.attr == "log" else 0
        event = node.args[index] if len(node.args) > index else None
        where = f"{name}:{node.lineno}"
        if event is None:
            yield Found(where, None)
        elif ast.unparse(event) not in PASSED_ON.get(name, set()):
            yield from (Found(where, text) for text in texts.of(event, texts.owner.get(node)))


def wrong_events(found: Iterator[Found]) -> list[Found]:
    return [one for one in found if one.text is None or not EVENT.fullmatch(one.text)]


def test_log_events_are_snake_case_literals() -> None:
    found = [
        one
        for name, tree in sources("chatsvc/")
        if not name.startswith(WITHOUT_STRUCTLOG)
        for one in events(name, tree)
    ]
    assert len(found) > 30
    assert wrong_events(iter(found)) == []


@pytest.mark.parametrize(
    "source",
    [
        '_log.info("a commit failed")',
        '_logger.exception("Failed", batch=1)',
        "structlog.get_logger().error(f'commit_{x}')",
        'self._logger.log(30, "not snake")',
        "_log.warning()",
        'write = _log.info\nwrite("a sentence")',
        'def warn(event):\n    _log.warning(event)\nwarn("a sentence")',
        "_log.error(event_of(x))",
    ],
)
def test_a_wrong_event_is_found(source: str) -> None:
    assert wrong_events(events("x.py", ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        '_log.info("commit_failed", error="a commit failed")',
        '_log.info("one" if x else "two_of_3")',
        'def warn(event):\n    _log.warning(event)\nwarn("a_sentence")',
        'self._log.append("not an event")',
    ],
)
def test_a_right_event_is_not_found(source: str) -> None:
    assert wrong_events(events("x.py", ast.parse(source))) == []
