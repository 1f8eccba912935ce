"""Licenses, every field (docs/contracts.md#2; the vendor's "Import Licenses" page).

Names are the contract's in its JSON spelling; in XML and in `propertyName` the first letter is a
capital. Only companyCode is required in every row. The codes and numbers of `LicenseIdentity`,
which match a row to its license, are trimmed and in NFC like every reference; all other values are
stored as sent.
"""

from __future__ import annotations

import binascii
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    Strict,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

from shared.clock import GUID_FORM, ZERO_GUID, parse_guid
from shared.imports.import_type import Document, ReadRow
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.messages import LicenseMessageId
from shared.imports.model import (
    MAX_LICENSE_REFERENCE,
    CalendarDate,
    Flag,
    LicenseReference,
    Mark,
    MergeKind,
    Record,
    Shape,
    UsualLength,
    WholeNumber,
    XmlText,
    declare_fault,
    has_xml_fault,
    shape_of,
)
from shared.imports.row_reader import usable_reference
from shared.imports.text_checks import is_blank

# ruff: noqa: N815  (the names are the contract's)


# The maximum number of documents of one license.
MAX_DOCUMENTS: Final = 100

# How the vendor writes a missing key.
NO_KEY_TEXT: Final = "<empty>"

_DIRECTIONS = {"after": "After", "before": "Before"}


def guid_text(text: str) -> str | None:
    """A guid with or without dashes, braces or parentheses, in lower case with dashes.

    None for a missing key: `<empty>` or all zeros. Raises ValueError.
    """
    compact = text.strip().lower()
    if compact == NO_KEY_TEXT:
        return None
    guid = parse_guid(compact)
    if guid is None:
        raise ValueError(GUID_FORM)
    return None if guid == ZERO_GUID else guid


def _key(text: str) -> str | None:
    try:
        return guid_text(text)
    except ValueError as error:
        raise PydanticKnownError("string_pattern_mismatch", {"pattern": str(error)}) from None


def _direction(value: Any) -> Any:
    return _DIRECTIONS.get(value.lower(), value) if isinstance(value, str) else value


# A license's guid; reading converts the text of a missing key to None.
LicenseKey = Annotated[
    str,
    Strict(),
    AfterValidator(_key),
    Mark.CONVERTED,
    WithJsonSchema({"type": "string", "format": "uuid"}),
]

# The SHA-256 of content, as it is read back.
Digest = Annotated[str, Strict(), StringConstraints(pattern="^[0-9a-f]{64}$")]

# Accepted in any case, stored in the contract's.
OffsetDirection = Annotated[Literal["After", "Before"], BeforeValidator(_direction), Mark.CONVERTED]


NOT_BASE64: Final = declare_fault("not_base64", LicenseMessageId.CONTENT_NOT_BASE64)

_BLANKS = re.compile(r"[ \t\r\n]+")


def _base64(text: str) -> str:
    """The text without blanks and line breaks, which senders insert and decoders ignore."""
    compact = _BLANKS.sub("", text)
    try:
        binascii.a2b_base64(compact, strict_mode=True)
    except ValueError:
        raise PydanticCustomError(NOT_BASE64, "no base64") from None
    return compact


# The bytes of a file as padded base64 of the standard alphabet; the caller checks the size.
Base64 = Annotated[
    str,
    Strict(),
    AfterValidator(_base64),
    Mark.CONVERTED,
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]


class LicenseReminder(Record):
    """When and where the employee is reminded; its properties merge separately."""

    merge_kind = MergeKind.PER_PROPERTY

    isShowingOnDashboard: Flag | None = None
    isShowingOnPayStub: Flag | None = None
    isShowingOnESS: Flag | None = None
    offset: WholeNumber | None = None
    offsetDirection: OffsetDirection | None = None


class LicenseDocument(Record):
    """A file of a license; its name and type identify it within the license."""

    merge_kind = MergeKind.WHOLE

    content: Annotated[Base64 | None, Mark.SENSITIVE] = None
    name: XmlText | None = None
    sourcePath: XmlText | None = None
    mimeType: XmlText | None = None
    documentTypeCode: XmlText | None = None
    sha256: Digest | None = None


class LicenseIdentity(Record):
    """The fields that identify a license; a row of a DELETE has no others."""

    companyCode: LicenseReference
    divisionCode: LicenseReference | None = None
    employeeNumber: LicenseReference | None = None
    employeePersonalId: WholeNumber | None = None
    licenseTypeCode: LicenseReference | None = None
    licenseNumber: LicenseReference | None = None
    licenseKey: LicenseKey | None = None
    serializableLicenseKey: LicenseKey | None = None


