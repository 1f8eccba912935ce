"""Licenses have every field of the contract, and nothing else (docs/contracts.md#2)."""

from __future__ import annotations

from typing import Any

import pytest

from shared.imports.import_type import ReadRow
from shared.imports.licenses.model import License, LicenseIdentity
from shared.imports.model import schema_of
from shared.imports.row_reader import read_row
from tests.unit.imports.licenses.license_bodies import KEY, a_license, sample_rows


def names(text: str) -> list[str]:
    return sorted(text.split())


TOP = names(
    "serializableLicenseKey licenseKey licenseTypeCode licenseCertificateCode licenseNumber "
    "issuedDate expirationDate reminder notes stateCode documents employeeNumber "
    "employeePersonalId divisionCode companyCode"
)
REMINDER = names("isShowingOnDashboard isShowingOnPayStub isShowingOnESS offset offsetDirection")
DOCUMENT = names("content name sourcePath mimeType documentTypeCode sha256")


def read(**fields: Any) -> ReadRow:
    return read_row(0, a_license(**fields), License, ("companyCode",))


def faults(row: ReadRow) -> list[tuple[int, str | None]]:
    return [(message.id, message.field) for message in row.messages]


def test_the_fields_are_those_of_the_contract() -> None:
    schema = schema_of(License, "Licenses")
    assert sorted(schema["properties"]) == TOP
    assert sorted(schema["$defs"]["LicenseReminder"]["properties"]) == REMINDER
    assert sorted(schema["$defs"]["LicenseDocument"]["properties"]) == DOCUMENT
    assert schema["required"] == ["companyCode"]


def test_a_deletion_has_the_key_and_the_natural_key() -> None:
    assert sorted(LicenseIdentity.model_fields) == names(
        "companyCode divisionCode employeeNumber employeePersonalId licenseTypeCode "
        "licenseNumber licenseKey serializableLicenseKey"
    )


def test_the_vendors_sample_is_read_as_it_was_sent() -> None:
    for sample in sample_rows():
        row = read_row(0, sample, License, ("companyCode",))
        assert (row.messages, row.values) == ((), sample)


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        KEY.upper(),
        KEY.replace("-", ""),
        f"{{{KEY}}}",
        f"({KEY.upper()})",
        f" {KEY}\n",
    ],
)
def test_a_key_is_taken_in_every_usual_form(text: str) -> None:
    row = read(licenseKey=text, serializableLicenseKey=text)
    assert (row.values["licenseKey"], row.values["serializableLicenseKey"]) == (KEY, KEY)


@pytest.mark.parametrize(
    "value",
    [None, "", " ", "<empty>", "<EMPTY>", "0" * 32, "00000000-0000-0000-0000-000000000000"],
)
def test_no_key_is_none(value: Any) -> None:
    row = read(licenseKey=value)
    assert (row.messages, row.values["licenseKey"]) == ((), None)


@pytest.mark.parametrize(
    "text", ["key", KEY[:-1], KEY + "0", f"{{{KEY}", f"{KEY}}}", KEY.replace("-", "_"), KEY[:8]]
)
def test_what_is_no_guid_does_not_have_the_form_of_a_key(text: str) -> None:
    assert faults(read(licenseKey=text)) == [(1004, "licenseKey")]


@pytest.mark.parametrize("text", ["After", "after", "AFTER"])
def test_a_direction_is_taken_in_any_case(text: str) -> None:
    assert read(reminder={"offsetDirection": text}).values["reminder"] == {
        "offsetDirection": "After"
    }


def test_another_direction_is_not_allowed() -> None:
    row = read(reminder={"offsetDirection": "Sideways"})
    assert faults(row) == [(1005, "reminder.offsetDirection")]


@pytest.mark.parametrize(
    ("sent", "kept"), [("QEA=", "QEA="), (" QE\r\n\tA= ", "QEA="), ("QEBA", "QEBA")]
)
def test_content_is_kept_without_blanks(sent: str, kept: str) -> None:
    assert read(documents=[{"content": sent}]).values["documents"] == [{"content": kept}]


@pytest.mark.parametrize(
    "text",
    ["QEA", "QEA==", "=QEA", "QE=A", "Q", "QE-_", "QEA=QEA=", "\u0662EA=", "\ud800", "QE\0A"],
)
def test_bad_base64_is_the_rows_error_and_is_not_repeated(text: str) -> None:
    row = read(documents=[{"name": "a"}, {"content": text}])
    assert faults(row) == [(3002, "documents[1].content")]
    assert row.messages[0].value is None


def test_a_license_has_a_hundred_documents_at_most() -> None:
    assert read(documents=[{"name": "a"}] * 100).is_readable
    assert faults(read(documents=[{"name": "a"}] * 101)) == [(1003, "documents")]


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"companyCode": None}, (1001, "companyCode")),
        ({"companyCode": "x" * 201}, (1003, "companyCode")),
        ({"employeePersonalId": "5"}, (1002, "employeePersonalId")),
        ({"employeePersonalId": 2**31}, (1008, "employeePersonalId")),
        ({"issuedDate": "2021-02-29"}, (1006, "issuedDate")),
        ({"reminder": {"offset": True}}, (1002, "reminder.offset")),
        ({"reminder": {"isShowingOnESS": "true"}}, (1002, "reminder.isShowingOnESS")),
        ({"reminder": "daily"}, (1002, "reminder")),
        ({"documents": {}}, (1002, "documents")),
        ({"documents": ["a"]}, (1002, "documents[0]")),
        ({"colour": "red"}, (1007, "colour")),
        ({"documents": [{"size": 1}]}, (1007, "documents[0].size")),
    ],
)
def test_a_bad_value_is_one_fault(fields: dict[str, Any], fault: tuple[int, str]) -> None:
    assert faults(read(**fields)) == [fault]
