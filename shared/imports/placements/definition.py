"""What the placements import is, without its models: read whenever the app is indexed."""

from __future__ import annotations

from typing import Final

from shared.imports.import_type import ImportType, ReferenceField, Rules
from shared.imports.messages import declare_messages, existing_record_message
from shared.imports.pay_and_bill.contract import PAY_AND_BILL
from shared.imports.workers.definition import WORKERS

PLACEMENT_EXISTS: Final = 10003


def _load_rules() -> Rules:
    """The rules, imported late because they bring pydantic along."""
    from shared.imports.placements.rules import RULES

    return RULES


PLACEMENTS = ImportType(
    name="placements",
    version=1,
    table="Placements",
    load_rules=_load_rules,
    contract=PAY_AND_BILL,
    messages=declare_messages(
        existing_record_message(PLACEMENT_EXISTS, "Placement", "docs/contracts.md#12")
    ),
    references=(ReferenceField("PersonnelRef", WORKERS),),
)
