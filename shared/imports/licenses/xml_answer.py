"""The vendor's answer as DataContract XML: its element names, order and namespaces (CONTRACTS 2).

Elements stand in the order of their names, an empty list is an empty element, and there is no XML
declaration, all as in the vendor's sample. A refusal has the form that the vendor's framework
gives its errors, in no namespace.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from lxml import etree

from shared.imports.licenses.model import NO_KEY_TEXT, ZERO_KEY
from shared.imports.licenses.xml_names import (
    ENTITY_KEY,
    HAS_VALUE,
    INSTANCE,
    KEYS,
    OUTPUT,
    STRINGS,
    VALUE,
    pascal,
)

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_EMPTY: Final = f'<ImportResultDTO xmlns:i="{INSTANCE}" xmlns="{OUTPUT}"/>'
_STRING: Final = f"{{{STRINGS}}}string"


def answer_xml(answer: Mapping[str, Any]) -> bytes:
    """An answer (`answering.import_answer`) as an ImportResultDTO."""
    root = etree.fromstring(_EMPTY)
    errors = _add(root, "Errors")
    for error in answer["errors"]:
        _add_error(errors, error)
    _add_import_key(root, answer["importKey"])
    _add_keys(_add(root, "NewRecordKeys"), answer["newRecordKeys"])
    _add(root, "NewRecords", answer["newRecords"])
    _add_keys(_add(root, "UpdatedRecordKeys"), answer["updatedRecordKeys"])
    _add(root, "UpdatedRecords", answer["updatedRecords"])
    return etree.tostring(root, encoding="utf-8")


def refusal_xml(message: str) -> bytes:
    """The body of a refusal: `<Error><Message>…</Message></Error>`."""
    root = etree.Element("Error")
    etree.SubElement(root, "Message").text = _writable(message)
    return etree.tostring(root, encoding="utf-8")


def import_xml(view: Mapping[str, Any]) -> bytes:
    """An import that is still running: its object as elements, for a caller that reads only XML."""
    root = etree.Element("Import")
    _add_view(root, view)
    return etree.tostring(root, encoding="utf-8")


def _add_view(parent: etree._Element, view: Mapping[str, Any]) -> None:
    for name, value in view.items():
        element = etree.SubElement(parent, pascal(name))
        if isinstance(value, Mapping):
            _add_view(element, value)
        elif value is not None:
            element.text = _writable(str(value))


def _add(parent: etree._Element, name: str, value: Any = None) -> etree._Element:
    element = etree.SubElement(parent, f"{{{OUTPUT}}}{name}")
    if value is not None:
        element.text = _writable(str(value))
    return element


def _add_error(errors: etree._Element, error: Mapping[str, Any]) -> None:
    element = _add(errors, "ImportErrorDTO")
    details = _add(element, "Details")
    for detail in error["details"]:
        _add_detail(_add(details, "ImportErrorDetailsDTO"), detail)
    _add(element, "Index", error["index"])


def _add_detail(element: etree._Element, detail: Mapping[str, Any]) -> None:
    if "arrayIndex" in detail:
        _add(element, "ArrayIndex", detail["arrayIndex"])
    texts = etree.SubElement(element, f"{{{OUTPUT}}}ErrorMessages", nsmap={"d6p1": STRINGS})
    for text in detail["errorMessages"]:
        etree.SubElement(texts, _STRING).text = _writable(text)
    _add(element, "PropertyName", detail["propertyName"])


def _add_keys(keys: etree._Element, records: Iterable[Mapping[str, Any]]) -> None:
    for record in records:
        element = _add(keys, "ImportKeyDTO")
        _add(element, "Index", record["index"])
        _add(element, "Key", record["key"])


def _add_import_key(root: etree._Element, key: str) -> None:
    has_value = key != NO_KEY_TEXT
    element = etree.SubElement(root, f"{{{OUTPUT}}}ImportKey", nsmap={"d2p1": KEYS})
    wrapped = etree.SubElement(element, ENTITY_KEY)
    etree.SubElement(wrapped, HAS_VALUE).text = "true" if has_value else "false"
    etree.SubElement(wrapped, VALUE).text = key if has_value else ZERO_KEY


def _writable(text: str) -> str:
    """The text with a mark for each character that XML cannot hold."""
    return _NOT_IN_XML.sub("\ufffd", text)
