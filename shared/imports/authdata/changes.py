"""What a record of a batch would change in an employee, field by field; values never show."""

from __future__ import annotations

from collections.abc import Sequence

from shared.imports.authdata.model import FIELDS, VALUE_FIELDS, Employee, Stored
from shared.imports.authdata.rules import Classification, RecordClass
from shared.imports.field_diff import changed_fields, changes_text
from shared.imports.import_type import Document


def changes_of(verdict: Classification, known: Stored) -> str:
    """The fields that the record changes, as `changes_text`; none where it changes nothing."""
    if verdict.employee is None or verdict.record.employee_id is None:
        return changes_text(())
    if verdict.standing is RecordClass.NO_CHANGE:
        return changes_text(())
    before = known.employees.get(verdict.renamed_from or verdict.record.employee_id)
    changed = changed_fields(_shown(before), _shown(verdict.employee), _is_sensitive)
    return changes_text(changed)


def _shown(employee: Employee | None) -> Document | None:
    if employee is None:
        return None
    document = employee.document()
    return {name: document[name] for name in FIELDS if name in document}


def _is_sensitive(path: Sequence[str | int]) -> bool:
    return path[0] in VALUE_FIELDS
