"""What callers are told over HTTP names no command: a caller has the gateway's address only."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.unit.house.source_tree import Module, modules

COMMAND = re.compile(
    r"manage\.py|dev\.py|`(tenant|integration|key|client|feature|round|threshold|format|reference"
    r"|poison|records|imports|signing-key) [a-z]"
)
# These texts are for administrators: the use cases of `manage.py` alone, the settings, and the page
# of the contract, which says to the user of a local gateway how to make keys.
FOR_ADMINISTRATORS = {
    "shared.web.openapi.document",
    "shared.settings",
    "shared.services.admin.clients",
    "shared.services.record_repair",
    "shared.services.admin.tenants",
}
# The refusals of these are for administrators too; each is a change that only a command makes.
ADMINISTRATORS_CALLS = {
    ("shared.imports.documents.rounds", "switch"),
    ("shared.imports.documents.rounds", "add"),
    ("shared.imports.documents.rounds", "change"),
    ("shared.imports.authdata.staging", "_merge"),
}
TOLD = [each for each in modules("shared", "functions") if each.name not in FOR_ADMINISTRATORS]


@pytest.mark.parametrize("module", TOLD, ids=lambda module: module.name)
def test_no_text_names_a_command(module: Module) -> None:
    assert [text for text in texts(module) if COMMAND.search(text)] == []


def texts(module: Module) -> Iterator[str]:
    """Every literal text of a module that is no docstring."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(module.tree):
        name = getattr(node, "name", "")
        if (module.name, name) in ADMINISTRATORS_CALLS:
            skipped.update(ast.walk(node))
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                skipped.add(statement.value)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in skipped:
            yield node.value