class License(LicenseIdentity):
    """One row of a licenses import, and the stored license."""

    licenseCertificateCode: XmlText | None = None
    issuedDate: CalendarDate | None = None
    expirationDate: CalendarDate | None = None
    reminder: LicenseReminder | None = None
    notes: Annotated[XmlText | None, UsualLength(10_000)] = None
    stateCode: XmlText | None = None
    documents: Annotated[list[LicenseDocument], Field(max_length=MAX_DOCUMENTS)] | None = None


# A license is identified by its key, or else by its employee, type and number (docs/contracts.md#2,
# matching).
#
# An employee is (divisionCode, employeeNumber), or (divisionCode, employeePersonalId) where there
# is no number, within one company.

KEY_FIELDS: Final = ("licenseKey", "serializableLicenseKey")
# The fields of `RowResult.key`; the license's key is the last.
IDENTITY_FIELDS: Final = (
    "companyCode",
    "divisionCode",
    "employeeNumber",
    "employeePersonalId",
    "licenseKey",
)
PERSONAL_ID: Final = "employeePersonalId"
# Fields that name an employee; a division alone does not.
NAMING_FIELDS: Final = ("employeeNumber", PERSONAL_ID)
EMPLOYEE_FIELDS: Final = ("divisionCode", *NAMING_FIELDS)
NATURAL_KEY_FIELDS: Final = (*EMPLOYEE_FIELDS, "licenseTypeCode", "licenseNumber")
NEEDED_TO_FIND: Final = "send licenseKey, employeeNumber or employeePersonalId"

# The UUID namespace of generated keys; a random constant.
_NAMESPACE: Final = uuid.UUID("0a0d1c8e-5f0d-4b43-9a3e-6a5a3f6f9d51")


@dataclass(frozen=True, slots=True)
class Employee:
    """The employee of a license; without a number or an id the license has no employee."""

    division: str | None = None
    number: str | None = None
    personal_id: int | None = None

    @property
    def is_named(self) -> bool:
        """Whether it names an employee."""
        return self.number is not None or self.personal_id is not None


NO_EMPLOYEE: Final = Employee()


@dataclass(frozen=True, slots=True)
class NaturalKey:
    """Identifies a license without its key; it is unique within a company."""

    employee: Employee
    type_code: str | None
    number: str | None


def employee_of(values: Mapping[str, Any]) -> Employee:
    """The employee in these values (by contract name)."""
    number, personal_id = values.get("employeeNumber"), values.get("employeePersonalId")
    if number is not None:
        return Employee(values.get("divisionCode"), number)
    if personal_id is not None:
        return Employee(values.get("divisionCode"), None, personal_id)
    return NO_EMPLOYEE


def keep_employee_fields(
    stored: Mapping[str, Any], sent: Mapping[str, Any], *, keeps: bool
) -> Document:
    """The stored employee fields that a row leaves unchanged.

    `keeps` says that the action keeps absent fields. A row without an employee keeps the employee
    under every action. A field that is null counts as present.
    """
    if not keeps and any(name in sent for name in NAMING_FIELDS):
        return {}
    return {name: stored[name] for name in EMPLOYEE_FIELDS if name in stored}


def natural_key(values: Mapping[str, Any]) -> NaturalKey | None:
    """The natural key of these values; None where they name no employee."""
    employee = employee_of(values)
    if not employee.is_named:
        return None
    return NaturalKey(employee, values.get("licenseTypeCode"), values.get("licenseNumber"))


def explicit_key(values: Mapping[str, Any]) -> str | None:
    """The license key that a row sends, under either of its names."""
    return values.get("licenseKey") or values.get("serializableLicenseKey")


def keys_differ(values: Mapping[str, Any]) -> bool:
    """Whether a row sends two different keys."""
    first, second = (values.get(name) for name in KEY_FIELDS)
    return first is not None and second is not None and first != second


def is_unidentified(row: ReadRow) -> bool:
    """Whether a row sends neither a key nor an employee, readable or not."""
    return (
        explicit_key(row.values) is None
        and not employee_of(row.values).is_named
        and row.unreadable.isdisjoint((*KEY_FIELDS, *NAMING_FIELDS))
    )


def can_be_found(row: ReadRow) -> bool:
    """Whether the fields that identify the license of a row are readable and sufficient."""
    values, unreadable = row.values, row.unreadable
    if keys_differ(values) or not unreadable.isdisjoint(KEY_FIELDS):
        return False
    if explicit_key(values) is not None:
        return True
    return employee_of(values).is_named and unreadable.isdisjoint(NATURAL_KEY_FIELDS)


