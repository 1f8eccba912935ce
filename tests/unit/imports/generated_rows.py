"""Rows that hypothesis makes from an import type's shape or schema."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from shared.imports.model import FieldShape, Shape

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(), max_size=20)
    | st.dates().map(str)
    | st.sampled_from(["", " ", "\0", "\ud800", "123456", "12345678", "x" * 61, 10**400])
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


def spelled(name: str) -> st.SearchStrategy[str]:
    return st.sampled_from([name, name.lower(), name.upper()])


def objects_of(shape: Shape) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that often have the names of the shape, with any value."""
    names = st.sampled_from(sorted(shape.fields)).flatmap(spelled) | st.text(max_size=5)
    kinds = {(field.is_list, id(field.nested)): field for field in shape.fields.values()}
    nested = [_held_by(field) for field in kinds.values() if field.nested is not None]
    return st.dictionaries(names, st.one_of(anything, *nested), max_size=12)


def _held_by(field: FieldShape) -> st.SearchStrategy[Any]:
    assert field.nested is not None
    inner = objects_of(field.nested)
    return st.lists(inner, max_size=3) if field.is_list else inner


def good_rows(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Rows without a fault, but for the top level's required fields, which are left out."""
    return _good_objects(schema | {"required": []}, schema["$defs"], schema.get("required", []))


def _good_objects(
    schema: dict[str, Any], definitions: dict[str, Any], left_out: list[str]
) -> st.SearchStrategy[dict[str, Any]]:
    """Objects in which each property is absent (where it may be), null, or of its type."""
    values = {
        name: _good_values(item, definitions)
        for name, item in schema["properties"].items()
        if name not in left_out and not (item.get("pattern") and "null" not in item["type"])
    }
    required = schema.get("required", [])
    codes = st.sampled_from(["A", "B 2", "\u00dc"])
    return st.fixed_dictionaries(
        {name: values.pop(name, codes) for name in required}, optional=values
    )


def _good_values(schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "anyOf" in schema:
        return st.none() | _good_values(schema["anyOf"][0], definitions)
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _good_objects(definitions[name], definitions, [])
    kinds = schema["type"]
    kind = kinds[0] if isinstance(kinds, list) else kinds
    values = _scalars(kind, schema) if kind != "array" else _lists(schema, definitions)
    return st.none() | values if "null" in kinds else values


def _lists(schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[Any]:
    return st.lists(_good_values(schema["items"], definitions), max_size=3)


def _scalars(kind: str, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "[0-9]{4}" in schema.get("pattern", ""):
        return st.dates().map(str)
    if "pattern" in schema:
        return st.nothing()
    if kind == "number":
        low, high = schema.get("minimum", -1000), schema.get("maximum", 1000)
        return st.integers(low, high) | st.decimals(low, high, places=3)
    return {
        "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        "integer": st.integers(-5, 5),
        "boolean": st.booleans(),
    }[kind]
