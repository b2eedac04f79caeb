"""The table of error codes is the program's: every code it raises, and no other.

Codes are read from the source, where they must be literals: ``code=`` of an error, the
second argument of ``FieldError`` and ``Invalid.at``, ``code`` of an error class, the first item
of what a ``…_error`` function returns, and the arguments of functions that pass them on.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeGuard

import pytest

from chatsvc.api.feature import error_codes
from chatsvc.app.features import declared_features
from chatsvc.core import errors as core_errors
from chatsvc.core.errors import ChatError, RequestError, TooManyRequests, Unavailable
from chatsvc.core.limits import Limits
from chatsvc.server import errors as server_errors
from chatsvc.wire.error_codes import ERROR_CODES, Action
from scripts import error_codes_docs

ROOT = Path(__file__).resolve().parents[2]
# What is not the server: a client meets codes, it raises none.
ELSEWHERE = ("chatsvc/client/", "chatsvc/cli/")
SOURCES = [
    path
    for path in sorted((ROOT / "chatsvc").rglob("*.py"))
    if not path.relative_to(ROOT).as_posix().startswith(ELSEWHERE)
]
FEATURES = declared_features(Limits())
EVERY = error_codes(FEATURES)
TABLE = {row.code: row for row in EVERY}
CLASSES: dict[str, type[Exception]] = {
    name: cls
    for module in (core_errors, server_errors)
    for name, cls in vars(module).items()
    if isinstance(cls, type) and issubclass(cls, ChatError)
}


class Raised(NamedTuple):
    """A code in the source. ``status`` is ``None`` where the place alone does not tell it."""

    code: str
    status: int | None
    where: str


class Unreadable(Exception):
    """A code that is no literal."""


def literals(node: ast.expr) -> list[str]:
    """The strings that an expression can be; empty where it passes on what it was given."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.IfExp():
            return literals(node.body) + literals(node.orelse)
        case ast.Name() | ast.Attribute() | ast.Starred() | ast.Constant(value=None):
            return []
    raise Unreadable(ast.unparse(node))


def name_of(function: ast.expr) -> str:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def passing_on(tree: ast.Module) -> dict[str, int]:
    """Functions of a module that take a ``code`` and give it to an error → its position."""
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        names = [argument.arg for argument in node.args.args]
        calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)]
        if "code" in names and any(code_of(call) is not None for call in calls):
            found[node.name] = names.index("code")
    return found


def code_of(call: ast.Call) -> ast.expr | None:
    """The argument that is a code, of a call that makes an error or part of one."""
    name = name_of(call.func)
    if name in CLASSES or name == "Error":
        return next((kw.value for kw in call.keywords if kw.arg == "code"), None)
    if name in ("FieldError", "at") and len(call.args) > 1:
        return call.args[1]
    return None


def status_of(call: ast.Call) -> int | None:
    name = name_of(call.func)
    if name == "at" and ast.unparse(call.func) == "Invalid.at":
        return 422
    cls = CLASSES.get(name)
    return None if cls is None else server_errors.status_of(cls.__new__(cls))


def raised_in(tree: ast.Module, where: str) -> Iterator[Raised]:
    passed_on = passing_on(tree)
    for node in ast.walk(tree):
        at = f"{where}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call):
            code = code_of(node)
            status = status_of(node)
            if code is None and (index := passed_on.get(name_of(node.func))) is not None:
                code = node.args[index]
            if code is not None:
                yield from (Raised(text, status, at) for text in literals(code))
        elif isinstance(node, ast.FunctionDef) and node.name.endswith("_error"):
            for part in ast.walk(node):
                if isinstance(part, ast.Return) and isinstance(part.value, ast.Tuple):
                    yield from (Raised(text, 422, at) for text in literals(part.value.elts[0]))
        elif isinstance(node, ast.Assign):
            yield from (Raised(text, None, at) for text in assigned(node))


