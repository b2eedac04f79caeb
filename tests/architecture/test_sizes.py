"""Files have at most 400 lines, and functions at most 50."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("chatsvc", "conformance", "testkit", "demo_cli", "scripts", "bench", "tests")
KEPT_AS_IT_WAS = ROOT / "tests" / "integration" / "support" / "old_client"
"""A released client, which a server must go on to serve."""
MAX_FILE = 400
MAX_FUNCTION = 50


def sources() -> Iterator[tuple[str, str]]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.is_relative_to(KEPT_AS_IT_WAS):
                continue
            yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")


def long_file(name: str, source: str) -> list[str]:
    lines = len(source.splitlines())
    return [f"{name}: {lines} lines"] if lines > MAX_FILE else []


def long_functions(name: str, source: str) -> list[str]:
    """From ``def`` to the last line, with the docstring and without decorators."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION:
                found.append(f"{name}:{node.lineno} {node.name}: {lines} lines")
    return found


def test_files_have_at_most_400_lines() -> None:
    found = [one for name, source in sources() for one in long_file(name, source)]
    assert not found, "part them by subject:\n" + "\n".join(found)


def test_functions_have_at_most_50_lines() -> None:
    found = [one for name, source in sources() for one in long_functions(name, source)]
    assert not found, "part them by what they do:\n" + "\n".join(found)


def test_a_long_file_is_found_with_its_length() -> None:
    assert long_file("a.py", "x = 1\n" * 400) == []
    assert long_file("a.py", "x = 1\n" * 401) == ["a.py: 401 lines"]


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_long_function_is_found_with_its_length(kind: str) -> None:
    def function(lines: int) -> str:
        return f"class A:\n  @property\n  {kind} f(self):\n" + "    x = 1\n" * (lines - 1)

    assert long_functions("a.py", function(50)) == []
    assert long_functions("a.py", function(51)) == ["a.py:3 f: 51 lines"]
