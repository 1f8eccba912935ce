"""The rows of every import type as components of the document, from the models.

A model's schema stands by itself, with its own `$defs`; in the document each of these becomes a
component of its own (`workers.Address`), because tools follow references more surely than ids.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shared.imports.import_type import ImportType

_OWN = "#/$defs/"


def row_schemas(kinds: Iterable[ImportType]) -> dict[str, dict[str, Any]]:
    """A component for the row of each type, and for each object in it."""
    found: dict[str, dict[str, Any]] = {}
    for kind in kinds:
        owner = component_name(kind)
        schema = dict(kind.rules.json_schema())
        schema.pop("$schema", None)
        for name, definition in schema.pop("$defs", {}).items():
            found[f"{owner}.{name}"] = _readdressed(definition, owner)
        found[owner] = _readdressed(schema, owner)
    return found


def component_name(kind: ImportType) -> str:
    """The name of the type, with the version where that is another than the first."""
    return kind.name if kind.version == 1 else f"{kind.name}.v{kind.version}"


def _readdressed(node: Any, owner: str) -> Any:
    """The same schema, its references leading to the components."""
    if isinstance(node, list):
        return [_readdressed(item, owner) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        name: f"#/components/schemas/{owner}.{value.removeprefix(_OWN)}"
        if name == "$ref"
        else _readdressed(value, owner)
        for name, value in node.items()
    }
