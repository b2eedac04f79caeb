"""Log events are snake_case, error details state a rule, and identifiers are field terms.

The form of docstrings is checked by ruff (``D`` in ``pyproject.toml``).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from chatsvc.core import errors as core_errors
from chatsvc.core.errors import RequestError
from chatsvc.server import errors as server_errors

ROOT = Path(__file__).resolve().parents[2]

SERVER = tuple(f"chatsvc/{name}/" for name in ("core", "wire", "auth", "server", "features"))

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Found(NamedTuple):
    """A text in the source; ``text`` is ``None`` where it is not a literal."""

    where: str
    text: str | None


def sources(*prefixes: str) -> Iterator[tuple[str, ast.Module]]:
    """The modules below ``prefixes``, as (path, tree)."""
    for top in ("chatsvc", "demo_cli", "conformance"):
        for path in sorted((ROOT / top).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name.startswith(prefixes):
                yield name, ast.parse(path.read_text("utf-8"))


def functions(tree: ast.AST) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node


def name_of(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call():
            return name_of(node.func)
    return ""


class Texts:
    """Finds the literals behind the expressions of a module."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.owner: dict[ast.AST, Function] = {}
        for function in functions(tree):  # outer ones first: the innermost stays
            for node in ast.walk(function):
                self.owner[node] = function

    def of(self, node: ast.expr, within: Function | None) -> Iterator[str | None]:
        """The texts that an expression can be: ``{}`` for what is computed in one, ``None`` for
        what is no literal. Nothing for a parameter, whose values the callers have: see
        :meth:`passed`."""
        match node:
            case ast.Constant(value=str(text)):
                yield text
            case ast.JoinedStr(values=parts):
                yield "".join(str(p.value) if isinstance(p, ast.Constant) else "{}" for p in parts)
            case ast.IfExp():
                yield from self.of(node.body, within)
                yield from self.of(node.orelse, within)
            case ast.Name(id=name) if within is not None:
                assigned = list(self._assigned(name, within))
                if assigned:
                    for value in assigned:
                        yield from self.of(value, within)
                elif name in parameters(within):
                    yield from self.passed(within, name)
                else:
                    yield None
            case _:
                yield None

    def passed(self, function: Function, parameter: str) -> Iterator[str | None]:
        """What the module's own calls give for a parameter."""
        names = [name for name in parameters(function) if name not in ("self", "cls")]
        index = names.index(parameter)
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and name_of(node.func) == function.name:
                given = [kw.value for kw in node.keywords if kw.arg == parameter]
                if not given and len(node.args) > index:
                    given = [node.args[index]]
                for value in given:
                    yield from self.of(value, self.owner.get(node))

    @staticmethod
    def _assigned(name: str, within: Function) -> Iterator[ast.expr]:
        """``name = …``, ``other, name = …, …`` and ``for name in (…)``."""
        for node in ast.walk(within):
            pairs: list[tuple[ast.expr, ast.expr]] = []
            if isinstance(node, ast.Assign):
                pairs = [(node.targets[0], node.value)]
            elif isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple):
                pairs = [(node.target, value) for value in node.iter.elts]
            for target, value in pairs:
                if isinstance(target, ast.Name) and target.id == name:
                    yield value
                elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                    for one, its in zip(target.elts, value.elts, strict=False):
                        if isinstance(one, ast.Name) and one.id == name:
                            yield its