def generate_keys(tenant: str, company: str, natural: NaturalKey, spare: str) -> Iterator[str]:
    """The keys that a new license may get, best first.

    The first is derived from tenant and natural key alone, so that a repeated row finds its
    license. The others are needed where a license that has changed since has that key; they are
    also derived from `spare`, the id of the import.
    """
    employee = natural.employee
    text = "\x1f".join(
        "" if part is None else f"{len(str(part))}:{part}"
        for part in (
            tenant,
            company,
            employee.division,
            employee.number,
            employee.personal_id,
            natural.type_code,
            natural.number,
        )
    )
    yield str(uuid.uuid5(_NAMESPACE, text))
    count = 0
    while True:
        yield str(uuid.uuid5(_NAMESPACE, f"{text}\x1e{spare}\x1e{count}"))
        count += 1


def sent_identity(folded: Mapping[str, Any]) -> Document:
    """The usable identity fields of a row whose names are in lower case.

    It agrees with reading the row, and also works for a row with faults in other fields, so that
    the rows of an employee stay together.
    """
    values: Document = {}
    for name in ("companyCode", *EMPLOYEE_FIELDS, "licenseTypeCode", "licenseNumber"):
        value = folded.get(name.lower())
        is_number = name == PERSONAL_ID
        usable: Any = _personal_id(value) if is_number else usable_license_reference(value)
        if usable is not None:
            values[name] = usable
    for name in KEY_FIELDS:
        key = _parse_key(folded.get(name.lower()))
        if key is not None:
            values.setdefault("licenseKey", key)
    return values


def usable_license_reference(value: Any) -> str | None:
    """The stored form of a license reference from any value; None where it is unusable."""
    if type(value) is str and has_xml_fault(value):
        return None
    return usable_reference(value, MAX_LICENSE_REFERENCE)


def sent_employee(folded: Mapping[str, Any], identity: Document) -> Document:
    """The employee fields of a row of this identity; None where the row clears one.

    `folded` must not contain silent values (`without_silent_values`).
    """
    return {
        name: identity.get(name)
        for name in EMPLOYEE_FIELDS
        if name in identity or (name.lower() in folded and _is_empty(folded[name.lower()]))
    }


def result_key(values: Mapping[str, Any], license_key: str | None) -> tuple[str | None, ...]:
    """The key of a row's result: its identity as text, then the key of its license."""
    shown = [values.get(name) for name in IDENTITY_FIELDS[:-1]]
    return (*(None if value is None else str(value) for value in shown), license_key)


def employee_of_key(key: Sequence[str | None]) -> Employee:
    """The employee in the key of a result."""
    values: Document = dict(zip(IDENTITY_FIELDS, key, strict=True))
    personal_id = values.get(PERSONAL_ID)
    return employee_of(values | {PERSONAL_ID: int(personal_id) if personal_id else None})


def _is_empty(value: Any) -> bool:
    return value is None or (type(value) is str and is_blank(value))


def _personal_id(value: Any) -> int | None:
    """The id; None for 0, which clients send for an unset id."""
    return value or None if type(value) is int else None


def _parse_key(value: Any) -> str | None:
    try:
        return guid_text(value) if type(value) is str else None
    except ValueError:
        return None


# Removes values that clients send for unset properties (docs/licenses.md).
#
# A .NET object cannot omit a property. For an unset one it sends 0 (the personal id of an
# employee), a date of zeros, or null (`i:nil`). 0 and the date count as absent under every
# action, null only under Update and Merge, where an empty text clears.

_ZERO_DATE = re.compile(r"\s*(?:0{1,4}/0{1,2}/0{1,4}|0{1,4}-0{1,2}-0{1,2}(?:T[0:.]{1,20}Z?)?)\s*")
_NUMBER: Final = "employeePersonalId"
_DATES: Final = frozenset(("issuedDate", "expirationDate"))
_LICENSE: Final = shape_of(License)


def without_silent_values(row: Mapping[str, Any], action: LicenseAction) -> Document:
    """The row without known properties that count as absent; names may be in any case."""
    return _without_silent(row, _LICENSE, is_null_silent=action.keeps_what_is_absent)


def _without_silent(row: Mapping[str, Any], shape: Shape, *, is_null_silent: bool) -> Document:
    result: Document = {}
    for name, value in row.items():
        field = shape.fields.get(name) or shape.folded.get(name.lower())
        if field is not None:
            if (value is None and is_null_silent) or _is_unset(field.name, value):
                continue
            if field.nested is not None and field.name in shape.merging and isinstance(value, dict):
                result[name] = _without_silent(value, field.nested, is_null_silent=is_null_silent)
                continue
        result[name] = value
    return result


def _is_unset(name: str, value: Any) -> bool:
    if name == _NUMBER:
        return type(value) is int and value == 0
    return name in _DATES and type(value) is str and bool(_ZERO_DATE.fullmatch(value))
