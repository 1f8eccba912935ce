"""Whatever licenses there are, the way they are written makes no difference to the rows."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import RefusedError
from shared.imports.json_rows import read_lines
from shared.imports.licenses.http import BodyFormat, BodyReader
from shared.imports.licenses.model import License
from shared.imports.licenses.xml_reader import read_license_xml
from shared.imports.row_reader import read_row
from tests.unit.imports.licenses.license_bodies import license_form, license_xml

texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n\r<>&\"']"),
    max_size=12,
)
references = texts.filter(lambda text: bool(text.strip()))
integers = st.integers(-(2**31), 2**31 - 1)
dates = st.dates().map(str)
keys = st.uuids().map(str)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "serializableLicenseKey": keys,
    "licenseKey": keys,
    "licenseTypeCode": texts,
    "licenseCertificateCode": texts,
    "licenseNumber": texts,
    "issuedDate": dates,
    "expirationDate": dates,
    "notes": texts,
    "stateCode": texts,
    "employeeNumber": texts,
    "employeePersonalId": integers,
    "divisionCode": texts,
}
REMINDER: dict[str, st.SearchStrategy[Any]] = {
    "isShowingOnDashboard": st.booleans(),
    "isShowingOnPayStub": st.booleans(),
    "isShowingOnESS": st.booleans(),
    "offset": integers,
    "offsetDirection": st.sampled_from(["After", "Before"]),
}
DOCUMENT: dict[str, st.SearchStrategy[Any]] = {
    "content": st.sampled_from(["", "QEA=", "QEBA"]),
    "name": texts,
    "sourcePath": texts,
    "mimeType": texts,
    "documentTypeCode": texts,
}


def some_of(
    fields: dict[str, st.SearchStrategy[Any]], nothing: st.SearchStrategy[Any]
) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of the fields, some of them `nothing`."""
    optional = {name: values | nothing for name, values in fields.items()}
    return st.fixed_dictionaries({}, optional=optional)


def licenses(nothing: st.SearchStrategy[Any], least: int) -> st.SearchStrategy[Any]:
    nested = {
        "reminder": st.dictionaries(st.just("offset"), integers, min_size=least)
        | some_of(REMINDER, nothing).filter(lambda reminder: len(reminder) >= least),
        "documents": st.lists(
            some_of(DOCUMENT, nothing).filter(lambda document: len(document) >= least),
            min_size=least,
            max_size=3,
        ),
    }
    rows = some_of(FIELDS | nested, nothing)
    return st.lists(
        st.tuples(rows, references).map(lambda pair: {**pair[0], "companyCode": pair[1]}),
        min_size=least,
        max_size=4,
    )


def _read(body_format: BodyFormat, body: bytes) -> list[dict[str, Any]]:
    """The rows as a call with that body would have them written down."""
    payload = BodyReader(body_format, 1_000)(body, lambda row: str(row["companycode"]), 100)
    lines = b"".join(map(payload.line, payload.rows))
    return [row for _, row in read_lines(lines)]


@settings(deadline=None)
@given(licenses(st.none(), 0))
def test_any_licenses_survive_json_and_xml_unchanged(rows: list[dict[str, Any]]) -> None:
    from_json = _read(BodyFormat.JSON, json.dumps(rows).encode())
    from_xml = _read(BodyFormat.XML, license_xml(from_json))
    assert from_json == from_xml == rows
    for index, row in enumerate(from_xml):
        assert read_row(index, row, License, ("companyCode",)) == read_row(
            index, rows[index], License, ("companyCode",)
        )


@settings(deadline=None)
@given(licenses(st.nothing(), 1), st.booleans())
def test_any_licenses_without_null_survive_a_form(
    rows: list[dict[str, Any]], in_brackets: bool
) -> None:
    assert _read(BodyFormat.FORM, license_form(rows, in_brackets=in_brackets)) == rows


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=60), st.integers(0, 2000), st.integers(0, 60))
def test_a_damaged_body_is_refused_or_read_and_never_fails(
    noise: bytes, position: int, cut: int
) -> None:
    whole = license_xml([{"companyCode": "C1", "reminder": {"offset": 1}, "licenseKey": None}])
    place = position % len(whole)
    with suppress(RefusedError):
        for row in read_license_xml(whole[:place] + noise + whole[place + cut :], 100):
            read_row(0, row, License, ("companyCode",))
