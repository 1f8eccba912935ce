"""A stored record as text: amounts as numbers, sensitive values masked, nothing else touched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from shared.imports.assignments.rules import RULES as ASSIGNMENTS
from shared.imports.files.columns import known_paths, path_of
from shared.imports.modules import IMPORT_MODULES
from shared.imports.text_checks import looks_masked, masked_value
from shared.imports.workers.rules import RULES as WORKERS
from shared.services.records.rendering import RecordRenderer, number_names, sensitive_names
from shared.storage.entities import split_text
from shared.storage.ports import Entity


def rendered(type_name: str, text: str, *, masks: bool, previous: Any = None) -> str:
    records = IMPORT_MODULES[type_name].records
    assert records is not None
    renderer = RecordRenderer(
        records.name, records.source().shape, lambda _entity: previous, masks=masks
    )
    return renderer.item(Entity("t|E1", "r|P1", split_text("Document", text)))


def record_of(item: str) -> Mapping[str, Any]:
    record: Mapping[str, Any] = json.loads(item)["record"]
    return record


def test_a_record_is_given_out_byte_for_byte_where_nothing_is_masked() -> None:
    text = '{"EmployerRef":"E1", "Surname":"\u00fc\\u00fc","Odd": {"PassportNumber":1}}'
    for masks in (True, False):
        assert rendered("workers", text, masks=masks).startswith(f'{{"record":{text},"type"')


@pytest.mark.parametrize("amount", ["0", "-12", "12.50", "79228162514264337593543950335", "0.1"])
def test_an_amount_is_a_number_again_whatever_stands_around_it(amount: str) -> None:
    notes = '"Split":"1" ,"PayRate":"2"'
    document = {"Notes": notes, "Rates": [{"PayRate": amount, "RateCode": amount}]}
    item = rendered("assignments", json.dumps(document, separators=(",", ":")), masks=False)
    assert f'"PayRate":{amount},' in item
    assert record_of(item)["Notes"] == notes
    assert record_of(item)["Rates"][0]["RateCode"] == amount


def test_former_amounts_are_numbers_too() -> None:
    item = rendered(
        "assignments", '{"Notes":"x"} ', masks=True, previous={"HolOverrideWeeks": "2.50"}
    )
    assert '"previous":{"HolOverrideWeeks":2.50}' in item


def test_what_must_be_in_every_row_is_there_as_null() -> None:
    for text, expected in (
        ("{}", '{"ExpectedEndDate":null,"ActualEndDate":null}'),
        ('{"Notes":"\\"ActualEndDate\\":"}', '{"Notes":"\\"ActualEndDate\\":",'),
        ('{"ActualEndDate":"2024-01-01"}', '{"ActualEndDate":"2024-01-01","ExpectedEndDate":null}'),
    ):
        item = rendered("assignments", text, masks=False)
        assert item.startswith(f'{{"record":{expected}')
        assert {"ExpectedEndDate", "ActualEndDate"} <= record_of(item).keys()


def test_the_fields_of_each_type_that_are_numbers_or_sensitive() -> None:
    assert number_names(WORKERS.json_schema()) == frozenset()
    assert {"PayRate", "Split", "CustomerDefinedField3"} < number_names(ASSIGNMENTS.json_schema())
    assert sensitive_names(ASSIGNMENTS.json_schema(), ASSIGNMENTS.is_sensitive) == frozenset()
    assert sensitive_names(WORKERS.json_schema(), WORKERS.is_sensitive) == {
        *("PrimaryBankDetails", "SecondaryBankDetails", "UKPayrollDetails", "PassportNumber")
    }
    with pytest.raises(ValueError, match="Code"):
        number_names(
            {
                "properties": {"Code": {"type": "number"}},
                "$defs": {"Other": {"properties": {"Code": {"type": ["string", "null"]}}}},
            }
        )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *(("12345678", "***5678"), ("1234567", "***"), ("", "***"), (5, "***"), (True, "***")),
        ("\U0001f600" * 8, "***" + "\U0001f600" * 4),
    ],
)
def test_at_most_the_last_four_of_eight_characters_are_shown(value: Any, shown: str) -> None:
    assert masked_value(value) == shown
    assert looks_masked(shown)


@pytest.mark.parametrize("value", [" ***5678", "***\u00a0", "***1", "*** 567"])
def test_a_mask_that_was_edited_still_looks_like_one(value: str) -> None:
    assert looks_masked(value)


@pytest.mark.parametrize("value", ["**", "***12345", 3, None, "x***1234", "12***", ""])
def test_what_is_no_mask_does_not_look_like_one(value: Any) -> None:
    assert not looks_masked(value)


def test_no_marked_value_of_a_worker_is_shown_wherever_it_stands() -> None:
    document: dict[Any, Any] = {}
    secrets: list[str] = []
    for place, name in enumerate(known_paths(WORKERS.json_schema())):
        *outer, last = path_of(name)
        holder = document
        for step in outer:
            holder = holder.setdefault(step, {})
        is_secret = WORKERS.is_sensitive(path_of(name))
        holder[last] = f"{'secret' if is_secret else 'open'}-{place}-value{place:04d}"
        secrets += [holder[last]] if is_secret else []
    assert len(secrets) > 15
    text = json.dumps(document)
    records = IMPORT_MODULES["workers"].records
    assert records is not None
    entity = Entity("t|E1", "r|P1", split_text("Document", text))
    shape = records.source().shape
    for masks in (True, False):
        renderer = RecordRenderer("workers", shape, lambda _entity: document, masks=masks)
        shown = renderer.item(entity) + renderer.row(entity)
        assert [secret in shown for secret in secrets] == [not masks] * len(secrets)
        assert ("secret" in shown) is not masks
        assert shown.count("open-") == 3 * (len(known_paths(WORKERS.json_schema())) - len(secrets))


def test_other_fields_beside_sensitive_ones_are_shown() -> None:
    document = {"UKPayrollDetails": {"NINumber": "QQ123456C", "PAYECode": "1257L"}, "Title": "Ms"}
    item = json.loads(rendered("workers", json.dumps(document), masks=True))
    assert item["record"] == {
        "UKPayrollDetails": {"NINumber": "***456C", "PAYECode": "1257L"},
        "Title": "Ms",
    }
    assert item["masked"] == ["UKPayrollDetails.NINumber"]
