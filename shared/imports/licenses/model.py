"""Licenses, every field (CONTRACTS 2; the vendor's "Import Licenses" page).

Names are the contract's in its JSON spelling; in XML and in `propertyName` the first letter is a
capital. Only companyCode is in every row. What a row is matched by (the codes and numbers of
`LicenseIdentity`) is trimmed and in NFC like every reference, everything else is kept as sent.
"""

# ruff: noqa: N815  (the names are the contract's)
from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Strict, WithJsonSchema
from pydantic_core import PydanticKnownError

from shared.imports.fields import (
    Base64,
    CalendarDate,
    Flag,
    LicenseReference,
    Mark,
    UsualLength,
    WholeNumber,
    XmlText,
)
from shared.imports.shapes import MergeKind, Record

MAX_DOCUMENTS: Final = 100
"""Documents of one license."""

NO_KEY_TEXT: Final = "<empty>"
"""How the vendor writes a key that is none."""
ZERO_KEY: Final = "00000000-0000-0000-0000-000000000000"

_GUID = re.compile(
    r"(?P<open>[{(])?"
    r"([0-9a-f]{8})(?P<dash>-)?([0-9a-f]{4})(?(dash)-)([0-9a-f]{4})(?(dash)-)([0-9a-f]{4})"
    r"(?(dash)-)([0-9a-f]{12})"
    r"(?(open)[)}])"
)
_GUID_FORM = "8-4-4-4-12 hexadecimal digits"
_DIRECTIONS = {"after": "After", "before": "Before"}


def guid_text(text: str) -> str | None:
    """A guid with or without dashes, braces or parentheses, in lower case with dashes.

    None for a key that is none: `<empty>` or all zeros. Raises ValueError.
    """
    compact = text.strip().lower()
    if compact == NO_KEY_TEXT:
        return None
    match = _GUID.fullmatch(compact)
    if match is None:
        raise ValueError(_GUID_FORM)
    guid = "-".join(match.group(2, 4, 5, 6, 7))
    return None if guid == ZERO_KEY else guid


def _key(text: str) -> str | None:
    try:
        return guid_text(text)
    except ValueError as error:
        raise PydanticKnownError("string_pattern_mismatch", {"pattern": str(error)}) from None


def _direction(value: Any) -> Any:
    return _DIRECTIONS.get(value.lower(), value) if isinstance(value, str) else value


LicenseKey = Annotated[
    str,
    Strict(),
    AfterValidator(_key),
    Mark.CONVERTED,
    WithJsonSchema({"type": "string", "format": "uuid"}),
]
"""A license's guid; None after reading where the text says that there is no key."""

OffsetDirection = Annotated[Literal["After", "Before"], BeforeValidator(_direction), Mark.CONVERTED]
"""Taken in any case, kept in the contract's."""


class LicenseReminder(Record):
    """When and where the employee is reminded; its properties merge one by one."""

    merge_kind = MergeKind.PER_PROPERTY

    isShowingOnDashboard: Flag | None = None
    isShowingOnPayStub: Flag | None = None
    isShowingOnESS: Flag | None = None
    offset: WholeNumber | None = None
    offsetDirection: OffsetDirection | None = None


class LicenseDocument(Record):
    """A file of a license; what it is called and its type tell it from the license's others."""

    merge_kind = MergeKind.WHOLE

    content: Annotated[Base64 | None, Mark.SENSITIVE] = None
    name: XmlText | None = None
    sourcePath: XmlText | None = None
    mimeType: XmlText | None = None
    documentTypeCode: XmlText | None = None


class LicenseIdentity(Record):
    """What finds a license: a row of a DELETE, and the part of every other row that matches."""

    companyCode: LicenseReference
    divisionCode: LicenseReference | None = None
    employeeNumber: LicenseReference | None = None
    employeePersonalId: WholeNumber | None = None
    licenseTypeCode: LicenseReference | None = None
    licenseNumber: LicenseReference | None = None
    licenseKey: LicenseKey | None = None
    serializableLicenseKey: LicenseKey | None = None


class License(LicenseIdentity):
    """One row of a licenses import, and the license that is stored."""

    licenseCertificateCode: XmlText | None = None
    issuedDate: CalendarDate | None = None
    expirationDate: CalendarDate | None = None
    reminder: LicenseReminder | None = None
    notes: Annotated[XmlText | None, UsualLength(10_000)] = None
    stateCode: XmlText | None = None
    documents: Annotated[list[LicenseDocument], Field(max_length=MAX_DOCUMENTS)] | None = None
