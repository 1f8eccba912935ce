"""The fields of placements by the contract."""

from __future__ import annotations

from typing import Any

from shared.imports.pay_and_bill.parts import ConsultantSplit
from shared.imports.placements.model import Placement
from shared.imports.placements.rules import RULES
from tests.unit.imports.row_types import ModelFields, RowType, names


def a_placement(**fields: Any) -> dict[str, Any]:
    """The smallest placement there is; `fields` replace or add."""
    return {"EmployerRef": "ER1", "PlacementRef": "PL1"} | fields


ROW_TYPES = (
    RowType(
        "placements",
        RULES,
        a_placement,
        (
            ModelFields(
                Placement,
                {
                    "text": names(
                        "EmployerRef PlacementRef DivisionRef DepartmentRef ClientRef "
                        "PersonnelRef ApplicantName StartDate JobTitle DebitOrCreditIndicator "
                        "PurchaseOrderNumber InvoiceDate ContractEndDate AdhocDescription "
                        "PlacementCategory ReportToClientRef InvoiceToClientRef Comments"
                    ),
                    "whole": names("TaxYear TaxPeriod TaxSession SettlementDays InvoiceAddressNo"),
                    "number": names("Salary PlacementValue CommissionPercentage AdhocValue"),
                    "list": names("ConsultantSplits"),
                },
                not_null=frozenset(names("EmployerRef PlacementRef")),
            ),
            ModelFields(
                ConsultantSplit,
                {"text": names("ConsultantRef"), "number": names("Split")},
                ("ConsultantSplits[0]",),
                frozenset(names("ConsultantRef Split")),
            ),
        ),
        ("PlacementRef", "PL1"),
        exists_message=10003,
        elements={"ConsultantSplits": {"ConsultantRef": "JMB", "Split": 100}},
        sample=[("new", []), ("new", [2002]), ("failed", [1002, 1004, 1006, 1008])],
    ),
)
