"""What a row of an assignments import does to the assignment it speaks of (CONTRACTS 1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from shared.imports.assignments.meanings import MEANINGS
from shared.imports.assignments.model import Assignment
from shared.imports.assignments.plausibility import implausible
from shared.imports.definition import Document, ListedValue, Reference
from shared.imports.listing import listed_values
from shared.imports.merging_types import merging_rules
from shared.imports.messages import Message
from shared.imports.workers.definition import WORKERS

ALREADY_EXISTS: Final = 10001
COLUMNS: Final = ("EmployerRef", "AssignmentRef", "PersonnelRef", "ClientRef", "JobTitle")
"""What people search by."""
LISTED: Final = (
    "ClientRef",
    "DivisionRef",
    "DepartmentRef",
    "JobCategoryRef",
    "ReportToClientRef",
    "InvoiceToClientRef",
    "ComparatorRef",
    "ContractRefPrimaryContract",
)
"""What a tenant's reference lists are asked for; the consultants of the splits too."""


def _review(sent: Document, _merged: Document) -> Iterable[Message]:
    return implausible(sent)


def references(document: Document) -> tuple[Reference, ...]:
    """The worker, who must be stored with the same employer."""
    employer, worker = document.get("EmployerRef"), document.get("PersonnelRef")
    if employer is None or worker is None:
        return ()
    return (Reference("PersonnelRef", WORKERS.table, employer, worker),)


def listed(document: Document) -> tuple[ListedValue, ...]:
    """The values that are looked up in the tenant's reference lists."""
    values = [*listed_values(document, LISTED)]
    for place, split in enumerate(document.get("ConsultantSplits", ())):
        values += listed_values(split, ("ConsultantRef",), f"ConsultantSplits[{place}].")
    return tuple(values)


RULES = merging_rules(
    model=Assignment,
    title="Assignments v1",
    key_fields=("EmployerRef", "AssignmentRef"),
    record_id_fields=("AssignmentRef",),
    exists=ALREADY_EXISTS,
    review=_review,
    meanings=MEANINGS,
    columns=COLUMNS,
    references=references,
    listed=listed,
)
