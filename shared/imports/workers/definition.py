"""What the workers import is, without its models: read whenever the app is indexed."""

from __future__ import annotations

from typing import Final

from shared.imports.import_type import ImportType, Rules
from shared.imports.messages import declare_messages, existing_record_message
from shared.imports.pay_and_bill.contract import PAY_AND_BILL

WORKER_EXISTS: Final = 10000


def _load_rules() -> Rules:
    """The rules, imported late because they bring pydantic along."""
    from shared.imports.workers.rules import RULES

    return RULES


WORKERS = ImportType(
    name="workers",
    version=1,
    table="Workers",
    load_rules=_load_rules,
    contract=PAY_AND_BILL,
    messages=declare_messages(existing_record_message(WORKER_EXISTS, "Worker", "vendor")),
)
EXTERNAL = "external"
# Kinds of names that a worker is found by.
PERSONNEL = "personnel"