def assigned(node: ast.Assign) -> list[str]:
    """``code = "…"`` in a class, and ``code, detail = "…", "…"`` in a function."""
    (target, *_), value = node.targets, node.value
    if isinstance(target, ast.Name) and target.id == "code":
        return [value.value] if _is_text(value) else []  # others are computed numbers
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = zip(target.elts, value.elts, strict=True)
        return [t for to, one in pairs if name_of(to) == "code" for t in literals(one)]
    return []


def _is_text(node: ast.expr) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def everything_raised() -> list[Raised]:
    found: list[Raised] = []
    for path in SOURCES:
        where = path.relative_to(ROOT).as_posix()
        found += raised_in(ast.parse(path.read_text("utf-8")), where)
    for cls in CLASSES.values():
        if "code" in vars(cls):
            found.append(Raised(cls.code, server_errors.status_of(cls.__new__(cls)), cls.__name__))
    return found


RAISED = everything_raised()


def test_every_code_that_is_raised_is_in_the_table() -> None:
    missing = {one for one in RAISED if one.code not in TABLE}
    assert missing == set(), "add a row to chatsvc/wire/error_codes.py, or to the feature's"


def test_every_code_in_the_table_is_raised() -> None:
    assert {row.code for row in EVERY} - {one.code for one in RAISED} == set()


def test_a_feature_raises_its_own_codes_and_those_of_the_service() -> None:
    common = {row.code for row in ERROR_CODES}
    for feature in FEATURES:
        own = {row.code for row in feature.error_codes}
        raised = {one.code for one in RAISED if f"/features/{feature.name}/" in one.where}
        assert raised <= own | common, feature.name
        assert own <= raised, feature.name


def test_codes_have_the_status_they_are_raised_with() -> None:
    for one in RAISED:
        if one.status is not None:
            assert TABLE[one.code].status == one.status, one


def test_the_table_is_in_order_and_names_each_code_once() -> None:
    rows = [(row.status, row.code) for row in EVERY]
    assert rows == sorted(set(rows))
    assert len({row.code for row in EVERY}) == len(EVERY)
    for row in EVERY:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", row.code)
        assert row.meaning.endswith(".")


def test_whoever_is_asked_to_wait_is_told_how_long() -> None:
    """``retry_after`` is a matter of the class: all of 429 and 503 carry it, and no others."""
    for row in EVERY:
        assert (row.action is Action.WAIT) == (row.status in (429, 503)), row
    for cls in CLASSES.values():
        if issubclass(cls, TooManyRequests | Unavailable):
            assert "Retry-After" in server_errors.failure(cls("wait"), "r").headers
        elif issubclass(cls, RequestError) and cls is not server_errors.MethodNotAllowed:
            assert "Retry-After" not in server_errors.failure(cls("no"), "r").headers


def test_the_page_lists_the_table() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    assert error_codes_docs.table() in text, "run: python -m scripts.error_codes_docs"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('raise Malformed("x", code="a_code")', [("a_code", 400)]),
        ('raise Invalid.at("/x", "a_code", "y")', [("a_code", 422)]),
        ('raise Invalid.at("/x", "one" if low else "two", "y")', [("one", 422), ("two", 422)]),
        ('FieldError("/x", "a_code", "y")', [("a_code", None)]),
        ('def x_error(x):\n    return ("a_code", "y", None)', [("a_code", 422)]),
        ('def no(code):\n    return Forbidden("x", code=code)\nno("a_code")', [("a_code", None)]),
        ('class Odd(RequestError):\n    code = "a_code"', [("a_code", None)]),
        ('Error(code="a_code", detail="y")', [("a_code", None)]),
    ],
)
def test_a_code_is_found_where_it_is_raised(
    source: str, found: list[tuple[str, int | None]]
) -> None:
    assert [(one.code, one.status) for one in raised_in(ast.parse(source), "x")] == found


def test_a_code_that_is_computed_is_refused() -> None:
    with pytest.raises(Unreadable):
        list(raised_in(ast.parse('raise Forbidden("x", code=f"a_{b}")'), "x"))
