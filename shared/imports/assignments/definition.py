"""What the assignments import is, without its models: read whenever the app is indexed."""

from __future__ import annotations

from typing import Final

from shared.imports.import_type import ImportType, ReferenceField, Rules
from shared.imports.messages import declare_messages, existing_record_message
from shared.imports.pay_and_bill.contract import PAY_AND_BILL
from shared.imports.workers.definition import WORKERS

ASSIGNMENT_EXISTS: Final = 10001


def _load_rules() -> Rules:
    """The rules, imported late because they bring pydantic along."""
    from shared.imports.assignments.rules import RULES

    return RULES


ASSIGNMENTS = ImportType(
    name="assignments",
    version=1,
    table="Assignments",
    load_rules=_load_rules,
    contract=PAY_AND_BILL,
    messages=declare_messages(
        existing_record_message(ASSIGNMENT_EXISTS, "Assignment", "docs/contracts.md#6")
    ),
    references=(ReferenceField("PersonnelRef", WORKERS),),
)
