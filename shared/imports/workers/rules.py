"""What a row of a workers import does to the worker it speaks of (CONTRACTS 1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from shared.imports.columns import text_columns
from shared.imports.definition import (
    Decision,
    Document,
    ListedValue,
    Options,
    ReadRow,
    RowKey,
    Rules,
)
from shared.imports.listing import listed_values
from shared.imports.merging import decide_merge
from shared.imports.messages import Message
from shared.imports.reading import read_key, read_row
from shared.imports.schema import schema_of
from shared.imports.workers.model import Worker
from shared.imports.workers.plausibility import implausible

KEY_FIELDS: Final = ("EmployerRef", "PersonnelRef")
ALREADY_EXISTS: Final = 10000
CONTRADICTION: Final = 2002
COLUMNS: Final = (
    "EmployerRef",
    "PersonnelRef",
    "Surname",
    "FirstForename",
    "ExternalWorkerRef",
)
"""What people search by, and a document finds its worker by."""
LISTED: Final = ("DivisionRef", "DepartmentRef", "JobCategoryRef", "CurrencyRef", "ConsultantRef")
"""What a tenant's reference lists are asked for; sort codes too, under a condition."""
ACCOUNTS: Final = {
    "PrimaryPayMethod": "PrimaryBankDetails",
    "SecondaryPayMethod": "SecondaryBankDetails",
}


def identify(row: Mapping[str, Any]) -> RowKey | None:
    """The worker that a row with lower-cased names speaks of."""
    return read_key(row, "employerref", "personnelref")


def read(index: int, row: Mapping[str, Any]) -> ReadRow:
    """The row's values and faults."""
    return read_row(index, row, Worker, KEY_FIELDS)


def decide(row: ReadRow, stored: Document | None, options: Options) -> Decision:
    """New, updated or unchanged; or failed with 1001 (no Surname) or 10000 (exists already)."""
    exists = Message(ALREADY_EXISTS, "PersonnelRef", row.key[1])
    return decide_merge(row, stored, options, model=Worker, exists=exists, review=_review)


def _review(sent: Document, merged: Document) -> Iterator[Message]:
    if "LeavingDate" in sent or "StartDate" in sent:
        start, leaving = merged.get("StartDate"), merged.get("LeavingDate")
        if start is not None and leaving is not None and leaving < start:
            yield Message(CONTRADICTION, "LeavingDate", detail="it is before StartDate")
    yield from implausible(sent)


def columns(document: Document) -> dict[str, str]:
    """The columns of a worker's entity."""
    return text_columns(document, COLUMNS)


def lookups(document: Document) -> tuple[str, ...]:
    """The external reference, where it is another than the worker's own."""
    external = document.get("ExternalWorkerRef")
    return () if external is None or external == document["PersonnelRef"] else (external,)


def json_schema() -> dict[str, Any]:
    """The schema of one worker in the body of a call."""
    return schema_of(Worker, "Workers v1")


def listed(document: Document) -> tuple[ListedValue, ...]:
    """The values that are looked up in the tenant's reference lists.

    A sort code only where its account is paid by BACS [the vendor's rule]; it is never shown.
    """
    values = [*listed_values(document, LISTED)]
    for method, account in ACCOUNTS.items():
        if document.get(method, "").strip().upper() == "BACS":
            details = document.get(account, {})
            values += listed_values(details, ("BankSortCode",), f"{account}.", is_sensitive=True)
    return tuple(values)


RULES = Rules(
    key_fields=KEY_FIELDS,
    record_id_fields=KEY_FIELDS,
    identify=identify,
    read=read,
    decide=decide,
    columns=columns,
    lookups=lookups,
    json_schema=json_schema,
    listed=listed,
)
