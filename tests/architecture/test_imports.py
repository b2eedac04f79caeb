"""Who may import whom, where import-linter cannot say it.

The layers themselves are contracts in ``pyproject.toml``. Here: which third-party
packages belong to which part, so that a change of driver or framework stays in the
one place that knows it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("chatsvc", "conformance", "demo_cli")
FIRST_PARTY = {"chatsvc", "chatsvc_conformance", "demo_cli"}

# Part of the program → third-party packages it may import. The longest prefix decides.
ALLOWED: dict[str, set[str]] = {
    "chatsvc/core/": {"msgspec"},
    "chatsvc/wire/": {"msgspec"},
    "chatsvc/api/": {"msgspec"},
    "chatsvc/settings/": set(),
    "chatsvc/log/": {"msgspec", "structlog"},
    "chatsvc/auth/": {"msgspec", "structlog", "jwt", "cryptography"},
    "chatsvc/delivery/": {"msgspec", "structlog"},
    "chatsvc/storage/": {"msgspec", "structlog", "tenacity"},
    "chatsvc/storage/mongo/": {"msgspec", "structlog", "motor", "pymongo", "bson"},
    "chatsvc/features/": {"msgspec", "structlog"},
    "chatsvc/server/": {
        "msgspec",
        "structlog",
        "aiohttp",
        "multidict",
        "yarl",
        "prometheus_client",
    },
    "chatsvc/client/": {"msgspec", "aiohttp", "yarl", "multidict"},
    "chatsvc/app/": {"msgspec", "structlog", "aiohttp", "prometheus_client"},
    "chatsvc/cli": {"msgspec", "structlog", "uvloop"},
    "chatsvc/logs.py": {"msgspec", "structlog"},
    "chatsvc/": {"msgspec"},
    "conformance/": {"msgspec", "aiohttp", "yarl", "multidict"},
    "demo_cli/": {"msgspec", "aiohttp", "prompt_toolkit", "rich"},
}

# Own packages that a part may import, where the layers would let it have more.
OWN: dict[str, set[str]] = {
    "chatsvc/client/": {"chatsvc.client", "chatsvc.core", "chatsvc.wire"},
    "demo_cli/": {
        "chatsvc.arguments",
        "chatsvc.console",
        "chatsvc.client",
        "chatsvc.core",
        "chatsvc.wire",
        "demo_cli",
    },
    "conformance/": {"chatsvc_conformance"},
}

# The embedded database is the log's and the store's own business.
SQLITE_HOMES = ("chatsvc/log/", "chatsvc/storage/sqlite/")


def sources() -> Iterator[tuple[str, Path]]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every module that is imported, wherever in the file, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def rule_for(name: str, table: dict[str, set[str]]) -> set[str] | None:
    fitting = [prefix for prefix in table if name.startswith(prefix)]
    return table[max(fitting, key=len)] if fitting else None


def page_errors(name: str, tree: ast.AST) -> list[str]:
    faults: list[str] = []
    allowed = rule_for(name, ALLOWED) or set()
    own = rule_for(name, OWN)
    for line, module in imported(tree):
        top = module.partition(".")[0]
        where = f"{name}:{line} imports {module}"
        if top in FIRST_PARTY:
            if own is not None and (module not in FIRST_PARTY or name.startswith("conformance/")):
                short = ".".join(module.split(".")[: 2 if top == "chatsvc" else 1])
                if short not in own and short != "chatsvc.__version__":
                    faults.append(f"{where}: allowed here are {', '.join(sorted(own))}")
        elif top == "sqlite3":
            if not name.startswith(SQLITE_HOMES):
                faults.append(f"{where}: SQLite belongs to {' and '.join(SQLITE_HOMES)}")
        elif top not in sys.stdlib_module_names and top not in allowed:
            faults.append(f"{where}: allowed here are {', '.join(sorted(allowed)) or 'none'}")
    return faults


@pytest.mark.parametrize(("name", "path"), list(sources()), ids=[name for name, _ in sources()])
def test_a_part_imports_only_what_belongs_to_it(name: str, path: Path) -> None:
    assert page_errors(name, ast.parse(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("chatsvc/core/x.py", "import aiohttp"),
        ("chatsvc/features/messages/api.py", "from aiohttp import web"),
        ("chatsvc/storage/persister/persister.py", "def f():\n    import motor.motor_asyncio"),
        ("chatsvc/storage/sqlite/store.py", "import pymongo"),
        ("chatsvc/server/observability/health.py", "import sqlite3"),
        ("chatsvc/client/session.py", "from chatsvc.server.http import application"),
        ("chatsvc/client/session.py", "from chatsvc import settings"),
        ("demo_cli/menu.py", "import chatsvc.log.local.log"),
        ("conformance/chatsvc_conformance/http.py", "import chatsvc"),
        ("conformance/chatsvc_conformance/http.py", "from chatsvc import wire"),
        ("conformance/chatsvc_conformance/http.py", "from demo_cli import rendering"),
    ],
)
def test_the_rule_finds_what_does_not_belong(name: str, source: str) -> None:
    assert len(page_errors(name, ast.parse(source))) >= 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("chatsvc/core/x.py", "import json\nimport msgspec"),
        ("chatsvc/storage/mongo/documents.py", "import bson"),
        ("chatsvc/log/local/wal.py", "import sqlite3"),
        ("chatsvc/client/http.py", "from chatsvc.wire.protocol import Hello"),
    ],
)
def test_the_rule_lets_pass_what_belongs(name: str, source: str) -> None:
    assert page_errors(name, ast.parse(source)) == []
