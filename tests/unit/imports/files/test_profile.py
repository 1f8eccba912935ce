"""Mapping profiles are read as a whole, and refused with all faults at once."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest

from shared.imports.files.profile import (
    MAX_PROFILE_BYTES,
    ProfileRefusedError,
    column_key,
    date_format,
    profile_name,
    read_profile,
)

COLUMNS = {"Mandant": "EmployerRef", "Nr": "PersonnelRef", "Name": "Surname"}


def a_profile(**parts: Any) -> str:
    columns = {**COLUMNS, **parts.pop("columns", {})}
    return json.dumps({"type": "workers", "columns": columns, **parts})


def faults_of(text: str) -> tuple[str, ...]:
    with pytest.raises(ProfileRefusedError) as error:
        read_profile(text)
    return error.value.faults


def test_a_profile_is_stored_with_the_paths_of_the_contract_and_reads_as_before() -> None:
    profile = read_profile(
        a_profile(
            columns={"Sex": "gender", "PLZ": "workeraddress.POSTCODE", "Geb": "DateOfBirth"},
            values={"GENDER": {"entries": {" M ": 1, "W": 2, "": None}, "otherwise": 0}},
            constants={"nationality": "German"},
            dates={"format": "D.M.YY", "yearsFrom": 1950},
            decimal=",",
            skip={"Art": ["S", "T"], "Storno": "any"},
        )
    )
    stored = profile.to_text()
    document = json.loads(stored)
    assert document["columns"]["PLZ"] == "WorkerAddress.Postcode"
    assert document["constants"] == {"Nationality": "German"}
    assert document["values"] == {"Gender": {"entries": {"M": 1, "W": 2, "": None}, "otherwise": 0}}
    assert read_profile(stored).to_text() == stored


def test_a_profile_is_refused_with_all_its_faults() -> None:
    faults = faults_of(
        json.dumps(
            {
                "type": "assignments",
                "columns": {
                    "Mandant": "EmployerRef",
                    "mandant\u00a0": "AssignmentRef",
                    "Beginn": "StartDat",
                    "Rates": "Rates",
                    "Far": "Rates[5000].PayRate",
                    "A": "JobTitle",
                    "B": "jobtitle",
                    " ": "ClientRef",
                    "_index": "ClientRef",
                    "C": 5,
                },
                "constants": {"IsIncludedOnMarginReport": "yes", "StartDate": "2021-02-30"},
                "values": {
                    "WorkLocation": {"entries": {"a": "b"}},
                    "JobTitle": {"entries": {"a": 5, "a ": "b"}, "else": "keep"},
                    "ClientRef": ["a"],
                },
                "dates": "DD.MM.YY",
                "decimal": ";",
                "skip": {"Art": [], "Storno": ["", "J"]},
                "colums": {},
            }
        )
    )
    for part in (
        "colums is no part of a profile; columns is the nearest one.",
        "is the same column as Mandant",
        "columns.Beginn names an unknown field: StartDat is no field of the type; StartDate",
        "columns.Rates names an unknown field: Rates has fields of its own",
        "columns.Far names an unknown field: Rates[5000].PayRate is beyond the end of the list",
        "columns.B gives the field JobTitle, which columns.A gives already.",
        "has no visible character.",
        "columns._index is a column of failed rows",
        "columns.C must name a field; it is a number.",
        "constants.IsIncludedOnMarginReport is a value that",
        "constants.StartDate is a value that StartDate does not take: it takes a calendar day",
        "values.WorkLocation belongs to the field WorkLocation, which no column gives.",
        "values.JobTitle has no part else: there are entries and otherwise.",
        "values.JobTitle.entries.a is a value that JobTitle does not take: it takes text.",
        "values.JobTitle.entries.a  is there twice",
        "values.ClientRef must be an object",
        "dates cannot be used: YY needs yearsFrom",
        'decimal must be "," or ".".',
        'skip.Art must be a list of texts, or "any".',
        "skip.Storno has a blank text",
        "columns has no column for AssignmentRef",
    ):
        assert any(part in fault for fault in faults), (part, faults)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is not valid JSON"),
        ("[]", "is a list"),
        ('{"a":1,"a":2}', "has the name a twice"),
        ('{"type":"workers","columns":{"A":"EmployerRef","A":"PersonnelRef"}}', "the name A twice"),
        ('{"a":NaN}', "a number out of range"),
        ('{"a":' + "[" * 100_000, "nested too deep"),
        ('{"a":"\\ud800"}', "half a surrogate pair"),
        ('{"type":"documents","columns":{}}', "type must be one of workers, assignments"),
        ('{"type":["workers"]}', "type must be one of"),
        ('{"type":"workers","version":7,"columns":{}}', "version must be a version of workers: 1"),
        ('{"type":"workers","columns":[]}', "columns must be an object with at least one name"),
        (a_profile(constants={"Gender": 1e300}), "has more than 15 digits"),
        (a_profile(constants={"Gender": 1.5}), "it takes whole numbers"),
        (a_profile(constants={"Gender": 2**40}), "has more than 15 digits|it takes numbers from"),
        (a_profile(constants={"Gender": {}}), "it is an object"),
        (a_profile(constants={"Surname": "x"}), "which columns.Name gives already"),
        (a_profile(dates={"format": "DD.MM.YYYY", "yearsFrom": 1950}), "belongs to a format with"),
        (a_profile(dates="DDMM"), "the day, the month and the year once each"),
        (a_profile(dates="DMYYYY"), "D needs a mark before and behind it"),
        (a_profile(dates="DD.MMM.YYYY"), "MMM is no token of a format"),
        (a_profile(dates="%d.%m.%Y"), "the day, the month and the year once each"),
        (a_profile(dates=5), "dates must be a format"),
    ],
)
def test_what_is_no_profile_is_refused(text: str, fault: str) -> None:
    faults = faults_of(text)
    assert any(part in each for part in fault.split("|") for each in faults), faults


def test_a_huge_profile_is_refused_at_once() -> None:
    assert "bytes" in faults_of(" " * (MAX_PROFILE_BYTES + 1))[0]
    # What is stored of it has more parts, and must be readable too.
    texts = [f"{at:03d}".ljust(900, "n") for at in range(289)]
    text = a_profile(skip={"A": texts}).replace(" ", "")
    stored = read_profile(text).to_text()
    assert read_profile(stored).to_text() == stored
    texts.append("n" * (MAX_PROFILE_BYTES - len(text) - 3))
    largest = a_profile(skip={"A": texts}).replace(" ", "")
    assert len(largest) == MAX_PROFILE_BYTES
    assert "the parts that the gateway adds" in faults_of(largest)[0]


def test_columns_of_one_field_are_told_apart_by_their_whole_name() -> None:
    name = "A column of which the first sixty characters are those of another "
    [fault] = faults_of(a_profile(columns={f"{name}1": "Title", f"{name}2": "Title"}))
    assert "gives the field Title" in fault
    started = time.monotonic()
    unknown = {f"column {number}": f"Unknwon{number}" for number in range(900)}
    faults = faults_of(a_profile(columns=unknown))
    # Of many unknown fields only the first are compared with all that there are.
    assert time.monotonic() - started < 3
    assert faults[-1] == "800 more faults are left out here."
    entries = {str(number): "x" for number in range(10_001)}
    assert faults_of(a_profile(values={"Surname": {"entries": entries}})) == (
        "values has more than 10000 entries.",
    )
    many = {f"c{number}": "Surname" for number in range(1_001)}
    assert any("more than 1000 names" in each for each in faults_of(a_profile(columns=many)))


def test_names_of_profiles_are_plain_words() -> None:
    assert profile_name("Payroll-2026") == "payroll-2026"
    for name in ("", "../x", "a/b", "a@b", "a.b", "-a", "a" * 41, "ä", "a\n"):
        with pytest.raises(Exception, match="cannot be the name of a profile"):
            profile_name(name)


def test_columns_match_whatever_their_case_width_and_blanks() -> None:
    names = ("Straße ", "STRASSE", "\ufeffstraße", "ｓtraße")  # noqa: RUF001
    assert len({column_key(name) for name in names}) == 1
    assert column_key("Pers.\u00a0Nr.") == column_key("pers. nr.") != column_key("pers.nr.")


DATES: Mapping[tuple[str, int], Mapping[str, str | None]] = {
    ("DD.MM.YYYY", 0): {
        "01.02.2026": "2026-02-01",
        "1.2.2026": None,
        "29.02.2025": None,
        "29.02.2024": "2024-02-29",
        "01.02.26": None,
        "2026-02-01": None,
        "\u0660\u0661.02.2026": None,
        "01.02.2026\n": None,
        "00.00.0000": None,
    },
    ("D/M/YYYY", 0): {"1/2/2026": "2026-02-01", "01/12/2026": "2026-12-01", "1/13/2026": None},
    ("YYYYMMDD", 0): {"20260201": "2026-02-01", "2026021": None},
    ("MM-DD-YY", 1950): {"02-01-26": "2026-02-01", "02-01-50": "1950-02-01", "2-1-26": None},
}


@pytest.mark.parametrize("shape", DATES, ids=str)
def test_dates_are_read_in_the_one_declared_format(shape: tuple[str, int]) -> None:
    dates = date_format(*shape)
    for text, expected in DATES[shape].items():
        assert dates.to_iso(text) == expected, text
        if expected is not None:
            assert dates.to_iso(dates.from_iso(expected)) == expected
