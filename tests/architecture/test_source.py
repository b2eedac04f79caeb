"""Habits of the whole source that no linter rule says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path for folder in ("chatsvc", "conformance") for path in (ROOT / folder).rglob("*.py")
)
NAMES = [path.relative_to(ROOT).as_posix() for path in SOURCES]

# The command line hands the environment to ``settings.load``; nothing else looks at it.
READS_ENVIRONMENT = ("chatsvc/cli/",)


def trees() -> list[tuple[str, ast.Module]]:
    return [
        (name, ast.parse(path.read_text("utf-8")))
        for name, path in zip(NAMES, SOURCES, strict=True)
    ]


def environment_readers(tree: ast.Module) -> list[int]:
    lines: list[int] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "os" and node.attr in {"environ", "environb", "getenv"}:
                lines.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            lines += [node.lineno for alias in node.names if alias.name in {"environ", "getenv"}]
    return lines


def swallowers(tree: ast.Module) -> list[int]:
    """``except …: pass`` (or ``...``), and ``suppress`` of what is too wide."""
    lines: list[int] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            names = {part.id for part in ast.walk(node.type or node) if isinstance(part, ast.Name)}
            empty = all(
                isinstance(line, ast.Pass)
                or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
                for line in node.body
            )
            if (
                empty
                or (node.type is None and not _raises(node))
                or ("BaseException" in names and not (_raises(node) or _uses(node)))
            ):
                lines.append(node.lineno)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            names = {ast.unparse(argument) for argument in node.args}
            if names & {"Exception", "BaseException"}:
                lines.append(node.lineno)
    return lines


def _raises(node: ast.ExceptHandler) -> bool:
    return any(isinstance(part, ast.Raise) for part in ast.walk(node))


def _uses(node: ast.ExceptHandler) -> bool:
    return node.name is not None and any(
        isinstance(part, ast.Name) and part.id == node.name for part in ast.walk(node)
    )


def test_the_environment_is_read_in_one_place() -> None:
    found = {name: lines for name, tree in trees() if (lines := environment_readers(tree))}
    assert {name for name in found if not name.startswith(READS_ENVIRONMENT)} == set()


def test_errors_of_every_command_line_are_one_line() -> None:
    """The parsers of argparse itself print the usage as well."""
    paths = [
        path
        for folder in ("chatsvc", "demo_cli", "conformance", "bench", "scripts")
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]
    assert [
        path.relative_to(ROOT).as_posix()
        for path in paths
        if "ArgumentParser(" in path.read_text("utf-8")
    ] == []


def test_no_error_is_swallowed() -> None:
    assert {name: lines for name, tree in trees() if (lines := swallowers(tree))} == {}


def test_every_module_says_what_it_is_for() -> None:
    assert [name for name, tree in trees() if not ast.get_docstring(tree)] == []


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    f()\nexcept ValueError:\n    pass",
        "try:\n    f()\nexcept:\n    log()",
        "try:\n    f()\nexcept BaseException:\n    log()",
        "with suppress(Exception):\n    f()",
        "with contextlib.suppress(BaseException):\n    f()",
    ],
)
def test_swallowing_is_found(source: str) -> None:
    assert swallowers(ast.parse(source))


@pytest.mark.parametrize("source", ["import os\nos.environ['A']", "from os import getenv"])
def test_reading_the_environment_is_found(source: str) -> None:
    assert environment_readers(ast.parse(source))
