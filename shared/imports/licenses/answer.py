"""The vendor's answer to an import of licenses, as its JSON object (docs/contracts.md#2).

Unchanged licenses count as updated, so newRecords + updatedRecords + errors = rows. The answer has
only Errors; the other messages are in the results of the import.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from lxml import etree

from shared.clock import ZERO_GUID
from shared.imports.licenses.model import NO_KEY_TEXT
from shared.imports.licenses.xml_reader import (
    DATES,
    DAY,
    DOCUMENT,
    ENTITY_KEY,
    HAS_VALUE,
    INPUT,
    INSTANCE,
    KEYS,
    MONTH,
    OUTPUT,
    ROW,
    STRINGS,
    VALUE,
    YEAR,
    pascal,
)
from shared.imports.messages import Message
from shared.imports.results import MAX_FULL_ANSWER, Outcome, RowResult

_INDEX = re.compile(r"\[([0-9]+)\]")
# The index of the license key in `RowResult.key`.
LICENSE_KEY: Final = -1


def import_answer(
    results: Iterable[RowResult], import_key: str | None, remaining: int = MAX_FULL_ANSWER
) -> dict[str, Any]:
    """The answer for these results, in their order.

    After `remaining` characters of errors it has only the first error of each row. `import_key` is
    the import's id; None where there is no import, as in a dry run.
    """
    errors: list[dict[str, Any]] = []
    new: list[dict[str, Any]] = []
    updated: list[dict[str, Any]] = []
    for result in results:
        match result.outcome:
            case Outcome.FAILED:
                details = _details(result if remaining > 0 else result.shortened())
                remaining -= sum(
                    len(text) for detail in details for text in detail["errorMessages"]
                )
                errors.append({"index": result.index, "details": details})
            case Outcome.NEW:
                new.append(_record(result))
            case Outcome.UPDATED | Outcome.UNCHANGED:
                updated.append(_record(result))
    return {
        "newRecords": len(new),
        "updatedRecords": len(updated),
        "errors": errors,
        "newRecordKeys": new,
        "updatedRecordKeys": updated,
        "importKey": import_key or NO_KEY_TEXT,
    }


def _record(result: RowResult) -> dict[str, Any]:
    return {"index": result.index, "key": result.key[LICENSE_KEY]}


def _details(result: RowResult) -> list[dict[str, Any]]:
    """The errors by property, and inside of lists by element."""
    details: dict[tuple[str, int | None], list[str]] = {}
    for message in result.messages:
        if message.is_error:
            details.setdefault(_property(message), []).append(message.text)
    return [
        {"propertyName": name}
        | ({} if index is None else {"arrayIndex": index})
        | {"errorMessages": texts}
        for (name, index), texts in details.items()
    ]


def _property(message: Message) -> tuple[str, int | None]:
    """`documents[1].content` as `Documents.Content` and 1; "" for an error of the whole row."""
    path = message.field or ""
    match = _INDEX.search(path)
    names = _INDEX.sub("", path).split(".")
    return ".".join(map(pascal, names)), None if match is None else int(match[1])


# The vendor's answer as DataContract XML: its element names, order and namespaces
# (docs/contracts.md#2).
#
# As in the vendor's sample, elements are sorted by name, an empty list is an empty element, and
# there is no XML declaration. A refusal has the form of errors of the vendor's framework, without a
# namespace.

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_EMPTY: Final = f'<ImportResultDTO xmlns:i="{INSTANCE}" xmlns="{OUTPUT}"/>'
_STRING: Final = f"{{{STRINGS}}}string"


def answer_xml(answer: Mapping[str, Any]) -> bytes:
    """An answer of `import_answer` as an ImportResultDTO."""
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
    etree.SubElement(root, "Message").text = _xml_text(message)
    return etree.tostring(root, encoding="utf-8")


def import_xml(view: Mapping[str, Any]) -> bytes:
    """The state of a running import as XML, for a caller that accepts only XML."""
    root = etree.Element("Import")
    _add_view(root, view)
    return etree.tostring(root, encoding="utf-8")


def _add_view(parent: etree._Element, view: Mapping[str, Any]) -> None:
    for name, value in view.items():
        element = etree.SubElement(parent, pascal(name))
        if isinstance(value, Mapping):
            _add_view(element, value)
        elif value is not None:
            element.text = _xml_text(str(value))


def _add(parent: etree._Element, name: str, value: Any = None) -> etree._Element:
    element = etree.SubElement(parent, f"{{{OUTPUT}}}{name}")
    if value is not None:
        element.text = _xml_text(str(value))
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
        etree.SubElement(texts, _STRING).text = _xml_text(text)
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
    etree.SubElement(wrapped, VALUE).text = key if has_value else ZERO_GUID


# Stored licenses as DataContract XML, in the form of the import.

_LICENSES: Final = f'<ArrayOfEmployeeLicenseImportDTO xmlns:i="{INSTANCE}" xmlns="{INPUT}"/>'
_IN_LICENSE: Final = (
    *("companyCode", "divisionCode", "employeeNumber", "employeePersonalId"),
    *("documents", "expirationDate", "issuedDate", "licenseCertificateCode", "licenseKey"),
    *("licenseNumber", "licenseTypeCode", "notes", "reminder", "serializableLicenseKey"),
    "stateCode",
)
"""The order of the vendor's sample. What a license does not have is left out."""
_IN_DOCUMENT: Final = ("documentTypeCode", "mimeType", "name", "sha256", "sourcePath")
_IN_REMINDER: Final = (
    *("isShowingOnDashboard", "isShowingOnESS", "isShowingOnPayStub", "offset", "offsetDirection"),
)


def licenses_xml(licenses: Iterable[Mapping[str, Any]]) -> bytes:
    """Licenses as an ArrayOfEmployeeLicenseImportDTO."""
    root = etree.fromstring(_LICENSES)
    for license_ in licenses:
        element = etree.SubElement(root, ROW)
        for name in _IN_LICENSE:
            if license_.get(name) is not None:
                _add_field(element, name, license_[name])
    return etree.tostring(root, encoding="utf-8")


def _add_field(parent: etree._Element, name: str, value: Any) -> None:
    tag = f"{{{INPUT}}}{pascal(name)}"
    match name:
        case "documents":
            documents = etree.SubElement(parent, tag)
            for document in value:
                _add_fields(etree.SubElement(documents, DOCUMENT), document, _IN_DOCUMENT)
        case "reminder":
            _add_fields(etree.SubElement(parent, tag), value, _IN_REMINDER)
        case "expirationDate" | "issuedDate":
            date = etree.SubElement(parent, tag, nsmap={"d3p1": DATES})
            for part, digits in zip((YEAR, MONTH, DAY), value.split("-"), strict=True):
                etree.SubElement(date, part).text = str(int(digits))
        case "licenseKey":
            element = etree.SubElement(parent, tag, nsmap={"d3p1": KEYS})
            wrapped = etree.SubElement(element, ENTITY_KEY)
            etree.SubElement(wrapped, HAS_VALUE).text = "true"
            etree.SubElement(wrapped, VALUE).text = value
        case _:
            _add_fields(parent, {name: value}, (name,))


def _add_fields(parent: etree._Element, values: Mapping[str, Any], names: Iterable[str]) -> None:
    for name in names:
        value = values.get(name)
        if value is not None:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            etree.SubElement(parent, f"{{{INPUT}}}{pascal(name)}").text = _xml_text(text)


def _xml_text(text: str) -> str:
    """The text with a replacement for each character that XML does not have."""
    return _NOT_IN_XML.sub("\ufffd", text)
