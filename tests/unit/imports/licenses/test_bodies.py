"""Bodies of licenses: forms, generated licenses in every format, and hostile bodies."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import InvalidRequestError, RefusedError, TooLargeError, UnsupportedPayloadError
from shared.imports.json_rows import read_lines
from shared.imports.licenses.definition import LICENSES
from shared.imports.licenses.export import Holder, LicenseExport
from shared.imports.licenses.form_reader import (
    MAX_FIELDS,
    MAX_NAME_BYTES,
    percent_decoded,
    read_license_form,
)
from shared.imports.licenses.http import BodyFormat, BodyReader
from shared.imports.licenses.license_set import LicenseSet
from shared.imports.licenses.model import License
from shared.imports.licenses.rules import MAX_DOCUMENT
from shared.imports.licenses.store import LicenseWriter, operations_of
from shared.imports.licenses.xml_reader import read_license_xml
from shared.imports.results import MAX_FULL_ANSWER
from shared.imports.row_reader import read_row
from shared.services.background import to_thread_if_large
from shared.storage.business_records import partition_of
from tests.memory_storage import MemoryTables
from tests.unit.imports.licenses.license_bodies import (
    CLOSING,
    OPENING,
    a_license,
    body_of,
    license_form,
    license_xml,
    sample_rows,
)

# A form becomes the rows that JSON would have brought (docs/contracts.md#2).


def rows_of(body: bytes) -> list[dict[str, Any]]:
    return read_license_form(body, 100_000)


@pytest.mark.parametrize("in_brackets", [False, True])
def test_the_vendors_sample_as_a_form_is_the_same_rows(in_brackets: bool) -> None:
    assert rows_of(license_form(sample_rows(), in_brackets=in_brackets)) == sample_rows()


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (b"[0].companyCode=C1", [{"companyCode": "C1"}]),
        (b"&[0].COMPANYCODE=C1&&", [{"companyCode": "C1"}]),
        (b"%5B0%5D%5Bcompanycode%5D=C1", [{"companyCode": "C1"}]),
        (b"[0][Reminder].Offset=+5+", [{"reminder": {"offset": 5}}]),
        (b"[0].reminder.isShowingOnESS=True", [{"reminder": {"isShowingOnESS": True}}]),
        (b"[0].employeePersonalId=x", [{"employeePersonalId": "x"}]),
        (b"[0].employeePersonalId=", [{"employeePersonalId": ""}]),
        (b"[0].notes", [{"notes": ""}]),
        (b"[0].notes=a+b%2Bc=d%3D", [{"notes": "a b+c=d="}]),
        (b"[0].notes=%c3%9c\xc3\x9c", [{"notes": "\u00dc\u00dc"}]),
        (b"[1].notes=b&[0].notes=a", [{"notes": "a"}, {"notes": "b"}]),
        (
            b"[0].documents[1].name=b&[0][documents][0][NAME]=a",
            [{"documents": [{"name": "a"}, {"name": "b"}]}],
        ),
        (b"[0].documents=", [{"documents": ""}]),
        (b"[0].documents[0]=a", [{"documents": ["a"]}]),
        (b"[0].reminder[0]=a", [{"reminder": ["a"]}]),
        (b"[0].Colour.Red[0]=5", [{"Colour": {"Red": ["5"]}}]),
    ],
)
def test_a_name_is_the_way_to_its_property(body: bytes, rows: list[dict[str, Any]]) -> None:
    assert rows_of(body) == rows


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"companyCode=C1",
        b"=a",
        b"a",
        b"0.companyCode=a",
        b"[a].companyCode=a",
        b"[-1].companyCode=a",
        "[\u0660].companyCode=a".encode(),
        b"[0]companyCode=a",
        b"[0].=a",
        b"[0]..a=a",
        b"[0][=a",
        b"[0][]=a",
        b"[0].documents[]=a",
        b"[0]].a=a",
        b"[0].notes=a&[0].notes=a",
        b"[0].notes=a&[0].NOTES=a",
        b"[0].notes=a&[00].notes=a",
        b"[0].notes=a&[0].notes.b=c",
        b"[0].notes.b=c&[0].notes=a",
        b"[0].documents[0].name=a&[0].documents.name=b",
        b"[1].notes=a",
        b"[0].notes=a&[2].notes=a",
        b"[0].documents[1].name=a",
        b"[2000000000].notes=a",
        b"[99999999999].notes=a",
        b"[0].documents[2000000000].name=a",
        b"[0].notes=%",
        b"[0].notes=%4",
        b"[0].notes=%zz",
        b"[0].notes=%%41",
        b"[0].notes=%\n41",
        b"[0].notes=%ff",
        b"[0].%ff=a",
        b"[0].notes=\xff",
        b"[0].notes=%ed%a0%80",
        b"[0]" + b"[a]" * 32 + b"=a",
        b"[0]." + b"a" * MAX_NAME_BYTES + b"=a",
    ],
)
def test_a_form_without_licenses_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        rows_of(body)
    assert "zz" not in caught.value.message


def test_a_row_that_is_a_text_is_no_object() -> None:
    with pytest.raises(UnsupportedPayloadError):
        rows_of(b"[0]=a")


def test_too_many_rows_are_refused_with_the_limit() -> None:
    body = license_form([a_license()] * 5)
    assert len(read_license_form(body, 5)) == 5
    with pytest.raises(TooLargeError, match="5 rows and the limit is 4"):
        read_license_form(body, 4)


def test_a_form_has_forty_thousand_fields_at_most() -> None:
    fields = [b"[%d].companyCode=C1" % index for index in range(MAX_FIELDS + 1)]
    assert len(rows_of(b"&".join(fields[:-1]))) == MAX_FIELDS
    with pytest.raises(InvalidRequestError, match="40000 fields"):
        rows_of(b"&".join(fields))


@given(st.binary() | st.text("%4fF+=\r\n_ ?.", max_size=10).map(str.encode))
def test_percent_decoding_is_that_of_the_standard_library(data: bytes) -> None:
    if re.search(rb"%(?![0-9A-Fa-f]{2})", data):
        with pytest.raises(ValueError, match=r"^$"):
            percent_decoded(data)
    else:
        assert percent_decoded(data) == unquote_to_bytes(data.replace(b"+", b" "))


# Whatever licenses there are, the way they are written makes no difference to the rows.

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


# Hostile bodies are refused within a second and in bounded memory (docs/contracts.md#2).

resource = pytest.importorskip("resource")

SECONDS = 1.0
MEMORY = 150 * 1024
"""KiB that reading may add to the most that the process ever had."""
TEN_MILLION = 10_000_000

DEFINITIONS = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 10))
LAUGHS = b'<!DOCTYPE a [<!ENTITY l0 "lol">' + DEFINITIONS + b"]>"


def attributes(count: int, value: bytes = b"") -> bytes:
    return b" ".join(b'a%d="%s"' % (number, value) for number in range(count))


XML: dict[str, Callable[[], bytes]] = {
    "billion laughs": lambda: LAUGHS + body_of(b"<Notes>&l9;</Notes>"),
    "billion laughs in an attribute": lambda: LAUGHS + body_of(b'<Notes a="&l9;"/>'),
    "quadratic blow-up": lambda: (
        b'<!DOCTYPE a [<!ENTITY b "' + b"x" * 100_000 + b'">]>' + body_of(b"&b;" * 100_000)
    ),
    "external entity": lambda: (
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>' + body_of(b"<Notes>&b;</Notes>")
    ),
    "external DTD": lambda: b'<!DOCTYPE a SYSTEM "http://192.0.2.1/a.dtd">' + body_of(b""),
    "parameter entity": lambda: b'<!DOCTYPE a [<!ENTITY % b "c"> %b;]>' + body_of(b""),
    "doctype behind comments": lambda: b"<?a?><!--<a>-->\n" * 99 + b"<!DOCTYPE a>" + body_of(b""),
    "doctype in UTF-16": lambda: ("\ufeff<!DOCTYPE a>" + body_of(b"").decode()).encode("utf-16-le"),
    "doctype inside": lambda: body_of(b"<!DOCTYPE a>"),
    "depth 100,000": lambda: body_of(b"<a>" * 100_000 + b"</a>" * 100_000),
    "depth 100,000 beside the rows": lambda: OPENING + b"<a>" * 100_000,
    "200,000 attributes": lambda: body_of(b"<Notes " + attributes(200_000) + b"/>"),
    "200,000 attributes of the root": lambda: (
        OPENING[:-1] + b" " + attributes(200_000) + b">" + CLOSING
    ),
    "attributes with brackets": lambda: body_of(b"<Notes " + attributes(200_000, b">") + b"/>"),
    "a million namespaces": lambda: body_of(
        b"<Notes " + b" ".join(b'xmlns:a%d="b"' % number for number in range(500_000)) + b"/>"
    ),
    "a row of millions of elements": lambda: body_of(b"<a/>" * 2_000_000),
    "millions of elements beside the rows": lambda: OPENING + b"<a/>" * 2_000_000 + CLOSING,
    "millions of comments": lambda: b"<!---->" * 1_000_000 + body_of(b""),
    "millions of comments in a row": lambda: body_of(b"<!---->" * 1_000_000),
    "millions of CDATA": lambda: body_of(b"<Notes>" + b"<![CDATA[]]>" * 1_000_000 + b"</Notes>"),
    "only brackets": lambda: body_of(b"<" * TEN_MILLION),
    "an endless tag": lambda: body_of(b"<Notes " + b"a " * (TEN_MILLION // 2)),
    "an endless name": lambda: body_of(b"<" + b"a" * TEN_MILLION),
    "an endless attribute": lambda: body_of(b'<Notes a="' + b">" * TEN_MILLION),
    "an endless comment": lambda: body_of(b"<!--" + b"-a" * (TEN_MILLION // 2)),
    "an endless instruction": lambda: b"<?" + b"a" * TEN_MILLION,
    "text beside the rows": lambda: OPENING + b"a" * TEN_MILLION + CLOSING,
    "blanks": lambda: b" " * TEN_MILLION,
    "zeros": lambda: b"\0" * TEN_MILLION,
}
FORMS: dict[str, Callable[[], bytes]] = {
    "50,000 fields of a row": lambda: b"&".join(b"[0].f%d=x" % n for n in range(50_000)),
    "50,000 rows": lambda: b"&".join(b"[%d].companyCode=x" % n for n in range(50_000)),
    "index 2,000,000,000": lambda: b"[2000000000].companyCode=x",
    "index 2,000,000,000 of a document": lambda: b"[0].documents[2000000000].name=x",
    "an endless index": lambda: b"[" + b"9" * TEN_MILLION + b"].companyCode=x",
    "depth 100,000": lambda: b"[0]" + b"[a]" * 100_000 + b"=x",
    "depth 100,000 of lists": lambda: b"[0].documents" + b"[0]" * 100_000 + b"=x",
    "an endless name": lambda: b"[0]." + b"a" * TEN_MILLION + b"=x",
    "a broken escape behind millions": lambda: b"[0].notes=" + b"%41a" * 2_000_000 + b"%4",
    "millions of fields": lambda: b"&" * TEN_MILLION,
}


def refuse(read: Callable[[bytes], object], body: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    with pytest.raises(InvalidRequestError) as caught:
        read(body)
    assert time.process_time() - started < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("name", XML)
def test_hostile_xml_is_refused_at_once(name: str) -> None:
    refuse(lambda body: list(read_license_xml(body, 100_000)), XML[name]())


@pytest.mark.parametrize("name", FORMS)
def test_a_hostile_form_is_refused_at_once(name: str) -> None:
    refuse(lambda body: read_license_form(body, 100_000), FORMS[name]())


# Bodies of Viventium's export.


def test_an_export_holds_so_many_characters_however_few_licenses_they_are() -> None:
    def exported(count: int) -> int:
        license_set, tables = LicenseSet(), MemoryTables()
        partition = partition_of("tenant", "C1")
        for number in range(count):
            key = f"{number:08d}-0000-4000-8000-000000000000"
            fields = {"divisionCode": "D1", "employeeNumber": "7", "licenseKey": key}
            license_set.put(key, {**fields, "notes": "x" * (MAX_DOCUMENT - 1_000)}, 1)
        writer = LicenseWriter(1, "import-1", "2026-01-01T00:00:00Z")

        async def store_and_export() -> int:
            for change in license_set.changes():
                await tables.transact(LICENSES.table, operations_of(partition, change, writer))
            export = LicenseExport(tables, to_thread_if_large, 10_000)
            return len(await export.licenses("tenant", Holder("C1", "D1")))

        return asyncio.run(store_and_export())

    most = MAX_FULL_ANSWER // MAX_DOCUMENT
    assert exported(most) == most
    with pytest.raises(TooLargeError, match="read them in pages"):
        exported(most + 2)
