"""What the sources define: modules, what stands at their top level, members of classes.

Read as text: nothing is imported. What a module takes from another is not its own. Knows nothing of
who asks.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("search", "objectives", "demo", "benchmarks", "tests")
FOLDERS = (*PACKAGES, "docs")
"""Where there is code."""


class Class(NamedTuple):
    """A class of ours: names of its members, and of what it inherits from."""

    members: frozenset[str]
    bases: tuple[str, ...]


class Module(NamedTuple):
    """A source file: names at its top level, its classes, what it imports from elsewhere."""

    names: frozenset[str]
    classes: Mapping[str, Class]
    imported: frozenset[str]


@cache
def tree(file: Path) -> ast.Module:
    """A source file, parsed once."""
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def sources() -> tuple[Path, ...]:
    """Every source file of the repository."""
    return tuple(file for name in FOLDERS for file in sorted((ROOT / name).rglob("*.py")))


@cache
def modules() -> Mapping[str, Module]:
    """Every source file by its dotted name; a folder by its own."""
    return {dotted(file): _module(tree(file)) for file in sources()}


def dotted(file: Path) -> str:
    """The name that a source file is imported by."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def is_defined(name: str) -> bool:
    """Whether an absolute dotted name is a module, what a module defines, or a class's member."""
    known, parts = modules(), name.split(".")
    n = next((n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in known), 0)
    rest = parts[n:]
    if n == 0 or not rest:
        return n > 0
    module = known[".".join(parts[:n])]
    if rest[0] not in module.names:
        return False
    inner = rest[1:]
    return not inner or inner[0] in members(rest[0])


@cache
def members(name: str) -> frozenset[str]:
    """Members of all classes of a name, inherited ones with them."""
    found: frozenset[str] = frozenset()
    for module in modules().values():
        if name in module.classes:
            found |= module.classes[name].members
            for base in module.classes[name].bases:
                found |= members(base) if base != name else frozenset()
    return found


def _module(parsed: ast.Module) -> Module:
    body = list(_flat(parsed.body))
    names = {name for node in body for name in _names(node)}
    classes = {node.name: _class(node) for node in body if isinstance(node, ast.ClassDef)}
    imported = {
        (alias.asname or alias.name).rpartition(".")[2]
        for node in ast.walk(parsed)
        if isinstance(node, ast.ImportFrom | ast.Import)
        for alias in node.names
    }
    return Module(frozenset(names), classes, frozenset(imported))


def _class(node: ast.ClassDef) -> Class:
    found = {name for inner in _flat(node.body) for name in _names(inner)}
    for inner in ast.walk(node):  # self.x = ...
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
            found.add(inner.attr)
    bases = tuple(ast.unparse(base).rpartition(".")[2] for base in node.bases)
    return Class(frozenset(found), bases)


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements, and those inside of `if` and `try`."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try):
            yield from _flat([*node.body, *node.orelse])


def _names(node: ast.stmt) -> set[str]:
    """What a statement gives a name to."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {
        inner.id
        for target in targets
        if target is not None
        for inner in ast.walk(target)
        if isinstance(inner, ast.Name)
    }
