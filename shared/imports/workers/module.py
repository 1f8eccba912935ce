"""What the workers import hands over to the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.imports.pay_and_bill.module import pay_and_bill_module
from shared.imports.workers.definition import EXTERNAL, PERSONNEL, WORKERS

if TYPE_CHECKING:
    from shared.services.records.sources import RecordSource


def _records() -> RecordSource:
    from shared.services.records.sources import BusinessRecords

    names = {"PersonnelRef": PERSONNEL, "ExternalWorkerRef": EXTERNAL}
    return BusinessRecords(WORKERS, names, lookup="ExternalWorkerRef")


MODULE = pay_and_bill_module(WORKERS, _records, sample_failures=("00420",))
