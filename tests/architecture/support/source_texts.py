"""Reads the source: modules, functions, and the literals behind expressions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]
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
