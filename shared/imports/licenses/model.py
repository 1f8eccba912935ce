"""Licenses, every field (docs/contracts.md#2; the vendor's "Import Licenses" page).

Names are the contract's in its JSON spelling; in XML and in `propertyName` the first letter is a
capital. Only companyCode is in every row. What a row is matched by (the codes and numbers of
`LicenseIdentity`) is trimmed and in NFC like every reference, everything else is kept as sent.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Strict, WithJsonSchema
from pydantic_core import PydanticKnownError

from shared.guids import GUID_FORM, ZERO_GUID, parse_guid
from shared.imports.import_type import Document, ReadRow
from shared.imports.model import (
    MAX_LICENSE_REFERENCE,
    Base64,
    CalendarDate,
    Flag,
    LicenseReference,
    Mark,
    MergeKind,
    Record,
    UsualLength,
    WholeNumber,
    XmlText,
    has_xml_fault,
)
from shared.imports.reference_text import is_blank
from shared.imports.row_reader import usable_reference

# ruff: noqa: N815  (the names are the contract's)


# Documents of one license.
MAX_DOCUMENTS: Final = 100

# How the vendor writes a key that is none.
NO_KEY_TEXT: Final = "<empty>"

_DIRECTIONS = {"after": "After", "before": "Before"}


def guid_text(text: str) -> str | None:
    """A guid with or without dashes, braces or parentheses, in lower case with dashes.

    None for a key that is none: `<empty>` or all zeros. Raises ValueError.
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


# A license's guid; None after reading where the text says that there is no key.
LicenseKey = Annotated[
    str,
    Strict(),
    AfterValidator(_key),
    Mark.CONVERTED,
    WithJsonSchema({"type": "string", "format": "uuid"}),
]

# Taken in any case, kept in the contract's.
OffsetDirection = Annotated[Literal["After", "Before"], BeforeValidator(_direction), Mark.CONVERTED]


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


# What finds a license: its key, else whose it is and what it is (docs/contracts.md#2, matching).
#
# An employee is (divisionCode, employeeNumber), or (divisionCode, employeePersonalId) where there
# is no number; all of one company, whose code is the group of the rows.

KEY_FIELDS: Final = ("licenseKey", "serializableLicenseKey")
# What a result shows of a row, the license's key last.
IDENTITY_FIELDS: Final = (
    "companyCode",
    "divisionCode",
    "employeeNumber",
    "employeePersonalId",
    "licenseKey",
)
PERSONAL_ID: Final = "employeePersonalId"
# What names somebody; a division alone does not.
NAMING_FIELDS: Final = ("employeeNumber", PERSONAL_ID)
EMPLOYEE_FIELDS: Final = ("divisionCode", *NAMING_FIELDS)
NATURAL_KEY_FIELDS: Final = (*EMPLOYEE_FIELDS, "licenseTypeCode", "licenseNumber")
NEEDED_TO_FIND: Final = "send licenseKey, employeeNumber or employeePersonalId"

# Of the keys that the gateway makes; drawn once.
_NAMESPACE: Final = uuid.UUID("0a0d1c8e-5f0d-4b43-9a3e-6a5a3f6f9d51")


@dataclass(frozen=True, slots=True)
class Employee:
    """Whose license it is; without a number or an id it is nobody's."""

    division: str | None = None
    number: str | None = None
    personal_id: int | None = None

    @property
    def is_named(self) -> bool:
        """Whether there is somebody at all."""
        return self.number is not None or self.personal_id is not None


NOBODY: Final = Employee()


@dataclass(frozen=True, slots=True)
class NaturalKey:
    """A license without its key: within a company no two licenses are the same here."""

    employee: Employee
    type_code: str | None
    number: str | None


def employee_of(values: Mapping[str, Any]) -> Employee:
    """Whose license these values (by contract name) describe."""
    number, personal_id = values.get("employeeNumber"), values.get("employeePersonalId")
    if number is not None:
        return Employee(values.get("divisionCode"), number)
    if personal_id is not None:
        return Employee(values.get("divisionCode"), None, personal_id)
    return NOBODY


