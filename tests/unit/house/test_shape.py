"""The shape of modules (STYLE, house rules); the linter counts the statements of functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.unit.house.source_tree import OUTSIDE, PRODUCT, Module, modules

MOST_LINES = 400
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}
CODE = modules(*PRODUCT, "local_host", "cli", "manage.py", "dev.py")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_no_module_has_escaped() -> None:
    sizes = {module.name: module.lines for module in modules(*PRODUCT, *OUTSIDE)}
    assert {name: lines for name, lines in sizes.items() if lines > MOST_LINES} == {}


def test_no_module_has_a_vague_name() -> None:
    names = {module.path.stem for module in modules(*PRODUCT, *OUTSIDE)}
    assert names & VAGUE == set()


@pytest.mark.parametrize("module", CODE, ids=lambda module: module.name)
def test_a_module_and_what_is_public_in_it_are_described(module: Module) -> None:
    is_empty = not module.text.strip()
    assert is_empty or ast.get_docstring(module.tree), "the module"
    missing = [name for name, node in _public(module.tree, "") if not ast.get_docstring(node)]
    assert missing == []


def _public(tree: ast.AST, owner: str) -> Iterator[tuple[str, Function | ast.ClassDef]]:
    """Public functions and classes, and the public methods of public classes."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
            continue
        yield owner + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from _public(node, f"{node.name}.")
