"""No module of chatsvc imports itself, directly or through others.

Counted are imports that run when a module is imported: neither those inside functions nor
those for the type checker. That a package is imported before its modules is not counted.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    module_of(path): path.read_text("utf-8") for path in sorted((ROOT / "chatsvc").rglob("*.py"))
}


def executed(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run on import, nested ones too."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                continue
            case ast.If(test=test) if ast.unparse(test).endswith("TYPE_CHECKING"):
                yield from executed(node.orelse)
            case _:
                yield node
                for name in ("body", "orelse", "finalbody"):
                    yield from executed(getattr(node, name, ()))
                for handler in getattr(node, "handlers", ()):
                    yield from executed(handler.body)


def imported(source: str, known: Iterable[str]) -> set[str]:
    """Those of the known modules that a module imports; imports are absolute (TID252)."""
    found: set[str] = set()
    for node in executed(ast.parse(source).body):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                found.add(inner if inner in known else module)
    return found & set(known)


def cycle(sources: Mapping[str, str]) -> list[str] | None:
    """A cycle, each module importing the one before it, or ``None``."""
    graph = {name: imported(source, sources.keys()) for name, source in sources.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        return list(exc.args[1])
    return None


def test_no_module_imports_itself_through_others() -> None:
    assert len(SOURCES) > 100
    found = cycle(SOURCES)
    assert found is None, " is imported by ".join(found or ())


@pytest.mark.parametrize(
    "back",
    [
        "import chatsvc.a",
        "from chatsvc import a",
        "from chatsvc.a import x",
        "try:\n    from chatsvc.a import x\nexcept ImportError:\n    pass",
        "class B:\n    from chatsvc.a import x",
        "if TYPE_CHECKING:\n    pass\nelse:\n    from chatsvc.a import x",
    ],
)
def test_a_cycle_is_found(back: str) -> None:
    sources = {"chatsvc": "", "chatsvc.a": "from chatsvc import c", "chatsvc.b": back}
    assert cycle(sources | {"chatsvc.c": "import os\nfrom chatsvc.b import y"}) is not None


@pytest.mark.parametrize(
    "back",
    [
        "def f():\n    from chatsvc.a import x",
        "if TYPE_CHECKING:\n    from chatsvc.a import x",
        "if typing.TYPE_CHECKING:\n    from chatsvc.a import x",
        "from chatsvc import __version__",
    ],
)
def test_what_does_not_run_on_import_is_no_cycle(back: str) -> None:
    sources = {"chatsvc": "", "chatsvc.a": "from chatsvc.b import y", "chatsvc.b": back}
    assert cycle(sources) is None
