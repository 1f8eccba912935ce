"""A pytest plugin: a running Payroll Import Gateway, and a tenant of its own for each test.

The fixtures are `gateway` (for each test) and `payroll_gateway` (one for the whole run).
"""

from payroll_gateway_standin.calls import Answer, StandinError
from payroll_gateway_standin.tenant import (
    Clock,
    Faults,
    PayrollGateway,
    Request,
    Snapshots,
    TenantGateway,
)

__all__ = [
    "Answer",
    "Clock",
    "Faults",
    "PayrollGateway",
    "Request",
    "Snapshots",
    "StandinError",
    "TenantGateway",
]
