"""Reading rows of licenses, and what the house knows of the type (CONTRACTS 2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from shared.imports.definition import Document, ReadRow, RowKey, Rules
from shared.imports.faults import WRONG_TYPE, is_sensitive
from shared.imports.fields import DATE_FORM
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.identity import (
    IDENTITY_FIELDS,
    NEEDED_TO_FIND,
    UNIDENTIFIED,
    given_key,
    is_unidentified,
    keys_differ,
    sent_identity,
    shown_key,
    usable_license_reference,
)
from shared.imports.licenses.meanings import MEANINGS
from shared.imports.licenses.model import License, LicenseIdentity
from shared.imports.licenses.silent_values import without_silent_values
from shared.imports.licenses.xml_names import DATES, DOCUMENT, INPUT, KEYS
from shared.imports.messages import Message
from shared.imports.payload import fold_names
from shared.imports.reading import read_row
from shared.imports.schema import schema_of
from shared.imports.shapes import shape_of
from shared.imports.usual_values import unusual_values

KEYS_DIFFER: Final = 3001
CONTRADICTION: Final = 2002
_DATE_FORM: Final = (
    f"{DATE_FORM}, or in XML the elements Year, Month and Day of the namespace {DATES}"
)
_KEY_FORM: Final = f"send a guid, or in XML _value within _entityKey, both of the namespace {KEYS}"
XML_FORMS: Final[Mapping[str, str]] = {
    "issuedDate": _DATE_FORM,
    "expirationDate": _DATE_FORM,
    "licenseKey": _KEY_FORM,
    "reminder": f"send an object, or in XML its elements in the namespace {INPUT}",
    "documents": f"send a list of objects, or in XML {DOCUMENT.partition('}')[2]} elements of the "
    f"namespace {INPUT}",
}
"""What JSON and XML send where a value is more than a text."""
GROUP: Final = "companyCode"
_OF_BYTES: Final = ("sha256", "length")
"""What is stored of a document and was not sent like that."""


def read_license(index: int, row: Mapping[str, Any], action: LicenseAction) -> ReadRow:
    """Every fault of a row as messages, its values by contract name.

    A list of documents that is empty says nothing where absent properties keep their value:
    senders write an empty list for documents that they do not know.
    """
    model = LicenseIdentity if action is LicenseAction.DELETE else License
    spoken = without_silent_values(row, action)
    read = read_row(index, spoken, model, (GROUP,))
    values = read.values
    if action.keeps_what_is_absent and fold_names(spoken).get("documents") == []:
        values = {name: value for name, value in values.items() if name != "documents"}
    key = shown_key(values, given_key(values)) if read.is_readable else sent_key(spoken)
    messages = [_with_xml_form(message) for message in read.messages]
    if keys_differ(values):
        messages.append(Message(KEYS_DIFFER, "licenseKey", values["licenseKey"]))
    if is_unidentified(read):
        messages.append(Message(UNIDENTIFIED, detail=NEEDED_TO_FIND))
    messages += [*unusual_values(values, shape_of(model)), *_order_of_dates(values)]
    return replace(read, key=key, values=values, messages=tuple(messages))


def _order_of_dates(values: Document) -> Iterator[Message]:
    issued, expires = values.get("issuedDate"), values.get("expirationDate")
    if issued is not None and expires is not None and expires < issued:
        detail = "it is before issuedDate; check both"
        yield Message(CONTRADICTION, "expirationDate", expires, detail)


def _with_xml_form(message: Message) -> Message:
    """The message of a wrong type, in words that fit JSON and XML alike.

    An XML element with others in it is read as an object, of which its sender knows nothing.
    """
    if message.id != WRONG_TYPE or message.field is None:
        return message
    expected, _, sent = (message.detail or "").rpartition(", ")
    form = XML_FORMS.get(message.field)
    if form is None and sent == "an object was sent":
        form = f"{expected}, or in XML an element without others in it"
    return message if form is None else replace(message, detail=form)


def sent_key(row: Mapping[str, Any]) -> tuple[str | None, ...]:
    """The key of a row as far as it is usable, whatever else is wrong with it."""
    values = sent_identity(fold_names(row))
    return shown_key(values, values.get("licenseKey"))


def identify(folded: Mapping[str, Any]) -> RowKey | None:
    """The company: its rows are one unit of order (DESIGN 1.2)."""
    company = usable_license_reference(folded.get(GROUP.lower()))
    return None if company is None else RowKey(company, "")


RULES = Rules(
    key_fields=IDENTITY_FIELDS,
    record_id_fields=(),
    identify=identify,
    json_schema=lambda: schema_of(License, "Licenses v1", MEANINGS),
    is_sensitive=lambda path: path[-1] not in _OF_BYTES and is_sensitive(path, shape_of(License)),
)
