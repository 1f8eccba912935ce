"""What the timesheets import is, without its models: read whenever the app is indexed.

Its two versions share call, store and key; they differ in what may be null in a line.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.import_type import ImportType, OnExisting, ReferenceField, Rules
from shared.imports.messages import declare_messages, existing_record_message
from shared.imports.pay_and_bill.contract import PAY_AND_BILL
from shared.imports.workers.definition import WORKERS

TIMESHEET_EXISTS: Final = 10002


def _load_rules() -> Rules:
    """The rules, imported late because they bring pydantic along."""
    from shared.imports.timesheets.rules import RULES

    return RULES


def _load_rules_v2() -> Rules:
    from shared.imports.timesheets.rules import RULES_V2

    return RULES_V2


TIMESHEETS = ImportType(
    name="timesheets",
    version=1,
    table="Timesheets",
    load_rules=_load_rules,
    contract=PAY_AND_BILL,
    # A timesheet that is sent twice would be paid twice.
    on_existing=OnExisting.ERROR,
    messages=declare_messages(
        existing_record_message(TIMESHEET_EXISTS, "Timesheet", "docs/contracts.md#12")
    ),
    references=(
        ReferenceField("PersonnelRef", WORKERS),
        ReferenceField("AssignmentRef", ASSIGNMENTS, agrees=("PersonnelRef",)),
    ),
)
TIMESHEETS_V2 = replace(TIMESHEETS, version=2, load_rules=_load_rules_v2)
