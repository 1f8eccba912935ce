"""Numbers of the source tree, as information and not as a limit.

Run `python -m tests.unit.house.tree_numbers`; `--tree PATH` counts another checkout, for example a
`git worktree` of an earlier commit.
"""

from __future__ import annotations

import argparse
import ast
import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PARTS = ("shared", "cli", "local_host", "functions", "tests")
# Words that say nothing of the thing that a variable holds.
DIALECT = frozenset(
    ("told", "held", "wanted", "found", "left", "said", "wished", "given", "made", "asked")
)
# Files that others wrote. `native_host.py` lay beside the tests in earlier commits.
LEFT_OUT = frozenset(("vendor", "node_modules", "swagger_ui", "__pycache__", "native_host.py"))


@dataclass(frozen=True)
class ModuleNumbers:
    """What one module adds to the numbers of its part."""

    lines: int
    comments: int
    function_lines: list[int]
    private_called_once: int
    own_imports: int
    dialect: int


def measure_module(text: str) -> ModuleNumbers:
    """Numbers of a module; a private function counts as called once if its name is used once."""
    tree, rows = ast.parse(text), text.splitlines()
    uses: Counter[str] = Counter()
    functions: list[ast.FunctionDef | ast.AsyncFunctionDef] = []
    own_imports: set[str] = set()
    dialect = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            uses[node.id] += 1
            dialect += isinstance(node.ctx, ast.Store) and node.id in DIALECT
        elif isinstance(node, ast.Attribute):
            uses[node.attr] += 1
        elif isinstance(node, ast.arg):
            dialect += node.arg in DIALECT
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions.append(node)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PARTS:
            own_imports.add(node.module or "")
    return ModuleNumbers(
        lines=len(rows),
        comments=sum(row.lstrip().startswith("#") for row in rows),
        function_lines=[(each.end_lineno or each.lineno) - each.lineno + 1 for each in functions],
        private_called_once=sum(
            each.name.startswith("_") and not each.name.startswith("__") and uses[each.name] == 1
            for each in functions
        ),
        own_imports=len(own_imports),
        dialect=dialect,
    )


def measure(root: Path) -> dict[str, str]:
    """The numbers of one part of a tree, by what they count."""
    modules = [
        measure_module(path.read_text("utf-8"))
        for path in sorted(root.rglob("*.py"))
        if not LEFT_OUT & {*path.relative_to(root).parts}
    ]
    lines = [module.lines for module in modules]
    functions = sorted(size for module in modules for size in module.function_lines)
    once = sum(module.private_called_once for module in modules)
    comments = sum(module.comments for module in modules)
    imports = [module.own_imports for module in modules]
    return {
        "files": f"{len(modules):,}",
        "lines": f"{sum(lines):,}",
        "median / largest module": f"{statistics.median(lines):.0f} / {max(lines):,}",
        "functions": f"{len(functions):,}",
        "median / p90 function": f"{functions[len(functions) // 2]} / {_p90(functions)}",
        "private functions called once": f"{once} ({once / len(functions):.0%})",
        "own imports of a module, mean / p90": f"{statistics.mean(imports):.1f} / {_p90(imports)}",
        "comment lines": f"{comments:,} ({comments / sum(lines):.1%})",
        "words of the dialect as variables": str(sum(module.dialect for module in modules)),
    }


def _p90(values: list[int]) -> int:
    return sorted(values)[int(len(values) * 0.9)]


def table(tree: Path) -> Iterator[str]:
    """The lines of a table with a column for each part of the tree."""
    parts = {part: measure(tree / part) for part in PARTS}
    yield f"| | {' | '.join(parts)} |"
    yield f"|---|{'---|' * len(parts)}"
    for what in next(iter(parts.values())):
        yield f"| {what} | {' | '.join(numbers[what] for numbers in parts.values())} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tree", type=Path, default=Path(), help="the checkout to count")
    print(*table(parser.parse_args().tree), sep="\n")


if __name__ == "__main__":
    main()