def parameters(function: Function) -> list[str]:
    arguments = function.args
    return [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


# Log events -------------------------------------------------------------------------------

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


# Error details ----------------------------------------------------------------------------

REQUEST_ERRORS = {
    name
    for module in (core_errors, server_errors)
    for name, cls in vars(module).items()
    if isinstance(cls, type) and issubclass(cls, RequestError)
}
# Details that state a fact instead of a rule begin like this.
FACTS = (
    "unknown ",  # unknown field 'x', unknown path: there is no rule beside the list of names
    "the token has expired",
    "the token's signature does not match any configured key",
)


def detail_of(call: ast.Call) -> ast.expr | None:
    """The argument that is a detail, of a call that makes an error or part of one."""
    name = name_of(call.func)
    if name == "FieldError" or ast.unparse(call.func) == "Invalid.at":
        index, keyword = 2, "detail"
    elif name == "FramingError":
        index, keyword = 1, "reason"
    elif name in REQUEST_ERRORS:
        index, keyword = 0, "detail"
    else:
        return None
    if len(call.args) > index:
        return call.args[index]
    return next((kw.value for kw in call.keywords if kw.arg == keyword), None)


def details(name: str, tree: ast.Module) -> Iterator[Found]:
    """The details of request errors, and the second item of what ``…_error`` functions return."""
    texts = Texts(tree)
    for node in ast.walk(tree):
        detail: ast.expr | None = None
        if isinstance(node, ast.Call):
            detail = detail_of(node)
        elif isinstance(node, ast.Return) and texts.owner[node].name.endswith("_error"):
            detail = node.value.elts[1] if isinstance(node.value, ast.Tuple) else None
        if detail is not None:
            where = f"{name}:{node.lineno}"
            for text in texts.of(detail, texts.owner.get(node)):
                if text is not None:  # others are passed on from where they are checked
                    yield Found(where, text)


def wrong_details(found: Iterator[Found]) -> list[Found]:
    return [one for one in found if "must" not in str(one.text) and not _is_fact(str(one.text))]


def _is_fact(text: str) -> bool:
    return text.startswith(FACTS)


def test_details_of_errors_state_what_must_hold() -> None:
    found = [one for name, tree in sources(*SERVER) for one in details(name, tree)]
    assert len(found) > 80
    assert wrong_details(iter(found)) == []


@pytest.mark.parametrize(
    "source",
    [
        'raise Invalid.at("/limit", "too_large", f"limit is at most {most}", most)',
        'raise Unauthorized("the token has no exp")',
        'raise Malformed(detail="it is not JSON")',
        'FieldError("/x", "comma", "a user id holds no comma")',
        'def user_id_error(user):\n    return ("comma", "a user id holds no comma", None)',
        'def no():\n    detail = "it is not yours"\n    raise Forbidden(detail)',
        'def no(detail):\n    raise Forbidden(detail)\nno("it is not yours")',
        'raise FramingError(1002, "a client masks its frames")',
    ],
)
def test_a_wrong_detail_is_found(source: str) -> None:
    assert wrong_details(details("x.py", ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        'raise Invalid.at("/limit", "too_large", f"limit must be at most {most}", most)',
        "raise Invalid.at('/x', 'unknown_field', f'unknown field {name!r}')",
        'raise Unavailable("the store is not available")',
    ],
)
def test_a_right_detail_is_not_found(source: str) -> None:
    assert wrong_details(details("x.py", ast.parse(source))) == []


# Identifiers ------------------------------------------------------------------------------

# Images, and words that readers from elsewhere do not expect → the term of the field.
IMAGES = {
    "aside": "dead letter, quarantine",
    "asleep": "idle",
    "away": "unavailable",
    "chore": "maintenance",
    "chores": "maintenance",
    "company": "more records",
    "deepest": "max_depth",
    "desk": "admin",
    "farewell": "close",
    "fault": "error, field_error",
    "faults": "errors, field_errors",
    "gone": "disconnected, unavailable",
    "goodbye": "close",
    "greet": "hello",
    "hear": "receive",
    "heard": "received",
    "heart": "core",
    "house": "package, service",
    "housekeeping": "maintenance",
    "keeper": "monitor",
    "lane": "record list",
    "record_lists": "record lists",
    "laws": "invariants",
    "least": "min",
    "longest": "max_length",
    "meet": "attach",
    "mend": "fix",
    "most": "max",
    "neighbour": "next, adjacent",
    "nouns": "data types",
    "readable": "decoded record",
    "room": "capacity, limits",
    "rooms": "packages",
    "said": "text, reason",
    "say": "send, log",
    "says": "send, log",
    "partition_records": "partition",
    "speak": "send",
    "speaker": "connection",
    "speaks": "sends",
    "stranger": "unrelated",
    "strangers": "unrelated",
    "stretch": "page query",
    "tell": "notify, send",
    "tells": "notify, send",
    "told": "notified, sent",
    "wish": "handshake parameters",
}
# Names of others: a schema of /openapi.json, which generated clients carry, and RFC 6455.
PUBLISHED = {"ProblemFault", "GOING_AWAY"}

_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def defined_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every name that a module defines, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.ExceptHandler(name=str(name)):
                yield node.lineno, name
            case ast.alias(asname=str(name)):
                yield 0, name


def images(name: str) -> set[str]:
    """The words of an identifier that are images."""
    if name in PUBLISHED:
        return set()
    return {part.lower() for part in _PARTS.findall(name)} & set(IMAGES)


def test_identifiers_are_field_terms() -> None:
    found = {
        f"{path}:{line} {name}": ", ".join(IMAGES[word] for word in sorted(images(name)))
        for path, tree in sources("")
        for line, name in (*defined_names(tree), (0, Path(path).stem))
        if images(name)
    }
    assert found == {}, "the values are terms to use instead"


@pytest.mark.parametrize(
    "source",
    [
        "class Speaker: ...",
        "def tell_all(): ...",
        "async def _hear(text): ...",
        "def f(*, most_bytes): ...",
        "MOST_FAULTS = 3",
        "self._room = 1",
        "x = lambda stretch: 1",
        "from a import b as keeper",
        "try:\n    f()\nexcept E as fault:\n    raise",
    ],
)
def test_an_image_is_found(source: str) -> None:
    assert any(images(name) for _, name in defined_names(ast.parse(source)))


@pytest.mark.parametrize("name", ["almost", "mostly", "hearing", "roommate", "default", "essay"])
def test_a_word_that_only_contains_an_image_is_not_found(name: str) -> None:
    assert images(name) == set()
