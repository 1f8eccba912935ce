"""The source of the house as the architecture tests read it: files, imports, definitions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PRODUCT = ("function_app.py", "functions", "shared")
OUTSIDE = ("local_host", "cli", "manage.py", "dev.py", "benchmarks", "tests")


@dataclass(frozen=True)
class Module:
    """One file of the repository."""

    path: Path

    @property
    def name(self) -> str:
        """Its dotted name."""
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())

    @cache  # noqa: B019  (the modules of the house are kept too)
    def imported(self, *, at_import_time: bool = False) -> frozenset[str]:
        """Dotted names of what it imports: `a.b` for `from a import b` too.

        At import time only: without functions and without `if TYPE_CHECKING`.
        """
        nodes = _run_at_import(self.tree) if at_import_time else ast.walk(self.tree)
        imported_names: set[str] = set()
        for node in nodes:
            if isinstance(node, ast.Import):
                imported_names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.name}: a relative import"
                imported_names.add(node.module or "")
                imported_names.update(f"{node.module}.{alias.name}" for alias in node.names)
        return frozenset(imported_names)

    def imports(self, package: str, *, at_import_time: bool = False) -> bool:
        """Whether it imports the package or something in it."""
        names = self.imported(at_import_time=at_import_time)
        return any(name == package or name.startswith(f"{package}.") for name in names)


def modules(*places: str) -> list[Module]:
    """Every module at these places of the repository, in order of path."""
    return [_module(path) for path in sorted({path for each in places for path in _paths(each)})]


# Many tests read the same files: each is found, parsed and walked once.

_module = cache(Module)


@cache
def _paths(place: str) -> list[Path]:
    path = ROOT / place
    paths = [path] if path.is_file() else path.rglob("*.py")
    return [each for each in paths if {"node_modules", "vendor"}.isdisjoint(each.parts)]


def _run_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _run_at_import(node)
