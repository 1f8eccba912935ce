"""What the placements import hands over to the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.imports.pay_and_bill.module import pay_and_bill_module
from shared.imports.placements.definition import PLACEMENTS

if TYPE_CHECKING:
    from shared.services.records.sources import RecordSource


def _records() -> RecordSource:
    from shared.services.records.sources import BusinessRecords

    return BusinessRecords(PLACEMENTS, columns=("PersonnelRef",))


MODULE = pay_and_bill_module(PLACEMENTS, _records, sample_failures=("PL-1003",))
