"""What the assignments import hands over to the gateway."""

from __future__ import annotations

from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.pay_and_bill.module import pay_and_bill_module

MODULE = pay_and_bill_module(ASSIGNMENTS)
