"""Reading rows of licenses, and what the house knows of the type (CONTRACTS 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from shared.imports.definition import ReadRow, RowKey, Rules
from shared.imports.faults import is_sensitive
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.identity import (
    IDENTITY_FIELDS,
    given_key,
    sent_identity,
    shown_key,
    usable_license_reference,
)
from shared.imports.licenses.model import License, LicenseIdentity
from shared.imports.licenses.silent_values import without_silent_values
from shared.imports.messages import Message
from shared.imports.payload import fold_names
from shared.imports.reading import read_row
from shared.imports.schema import schema_of
from shared.imports.shapes import shape_of

KEYS_DIFFER: Final = 3001
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
    if not read.is_readable:
        return replace(read, key=sent_key(spoken))
    values = read.values
    if action.keeps_what_is_absent and fold_names(spoken).get("documents") == []:
        values = {name: value for name, value in values.items() if name != "documents"}
    first, second = values.get("licenseKey"), values.get("serializableLicenseKey")
    messages = read.messages
    if first is not None and second is not None and first != second:
        messages = (*messages, Message(KEYS_DIFFER, "licenseKey", first))
    return ReadRow(index, shown_key(values, given_key(values)), values, messages)


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
    json_schema=lambda: schema_of(License, "Licenses v1"),
    is_sensitive=lambda path: path[-1] not in _OF_BYTES and is_sensitive(path, shape_of(License)),
)
