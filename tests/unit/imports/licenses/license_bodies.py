"""Licenses as the bodies of calls: the same rows in XML and as a form."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from lxml import etree

from shared.imports.licenses.xml_reader import (
    DATES,
    DOCUMENT,
    ENTITY_KEY,
    HAS_VALUE,
    INPUT,
    INSTANCE,
    KEYS,
    NIL,
    ROOT,
    ROW,
    VALUE,
    pascal,
)

GOLDEN = Path(__file__).resolve().parents[3] / "golden"
KEY = "cb57a803-fb5d-40f1-972a-8f7ee86660a6"

OPENING = f'<ArrayOfEmployeeLicenseImportDTO xmlns="{INPUT}" xmlns:i="{INSTANCE}">'.encode()
CLOSING = b"</ArrayOfEmployeeLicenseImportDTO>"
ROW_OPENING = b"<EmployeeLicenseImportDTO>"
ROW_CLOSING = b"</EmployeeLicenseImportDTO>"


def golden(name: str) -> bytes:
    return (GOLDEN / f"viventium-licenses.{name}").read_bytes()


def sample_rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(golden("request.json"))
    return rows


def a_license(**fields: Any) -> dict[str, Any]:
    """The smallest license there is; `fields` replace or add."""
    return {"companyCode": "C1"} | fields


def body_of(*rows: bytes) -> bytes:
    """A body with these texts as the contents of its rows."""
    return OPENING + b"".join(ROW_OPENING + row + ROW_CLOSING for row in rows) + CLOSING


def license_xml(rows: Sequence[dict[str, Any]], shuffle: random.Random | None = None) -> bytes:
    """The rows as the vendor's clients write them; elements in another order by `shuffle`."""
    root = etree.Element(ROOT, nsmap={"data": INPUT, "i": INSTANCE})
    for row in rows:
        _fill(etree.SubElement(root, ROW), row, shuffle)
    return etree.tostring(root, encoding="utf-8")


def _fill(element: etree._Element, values: dict[str, Any], shuffle: random.Random | None) -> None:
    names = sorted(values)
    if shuffle is not None:
        shuffle.shuffle(names)
    for name in names:
        child = etree.SubElement(element, f"{{{INPUT}}}{pascal(name)}")
        value = values[name]
        if value is None:
            child.set(NIL, "true")
        elif name in ("issuedDate", "expirationDate"):
            _fill_date(child, value)
        elif name == "licenseKey":
            _fill_key(child, value)
        elif isinstance(value, dict):
            _fill(child, value, shuffle)
        elif isinstance(value, list):
            for item in value:
                _fill(etree.SubElement(child, DOCUMENT), item, shuffle)
        else:
            child.text = _text(value)


def _fill_date(element: etree._Element, day: str) -> None:
    for name, number in zip(("Year", "Month", "Day"), day.split("-"), strict=True):
        etree.SubElement(element, f"{{{DATES}}}{name}", nsmap={"d": DATES}).text = str(int(number))


def _fill_key(element: etree._Element, key: str) -> None:
    wrapped = etree.SubElement(element, ENTITY_KEY, nsmap={"k": KEYS})
    etree.SubElement(wrapped, HAS_VALUE).text = "true"
    etree.SubElement(wrapped, VALUE).text = key


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def license_form(rows: Sequence[dict[str, Any]], *, in_brackets: bool = False) -> bytes:
    """The rows as a form, with dots or with brackets."""
    step = "[{}]" if in_brackets else ".{}"
    fields = [
        (path, text)
        for index, row in enumerate(rows)
        for path, text in _fields(f"[{index}]", row, step)
    ]
    return urlencode(fields).encode()


def _fields(path: str, value: Any, step: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _fields(path + step.format(name), item, step)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _fields(f"{path}[{place}]", item, step)
    else:
        yield path, _text(value)
