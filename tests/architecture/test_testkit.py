"""``testkit/`` holds what several suites share, and depends on none of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.missing import skip_outside_ci

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path for path in (ROOT / "testkit").rglob("*.py") if path.stem != "__init__")
# The client of every suite that needs bytes; the others need frames alone at present.
OF_ONE_SUITE = {"raw_socket"}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def suite_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    if parts[0] != "tests":
        return parts[0]
    return parts[1] if len(parts) > 2 else "every suite"


def users() -> dict[str, set[str]]:
    """Module of ``testkit`` → the suites that import it, directly or through another of it."""
    found: dict[str, set[str]] = {path.stem: set() for path in MODULES}
    within: dict[str, set[str]] = {}
    for folder in ("tests", "bench", "scripts", "testkit"):
        for path in (ROOT / folder).rglob("*.py"):
            names = {one.split(".")[1] for one in imported(path) if one.startswith("testkit.")}
            if folder == "testkit":
                within[path.stem] = names & found.keys()
            else:
                for name in names & found.keys():
                    found[name].add(suite_of(path))
    for _ in MODULES:  # as often as one can need another
        for name, needed in within.items():
            for one in needed:
                found[one] |= found.get(name, set())
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_says_what_it_is_for_and_imports_no_suite(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))
    tops = {name.partition(".")[0] for name in imported(path)}
    assert tops.isdisjoint({"tests", "bench", "scripts"})


def test_a_module_is_used_by_two_suites() -> None:
    of_one = {name for name, suites in users().items() if len(suites - {"every suite"}) < 2}
    assert of_one == OF_ONE_SUITE, "what one suite alone uses goes to tests/<suite>/support"


def test_the_readme_names_every_module() -> None:
    text = (ROOT / "testkit" / "README.md").read_text("utf-8")
    assert set(re.findall(r"`(\w+)\.py`", text)) == {path.stem for path in MODULES}


def test_what_is_missing_skips_a_test_and_fails_it_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no nginx"):
        skip_outside_ci("no nginx")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no nginx"):
        skip_outside_ci("no nginx")
