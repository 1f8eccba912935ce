"""What the timesheets import hands over to the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.imports.pay_and_bill.module import pay_and_bill_module
from shared.imports.timesheets.definition import TIMESHEETS

if TYPE_CHECKING:
    from shared.services.records.sources import RecordSource


def _records() -> RecordSource:
    from shared.services.records.sources import BusinessRecords

    return BusinessRecords(TIMESHEETS, columns=("PersonnelRef", "AssignmentRef"))


MODULE = pay_and_bill_module(TIMESHEETS, _records, sample_failures=("000005357", "000005358"))
