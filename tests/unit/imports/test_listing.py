"""Reference lists: their kinds, and the form that values are compared in."""

from __future__ import annotations

import pytest

from shared.imports.assignments.rules import LISTED as ASSIGNMENT_FIELDS
from shared.imports.import_type import FIELDS_OF_KIND, KIND_OF_FIELD, ReferenceKind, find_kind
from shared.imports.merge_rules import listed_form
from shared.imports.workers.rules import LISTED as WORKER_FIELDS


def test_every_kind_has_fields_and_every_field_is_looked_up() -> None:
    assert set(FIELDS_OF_KIND) == set(ReferenceKind)
    looked_up = {*WORKER_FIELDS, *ASSIGNMENT_FIELDS, "BankSortCode", "ConsultantRef"}
    assert set(KIND_OF_FIELD) == looked_up


@pytest.mark.parametrize("kind", ReferenceKind)
def test_the_text_of_the_enum_has_every_kind(kind: ReferenceKind) -> None:
    assert f"    {kind.value} " in (ReferenceKind.__doc__ or "")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("division", ReferenceKind.DIVISION),
        ("Division", ReferenceKind.DIVISION),
        ("DivisionRef", ReferenceKind.DIVISION),
        ("job-category", ReferenceKind.JOB_CATEGORY),
        ("JobCategory", ReferenceKind.JOB_CATEGORY),
        ("job_category", ReferenceKind.JOB_CATEGORY),
        ("InvoiceToClientRef", ReferenceKind.CLIENT),
        ("BankSortCode", ReferenceKind.SORT_CODE),
        ("EmployerRef", None),
        ("", None),
    ],
)
def test_a_kind_is_found_by_its_name_or_a_fields(text: str, kind: ReferenceKind | None) -> None:
    assert find_kind(text) is kind


@pytest.mark.parametrize(
    ("text", "form"),
    [(" 007 ", "007"), ("E\u0301", "\u00c9"), ("a b", "a b"), (" " + "x" * 61, "x" * 61)],
)
def test_values_are_compared_in_the_form_of_a_reference(text: str, form: str) -> None:
    assert listed_form(text) == form
