"""What the assignments import hands over to the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.pay_and_bill.module import pay_and_bill_module

if TYPE_CHECKING:
    from shared.services.records.sources import RecordSource


def _records() -> RecordSource:
    from shared.services.records.sources import BusinessRecords

    return BusinessRecords(ASSIGNMENTS, columns=("PersonnelRef",))


MODULE = pay_and_bill_module(ASSIGNMENTS, _records, sample_failures=("A-2204", "SG-0009"))
