"""The JSON Schema of an import type, from its model: 2020-12, open for unknown properties.

Made from pydantic's own schema by dropping what says nothing to a caller (titles and defaults of
fields) and writing nullable types the short way. It describes what should be sent: reading takes
a little more, like blank text where null is meant, or names in another case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from shared.imports.shapes import Record

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
UNDESCRIBED: Final[Mapping[str, Mapping[str, str]]] = {}
NOT_BLANK: Final = r"\S"
"""Text that must not be null must not be blank either: both clear."""


def schema_of(
    model: type[Record], title: str, meanings: Mapping[str, Mapping[str, str]] = UNDESCRIBED
) -> dict[str, Any]:
    """The schema of one row of that model; `$id` is left to whoever serves it.

    `meanings` are the descriptions of its fields, by model class.
    """
    schema = model.model_json_schema(mode="validation")
    definitions = {
        name: _object(definition, meanings.get(name, {}))
        for name, definition in schema.pop("$defs", {}).items()
    }
    row = _object(schema, meanings.get(model.__name__, {}))
    described = {"$schema": DIALECT, "title": title, **row}
    return described | ({"$defs": definitions} if definitions else {})


def _object(schema: dict[str, Any], meanings: Mapping[str, str]) -> dict[str, Any]:
    """An object's schema with its properties tidied and described."""
    properties = {name: _property(item) for name, item in schema["properties"].items()}
    for name in properties.keys() & meanings.keys():
        properties[name]["description"] = meanings[name]
    tidied: dict[str, Any] = {"type": "object", "properties": properties}
    if "required" in schema:
        tidied["required"] = schema["required"]
    return tidied | {"additionalProperties": True}


def _property(schema: dict[str, Any]) -> dict[str, Any]:
    """A property's schema without title and default, `null` among its types where it is one."""
    kept = {key: value for key, value in schema.items() if key not in ("title", "default")}
    if "anyOf" not in kept:
        return {"pattern": NOT_BLANK} | kept if kept.get("type") == "string" else kept
    (value,) = (item for item in kept.pop("anyOf") if item != {"type": "null"})
    if "$ref" in value or "const" in value:
        return kept | {"anyOf": [value, {"type": "null"}]}
    tidied: dict[str, Any] = kept | value | {"type": [value["type"], "null"]}
    if "enum" in tidied:
        tidied["enum"] = [*tidied["enum"], None]
    return tidied
