"""Details of errors state what must hold."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from chatsvc.core import errors as core_errors
from chatsvc.core.errors import RequestError
from chatsvc.server import errors as server_errors
from tests.architecture.support.source_texts import Found, Texts, name_of, sources

SERVER = tuple(f"chatsvc/{name}/" for name in ("core", "wire", "api", "auth", "server", "features"))
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
