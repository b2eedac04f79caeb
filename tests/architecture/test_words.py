"""Identifiers are terms of the field, not images.

The form of docstrings is checked by ruff (``D`` in ``pyproject.toml``).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.support.source_texts import sources

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
        "self._desk = 1",
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
