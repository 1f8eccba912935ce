"""From the element of a row to the row: what each element means, by the model's shape.

Elements stand in any order; a name is known by its namespace and, as in JSON, in any case. An
unknown element becomes a property that reading reports: under its name where its namespace is
the vendor's, else under `{namespace}name`. An element in the wrong place or of the wrong kind
becomes a value of the wrong type, which is that row's fault alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

from lxml import etree

from shared.imports.definition import Document
from shared.imports.faults import MAX_SHOWN
from shared.imports.licenses.model import License
from shared.imports.licenses.text_values import typed
from shared.imports.licenses.xml_names import (
    DAY,
    DOCUMENT,
    ENTITY_KEY,
    HAS_VALUE,
    INPUT,
    MONTH,
    NIL,
    VALUE,
    YEAR,
    pascal,
)
from shared.imports.payload import MAX_DEPTH
from shared.imports.shapes import FieldShape, Shape, shape_of

Reader = Callable[[etree._Element, int], Any]
"""What an element at some depth says."""

ROW_DEPTH: Final = 2
_INPUT_PREFIX: Final = f"{{{INPUT}}}"
_TRUE: Final = ("true", "1")
_FALSE: Final = ("false", "0")
_DIGITS: Final = 16
_TWICE: Final = "has an element twice where one is expected: send it once"
_TEXT_BETWEEN: Final = "has text between its elements: leave the text out"


class UnreadableRowError(Exception):
    """A row that refuses the body, like malformed XML; "The row of index 5" precedes the text."""


def read_row_element(element: etree._Element) -> Document:
    """The row by contract names. Raises UnreadableRowError."""
    row = _READ_LICENSE(element, ROW_DEPTH)
    if not isinstance(row, dict):
        raise UnreadableRowError(_TEXT_BETWEEN)
    return row


def is_nil(element: etree._Element) -> bool:
    """Whether the element says that it is null."""
    return element.get(NIL) in _TRUE


def is_blank(text: str | None) -> bool:
    """Whether there is nothing, or only white space, between two elements."""
    return not text or text.isspace()


def _reader(field: FieldShape) -> Reader | None:
    """How the field's element is read; None for one that holds plain text."""
    if field.nested is not None:
        of_object = _ObjectReader(field.nested)
        return _list_reader(of_object) if field.is_list else of_object
    if field.name in ("issuedDate", "expirationDate"):
        return _read_date
    if field.name == "licenseKey":
        return _read_key
    return None if field.kind is str else _typed_reader(field.kind)


def _typed_reader(kind: type) -> Reader:
    def read(element: etree._Element, depth: int) -> Any:
        if len(element):
            return _read_anything(element, depth)
        return typed(element.text or "", kind)

    return read


class _ObjectReader:
    """Reads the element of an object of that shape."""

    def __init__(self, shape: Shape) -> None:
        self._known = {
            _INPUT_PREFIX + pascal(name): (name, _reader(field))
            for name, field in shape.fields.items()
        }
        self._folded = {tag.lower(): known for tag, known in self._known.items()}

    def __call__(self, element: etree._Element, depth: int) -> Any:
        """Its properties; text where it has no elements but text."""
        text = element.text
        if is_blank(text):
            return self._members(element, depth)
        if len(element):
            raise UnreadableRowError(_TEXT_BETWEEN)
        return text

    def _members(self, element: etree._Element, depth: int) -> Document:
        known = self._known
        values: Document = {}
        for child in element:
            tag = child.tag
            name, read = known.get(tag) or self._find(tag)
            if name in values:
                raise UnreadableRowError(_TWICE)
            if child.get(NIL) in _TRUE:
                values[name] = None
            elif read is None and not len(child):
                values[name] = child.text or ""
            else:
                values[name] = (read or _read_anything)(child, depth + 1)
            tail = child.tail
            if tail and not tail.isspace():
                raise UnreadableRowError(_TEXT_BETWEEN)
        return values

    def _find(self, tag: str) -> tuple[str, Reader | None]:
        """An element in another case than the contract's, or one that it does not have."""
        if not tag.startswith(_INPUT_PREFIX):
            return _unknown_name(tag), None
        return self._folded.get(tag.lower(), (_unknown_name(tag), None))


def _unknown_name(tag: str) -> str:
    """The name of an element that the contract does not have; a long one by its beginning.

    The hash keeps names apart that begin alike. Without a bound a namespace that is sent once would
    be kept with each of its elements.
    """
    name = tag.removeprefix(_INPUT_PREFIX)
    if len(name) <= MAX_SHOWN:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
    return f"{name[: MAX_SHOWN - _DIGITS - 1]}\u2026{digest}"


def _list_reader(read_item: Reader) -> Reader:
    def read(element: etree._Element, depth: int) -> Any:
        if not len(element):
            return [] if is_blank(element.text) else element.text
        if any(child.tag != DOCUMENT for child in element):
            return _read_anything(element, depth)
        return [None if is_nil(child) else read_item(child, depth + 1) for child in element]

    return read


def _read_date(element: etree._Element, depth: int) -> Any:
    """Year, month and day as ISO text; what is none becomes text that is no date.

    .NET sends a date that is not set as three zeros.
    """
    if not len(element):
        return element.text or ""
    parts = _texts(element)
    if not parts.keys() & {YEAR, MONTH, DAY}:
        return _read_anything(element, depth)
    year, month, day = (parts.get(name, "").strip() for name in (YEAR, MONTH, DAY))
    return f"{year:0>4}-{month:0>2}-{day:0>2}"


def _read_key(element: etree._Element, depth: int) -> Any:
    """The guid in the vendor's wrapper, or as plain text; None where it says it has no value."""
    if not len(element):
        return element.text or ""
    wrapped = element.find(ENTITY_KEY)
    if wrapped is None:
        return _read_anything(element, depth)
    parts = _texts(wrapped)
    if parts.get(HAS_VALUE, "").strip().lower() in _FALSE:
        return None
    return parts.get(VALUE)


def _texts(element: etree._Element) -> dict[str, str]:
    parts: dict[str, str] = {}
    for child in element:
        if child.tag in parts:
            raise UnreadableRowError(_TWICE)
        parts[child.tag] = child.text or ""
    return parts


def _read_anything(element: etree._Element, depth: int) -> Any:
    """What no field says how to read: its text, or an object whose repeated names are lists."""
    if depth > MAX_DEPTH:
        raise UnreadableRowError(
            f"is nested more than {MAX_DEPTH} levels deep: send the elements of the contract only"
        )
    if not len(element):
        return element.text or ""
    values: dict[str, list[Any]] = {}
    for child in element:
        name = _unknown_name(child.tag)
        values.setdefault(name, []).append(_read_anything(child, depth + 1))
    return {name: items if len(items) > 1 else items[0] for name, items in values.items()}


_READ_LICENSE: Final = _ObjectReader(shape_of(License))
