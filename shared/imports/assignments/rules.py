"""What a row of an assignments import does to the assignment it speaks of (CONTRACTS 1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from shared.imports.assignments.model import Assignment
from shared.imports.assignments.plausibility import implausible
from shared.imports.columns import text_columns
from shared.imports.definition import (
    Decision,
    Document,
    ListedValue,
    Options,
    ReadRow,
    Reference,
    RowKey,
    Rules,
)
from shared.imports.listing import listed_values
from shared.imports.merging import decide_merge
from shared.imports.messages import Message
from shared.imports.reading import read_key, read_row
from shared.imports.schema import schema_of
from shared.imports.workers.definition import WORKERS

KEY_FIELDS: Final = ("EmployerRef", "AssignmentRef")
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


def identify(row: Mapping[str, Any]) -> RowKey | None:
    """The assignment that a row with lower-cased names speaks of."""
    return read_key(row, "employerref", "assignmentref")


def read(index: int, row: Mapping[str, Any]) -> ReadRow:
    """The row's values and faults."""
    return read_row(index, row, Assignment, KEY_FIELDS)


def decide(row: ReadRow, stored: Document | None, options: Options) -> Decision:
    """New, updated or unchanged; or failed with 10001 (exists already)."""
    exists = Message(ALREADY_EXISTS, "AssignmentRef", row.key[1])
    return decide_merge(row, stored, options, model=Assignment, exists=exists, review=_review)


def _review(sent: Document, _merged: Document) -> Iterable[Message]:
    return implausible(sent)


def columns(document: Document) -> dict[str, str]:
    """The columns of an assignment's entity."""
    return text_columns(document, COLUMNS)


def lookups(_document: Document) -> tuple[str, ...]:
    """None: an assignment is found by its own reference alone."""
    return ()


def json_schema() -> dict[str, Any]:
    """The schema of one assignment in the body of a call."""
    return schema_of(Assignment, "Assignments v1")


def references(document: Document) -> tuple[Reference, ...]:
    """The worker, who must be stored with the same employer."""
    employer, worker = document["EmployerRef"], document["PersonnelRef"]
    return (Reference("PersonnelRef", WORKERS.table, employer, worker),)


def listed(document: Document) -> tuple[ListedValue, ...]:
    """The values that are looked up in the tenant's reference lists."""
    values = [*listed_values(document, LISTED)]
    for place, split in enumerate(document.get("ConsultantSplits", ())):
        values += listed_values(split, ("ConsultantRef",), f"ConsultantSplits[{place}].")
    return tuple(values)


RULES = Rules(
    key_fields=KEY_FIELDS,
    record_id_fields=("AssignmentRef",),
    identify=identify,
    read=read,
    decide=decide,
    columns=columns,
    lookups=lookups,
    json_schema=json_schema,
    references=references,
    listed=listed,
)