def kept_of_employee(
    stored: Mapping[str, Any], sent: Mapping[str, Any], *, keeps: bool
) -> Document:
    """What a license keeps of whose it is, where a row is silent; `keeps`: as of everything else.

    A row that names nobody leaves a license with its employee, whatever the action: it speaks of
    the license of its key. A field that is null is not silent.
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


def given_key(values: Mapping[str, Any]) -> str | None:
    """The key that a row gives, under either of its names."""
    return values.get("licenseKey") or values.get("serializableLicenseKey")


def keys_differ(values: Mapping[str, Any]) -> bool:
    """Whether a row gives two keys that are not the same."""
    first, second = (values.get(name) for name in KEY_FIELDS)
    return first is not None and second is not None and first != second


def is_unidentified(row: ReadRow) -> bool:
    """Whether a row gives neither a key nor an employee (and none that cannot be read)."""
    return (
        given_key(row.values) is None
        and not employee_of(row.values).is_named
        and row.unreadable.isdisjoint((*KEY_FIELDS, *NAMING_FIELDS))
    )


def can_be_found(row: ReadRow) -> bool:
    """Whether the fields that find the license of a row can be read, and say which one it is."""
    values, unreadable = row.values, row.unreadable
    if keys_differ(values) or not unreadable.isdisjoint(KEY_FIELDS):
        return False
    if given_key(values) is not None:
        return True
    return employee_of(values).is_named and unreadable.isdisjoint(NATURAL_KEY_FIELDS)


def made_keys(tenant: str, company: str, natural: NaturalKey, spare: str) -> Iterator[str]:
    """The keys that a new license may get, best first.

    The first follows from tenant and natural key alone, so that a repeat finds it; the others are
    for the case that a license has it already that has become another since. They follow from
    `spare`, the id of the import, too.
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
    """What a row (names in lower case) says of its identity, as far as it is usable.

    Agrees with reading the row, and also works where the row has faults elsewhere: the rows of an
    employee stand together whatever is wrong with one of them.
    """
    values: Document = {}
    for name in ("companyCode", *EMPLOYEE_FIELDS, "licenseTypeCode", "licenseNumber"):
        value = folded.get(name.lower())
        is_number = name == PERSONAL_ID
        usable: Any = _personal_id(value) if is_number else usable_license_reference(value)
        if usable is not None:
            values[name] = usable
    for name in KEY_FIELDS:
        key = _key_without_mark(folded.get(name.lower()))
        if key is not None:
            values.setdefault("licenseKey", key)
    return values


def usable_license_reference(value: Any) -> str | None:
    """A reference of a license as it is stored, from whatever a row sends; None: unusable."""
    if type(value) is str and has_xml_fault(value):
        return None
    return usable_reference(value, MAX_LICENSE_REFERENCE)


def sent_employee(folded: Mapping[str, Any], identity: Document) -> Document:
    """What a row of this identity says of whose the license is; None where it clears.

    Properties that say nothing (`without_silent_values`) are not among the folded ones.
    """
    return {
        name: identity.get(name)
        for name in EMPLOYEE_FIELDS
        if name in identity or (name.lower() in folded and _is_empty(folded[name.lower()]))
    }


def shown_key(values: Mapping[str, Any], license_key: str | None) -> tuple[str | None, ...]:
    """The key of a row's result: its identity as text, with the key of its license."""
    shown = [values.get(name) for name in IDENTITY_FIELDS[:-1]]
    return (*(None if value is None else str(value) for value in shown), license_key)


def _is_empty(value: Any) -> bool:
    return value is None or (type(value) is str and is_blank(value))


def _personal_id(value: Any) -> int | None:
    """The id; None for 0, which is what a client sends that has not set it."""
    return value or None if type(value) is int else None


def _key_without_mark(value: Any) -> str | None:
    try:
        return guid_text(value) if type(value) is str else None
    except ValueError:
        return None
