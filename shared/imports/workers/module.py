"""What the workers import hands over to the gateway."""

from __future__ import annotations

from shared.imports.pay_and_bill.module import pay_and_bill_module
from shared.imports.workers.definition import WORKERS

MODULE = pay_and_bill_module(WORKERS)
