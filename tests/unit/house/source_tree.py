"""The source of the house as the architecture tests read it: files, imports, definitions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
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

    def imported(self, *, at_import_time: bool = False) -> set[str]:
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
        return imported_names

    def imports(self, package: str, *, at_import_time: bool = False) -> bool:
        """Whether it imports the package or something in it."""
        names = self.imported(at_import_time=at_import_time)
        return any(name == package or name.startswith(f"{package}.") for name in names)


def modules(*places: str) -> list[Module]:
    """Every module at these places of the repository, in order of path."""
    paths: set[Path] = set()
    for place in places:
        path = ROOT / place
        paths.update([path] if path.is_file() else path.rglob("*.py"))
    own_paths = [path for path in sorted(paths) if "node_modules" not in path.parts]
    return [Module(path) for path in own_paths if "vendor" not in path.parts]


def _run_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _run_at_import(node)
