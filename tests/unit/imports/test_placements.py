"""The rules of placements (docs/contracts.md#12)."""

from __future__ import annotations

from typing import Any

import pytest

from shared.imports.import_type import Options, Reference
from shared.imports.placements.definition import PLACEMENTS
from shared.imports.results import Outcome
from tests.unit.house.source_tree import ROOT
from tests.unit.imports.builders import decide, read_rows
from tests.unit.imports.row_types.placements import a_placement

VENDOR_SAMPLE = ROOT / "tests" / "golden" / "payandbill-placements-v1.request.json"
RULES = PLACEMENTS.record_rules


def test_the_vendors_sample_imports_without_a_message() -> None:
    (row,) = read_rows(VENDOR_SAMPLE)
    first = decide(RULES, row)
    assert (first.outcome, first.messages) == (Outcome.NEW, ())
    assert first.document is not None
    assert set(first.document) == set(row)
    assert decide(RULES, row, first.document).outcome is Outcome.UNCHANGED


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        ({"PlacementRef": None}, [(1001, "PlacementRef")]),
        ({"PersonnelRef": "x" * 61}, [(1003, "PersonnelRef")]),
        ({"StartDate": "2024-04-02", "ContractEndDate": "2024-04-01"}, [(2002, "ContractEndDate")]),
        ({"Salary": -1, "SettlementDays": 367}, [(2003, "Salary"), (2003, "SettlementDays")]),
        (
            {"ConsultantSplits": [{"ConsultantRef": "A", "Split": 50}] * 2},
            [(2003, "ConsultantSplits")],
        ),
        ({"ConsultantSplits": [{"ConsultantRef": "A", "Split": 50}]}, [(2002, "ConsultantSplits")]),
        ({"ConsultantSplits": [{"ConsultantRef": "A"}]}, [(1001, "ConsultantSplits[0].Split")]),
    ],
)
def test_what_a_placement_is_told(fields: dict[str, Any], messages: list[tuple[int, str]]) -> None:
    read = RULES.read(0, a_placement(**fields))
    decision = RULES.decide(read, None, Options())
    found = (*read.messages, *decision.messages)
    assert [(message.id, message.field) for message in found] == messages


def test_a_placement_may_refer_to_a_worker_and_names_values_of_lists() -> None:
    document = decide(RULES, a_placement()).document
    assert document is not None
    assert PLACEMENTS.references_of(document) == []
    splits = [{"ConsultantRef": "JMB", "Split": 100}]
    row = a_placement(PersonnelRef="P1", ClientRef="C1", ConsultantSplits=splits)
    document = decide(RULES, row).document
    assert document is not None
    assert PLACEMENTS.references_of(document) == [Reference("PersonnelRef", "Workers", "ER1", "P1")]
    assert [(each.field, each.kind, each.value) for each in RULES.listed(document)] == [
        ("ClientRef", "client", "C1"),
        ("ConsultantSplits[0].ConsultantRef", "consultant", "JMB"),
    ]
