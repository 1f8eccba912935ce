"""What a row of a workers import does to the worker it speaks of (CONTRACTS 1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from shared.imports.definition import Document, FoundBy, ListedValue
from shared.imports.faults import as_sent
from shared.imports.listing import listed_values
from shared.imports.merging_types import merging_rules
from shared.imports.messages import Message
from shared.imports.workers.definition import EXTERNAL, PERSONNEL
from shared.imports.workers.meanings import MEANINGS
from shared.imports.workers.model import Worker
from shared.imports.workers.plausibility import implausible

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


def _review(sent: Document, merged: Document) -> Iterator[Message]:
    if "LeavingDate" in sent or "StartDate" in sent:
        start, leaving = merged.get("StartDate"), merged.get("LeavingDate")
        if start is not None and leaving is not None and leaving < start:
            detail = "it is before StartDate; check both"
            yield Message(CONTRADICTION, "LeavingDate", as_sent(leaving), detail)
    yield from implausible(sent)


def lookups(document: Document) -> tuple[str, ...]:
    """The external reference, where it is another than the worker's own."""
    external = document.get("ExternalWorkerRef")
    return () if external is None or external == document["PersonnelRef"] else (external,)


def found_by(document: Document) -> tuple[FoundBy, ...]:
    """What a document may call the worker by (CONTRACTS 4)."""
    external = document.get("ExternalWorkerRef")
    own = FoundBy(PERSONNEL, document["PersonnelRef"])
    return (own,) if external is None else (own, FoundBy(EXTERNAL, external))


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


RULES = merging_rules(
    model=Worker,
    title="Workers v1",
    key_fields=("EmployerRef", "PersonnelRef"),
    record_id_fields=("EmployerRef", "PersonnelRef"),
    exists=ALREADY_EXISTS,
    review=_review,
    meanings=MEANINGS,
    columns=COLUMNS,
    lookups=lookups,
    found_by=found_by,
    listed=listed,
)
