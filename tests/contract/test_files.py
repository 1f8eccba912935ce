"""Rows in files: the same rows in every format give the same records and the same answers."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from typing import Any

import pytest

from shared.auth.integrations import ReadPermission
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.files.formats import XLSX_TYPE
from shared.imports.files.templates import SAMPLES
from shared.imports.import_type import ImportType
from shared.imports.licenses.definition import LICENSES
from shared.imports.modules import IMPORT_MODULES
from shared.imports.pay_and_bill.contract import PAY_AND_BILL
from shared.imports.registry import IMPORT_TYPES, TYPE_CATALOGUE
from shared.imports.timesheets.definition import TIMESHEET_EXISTS, TIMESHEETS_V2
from tests.builders import a_full_worker, workers
from tests.contract.calls import GUID, check_refusal
from tests.e2e.gateway_process import WORKERS, Answer, GatewayProcess, started
from tests.files_of_rows import (
    XLSX_WRITERS,
    SentFile,
    as_csv,
    as_json,
    as_ndjson,
    as_xlsx,
    leaves,
)
from tests.tenants import Sender, a_sender
from tests.unit.imports.test_xlsx_cells import raw_sheet, sheet_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
SETTINGS = {"GATEWAY_WAIT_SECONDS": "100"}


@pytest.fixture(name="large", scope="module")
def fixture_large(
    storage: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway that takes larger bodies than that of the other tests."""
    with started(storage, tmp_path_factory.mktemp("large"), **SETTINGS) as process:
        yield process


def send(gateway: GatewayProcess, sender: Sender, address: str, file: SentFile) -> Answer:
    return gateway.call("POST", address, file.body, {**sender.headers, **file.headers})


def records(gateway: GatewayProcess, sender: Sender, name: str) -> list[Any]:
    """The records of a tenant as stored, in their order."""
    answer = gateway.get(f"/api/records/{name}?pageSize=1000", sender)
    assert answer.status == 200, answer.body
    return [item["record"] for item in answer.json["items"]]


def in_some_formats(rows: Sequence[Any]) -> list[SentFile]:
    """Each format, delimiter, charset and gzip at least once; the unit tests have all of them."""
    return [
        as_json(rows),
        as_json(rows).compressed(),
        as_ndjson(rows),
        as_csv(rows, "comma-utf8"),
        as_csv(rows, "semicolon-bom").compressed(),
        as_csv(rows, "tab-utf16"),
        *(as_xlsx(rows, writer) for writer in XLSX_WRITERS),
    ]


def test_the_same_500_workers_in_every_format_are_the_same_records_and_answers(
    large: GatewayProcess, storage: str
) -> None:
    rows = workers(500, 3, KnownAs='"Ö"\n;,', WorkerAddress={"Postcode": "01234"}, Gender=1)
    rows[::20] = [a_full_worker(number, "E9") for number in range(25)]
    rows[7]["Gender"] = "x"
    rows[8]["PersonnelRef"] = "W000011"
    expected: tuple[Any, Any] | None = None
    for file in in_some_formats(rows):
        sender = a_sender(storage, read=ReadPermission.FULL)
        answer = send(large, sender, WORKERS, file)
        assert answer.status == 200, (file, answer.body[:500])
        seen = answer.json, records(large, sender, "workers")
        expected = expected or seen
        assert seen == expected, file.name
    assert expected is not None
    assert len(expected[1]) == 498


XLSX = {"Content-Type": XLSX_TYPE}
PAY_AND_BILL_KINDS = [kind for kind in TYPE_CATALOGUE.all if kind.contract is PAY_AND_BILL]


@pytest.mark.parametrize("ending", ["csv", "xlsx"])
def test_templates_are_imported_as_they_are(
    large: GatewayProcess, sender: Sender, ending: str
) -> None:
    gateway = large
    for kind in PAY_AND_BILL_KINDS:
        name = f"{kind.name}.v{kind.version}.{ending}"
        template = gateway.call("GET", f"/api/import/{name}")
        assert template.status == 200
        assert template.headers["content-disposition"] == f'attachment; filename="{name}"'
        headers = {**sender.headers, "Content-Type": template.headers["content-type"]}
        address = f"{kind.address}?version={kind.version}"
        answer = gateway.call("POST", address, template.body, headers)
        if kind is not TIMESHEETS_V2:
            assert [each["errorCount"] for each in answer.results] == [0], answer.body
        else:
            # The timesheet of version 1, which the sender has sent before.
            assert answer.results[0]["messages"][0]["errorID"] == TIMESHEET_EXISTS


@pytest.mark.parametrize("ending", ["csv", "xlsx"])
def test_templates_of_licenses_and_authentication_data_are_imported_as_they_are(
    large: GatewayProcess, sender: Sender, ending: str
) -> None:
    for kind, address in (
        (LICENSES, "/v1/imports/licenses?importAction=Merge"),
        (AUTHDATA, "/api/admin/authdata?commit=true"),
    ):
        template = large.call("GET", f"/api/import/{kind.name}.v1.{ending}")
        headers = {**sender.headers, "Content-Type": template.headers["content-type"]}
        answer = large.call("POST", address, template.body, headers)
        assert answer.status == 200, answer.body
        counts = large.get(f"/api/imports/{answer.import_id}", sender).json["rows"]
        assert (counts["total"], counts["new"]) == (1, 1), answer.body


def test_a_fault_of_a_cell_fails_its_row_and_the_corrected_row_is_retried(
    gateway: GatewayProcess, sender: Sender
) -> None:
    header = {"A1": "EmployerRef", "B1": "PersonnelRef", "C1": "Surname", "D1": "Gender"}
    good = {"A3": "E1", "B3": 417, "C3": "Good", "D3": 1}
    bad = {"A4": "E1", "B4": 1234567890123456, "C4": "#N/A", "D4": "=1+1"}
    body = sheet_of({**header, **good, **bad}, {"B3": "00000"})
    answer = gateway.call("POST", WORKERS, body, {**sender.headers, **XLSX})
    first, second = answer.results
    assert first["errorCount"] == 0
    assert first["recordIds"][-1]["value"] == "00417"
    texts = {each["fieldName"]: each["message"] for each in second["messages"]}
    assert {name: re.findall("cell [A-Z]+[0-9]+", text)[0] for name, text in texts.items()} == {
        "PersonnelRef": "cell B4",
        "Surname": "cell C4",
        "Gender": "cell D4",
    }
    import_id = answer.import_id
    [failed] = gateway.get(f"/api/imports/{import_id}/failed-rows", sender).json
    assert failed["index"] == 1
    # In a spreadsheet again, where a number that is refused stays refused.
    header["E1"] = "_index"
    for reference in (1234567890123456, "1234567890123456"):
        cells = {"A2": "E1", "B2": reference, "C2": "Better", "E2": 1}
        retried = gateway.call(
            *("POST", f"/api/imports/{import_id}/retry"),
            sheet_of({**header, **cells}),
            {**sender.headers, **XLSX},
        )
        assert retried.json["rows"]["new"] == int(isinstance(reference, str)), retried.body


def test_spreadsheets_that_are_no_plain_tables_are_refused(
    gateway: GatewayProcess, sender: Sender
) -> None:
    def refused(body: bytes, status: int, wording: str, query: str = "") -> None:
        answer = gateway.call("POST", WORKERS + query, body, {**sender.headers, **XLSX})
        check_refusal(answer, status, wording)

    plain = sheet_of({"A1": "EmployerRef", "A2": "E1"})
    merged = raw_sheet("", after="<mergeCells><mergeCell ref='B2:C3'/></mergeCells>")
    refused(merged, 400, "B2:C3")
    refused(b"EmployerRef;PersonnelRef", 400, "is no spreadsheet")
    refused(plain[:-30], 400, "is damaged")
    refused(raw_sheet(" " * 20_000_000), 413, "unpacks to more than")
    refused(plain, 400, "its sheets are: Sheet", "&sheet=Rows")
    headers = {**sender.headers, "Content-Type": "text/csv"}
    refusal = gateway.call("POST", f"{WORKERS}&sheet=Sheet", b"EmployerRef", headers)
    check_refusal(refusal, 400, "sheet names a sheet of a spreadsheet")


# Every type: its sample as JSON of the vendor, and in other formats.

KINDS = [IMPORT_TYPES[name] for name in ("assignments", "timesheets", "placements")]


# What the samples of a type refer to, in the order in which it must be there.
REFERRED = {"assignments": ("workers",), "timesheets": ("workers", "assignments")}


def without_ids(answer: Any) -> Any:
    """The answer without the ids that the gateway makes, and without Infos of unknown fields.

    A file says these of its columns, JSON of each row.
    """
    for result in answer.get("results", ()) if isinstance(answer, dict) else ():
        result["messages"] = [each for each in result["messages"] if each["errorID"] != 1007]
        del result["infoCount"]
    return json.loads(re.sub(GUID.pattern, "(id)", json.dumps(answer)))


def send_sample(
    gateway: GatewayProcess, sender: Sender, kind: ImportType, file: SentFile
) -> tuple[Any, Any]:
    for name in REFERRED.get(kind.name, ()):
        referred = json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))
        send(gateway, sender, IMPORT_TYPES[name].address, as_json(referred))
    answer = send(gateway, sender, kind.address, file)
    assert answer.status == 200, (file, answer.body[:500])
    name = "employees" if kind is AUTHDATA else kind.name
    stored = without_ids(records(gateway, sender, name))
    return without_ids(answer.json), sorted(stored, key=json.dumps)


@pytest.mark.parametrize("kind", [*KINDS, LICENSES, AUTHDATA], ids=lambda kind: kind.name)
def test_the_sample_of_each_type_in_every_format_is_the_same(
    large: GatewayProcess, storage: str, kind: ImportType
) -> None:
    document = json.loads((SAMPLES / f"{kind.name}.json").read_text("utf-8"))
    rows = document["employee"] if kind is AUTHDATA else document
    # The failing row of a sample has a text for a number, which CSV cannot tell from a number.
    failures = IMPORT_MODULES[kind.name].sample_failures or ()
    rows[:] = [row for row in rows if not any(str(value) in failures for _, value in leaves(row))]
    as_vendor = as_json(document)
    files = [
        as_vendor,
        as_vendor.compressed(),
        as_ndjson(rows),
        as_csv(rows, "semicolon-utf16").compressed(),
    ]
    expected: tuple[Any, Any] | None = None
    for file in files:
        sender = a_sender(storage, read=ReadPermission.FULL)
        seen = send_sample(large, sender, kind, file)
        expected = expected or seen
        assert seen == expected, file.name
    assert expected is not None
    assert expected[1]


# Failed rows of a file: with their lines, corrected as a file, retried.


def corrected(failed: Answer, form: str) -> SentFile:
    """The failed rows as they came, with a wrong Gender corrected."""
    body = failed.body.replace(b'"x"', b"1" if form == "ndjson" else b'"1"')
    if form == "ndjson":
        body = b"\n".join(json.dumps(item).encode() for item in json.loads(body))
        return SentFile(form, body, {"Content-Type": "application/x-ndjson"})
    return SentFile(form, body, {"Content-Type": "text/csv"})


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_failed_rows_of_a_file_have_lines_and_are_retried_as_a_file(
    large: GatewayProcess, storage: str, form: str
) -> None:
    sender = a_sender(storage, read=ReadPermission.FULL)
    body = (
        'EmployerRef;PersonnelRef;Surname;Gender;Odd\nE1;P0;"A\nB";1;o\n\nE1;P1;C;x;o\nE1;P2;;1;o\n'
    )
    sent = SentFile("csv", body.encode(), {"Content-Type": "text/csv; charset=utf-8"})
    answer = send(large, sender, WORKERS, sent)
    statuses = [each["importStatus"] for each in answer.results]
    assert statuses == ["OK", "Error", "Error"]
    unknown = [
        [message["fieldName"] for message in each["messages"] if message["errorID"] == 1007]
        for each in answer.results
    ]
    assert unknown == [["Odd"], [], []]
    address = f"/api/imports/{answer.import_id}"
    shown = large.get(f"{address}/failed-rows", sender).json
    assert [(item["index"], item["line"]) for item in shown] == [(1, 5), (2, 6)]
    accepts = "text/csv" if form == "csv" else "application/json"
    failed = large.call(
        "GET", f"{address}/failed-rows", None, {**sender.headers, "Accept": accepts}
    )
    if form == "csv":
        assert b'"_index","_line","_error"' in failed.body
        assert b'"1","5",' in failed.body
    retried = send(large, sender, f"{address}/retry", corrected(failed, form))
    assert retried.status == 200, retried.body
    assert retried.json["rows"]["new"] == 1
    assert retried.json["rows"]["failed"] == 1
    child = f"/api/imports/{retried.json['importId']}"
    [left] = large.get(f"{child}/failed-rows", sender).json
    assert (left["index"], left["line"]) == (1, 6)
    assert [message["errorID"] for message in left["messages"]] == [1001]
    stored = records(large, sender, "workers")
    assert [each["PersonnelRef"] for each in stored] == ["P0", "P1"]


def test_messages_name_the_element_of_a_list_that_the_sender_sees(
    gateway: GatewayProcess, sender: Sender
) -> None:
    """A list has no gaps, so the second of two elements is the first one where that is empty."""
    split = "ConsultantSplits[{}].ConsultantRef;consultantsplits[{}].Split"
    header = f"EmployerRef;PlacementRef;{split.format(0, 0)};{split.format(1, 1)}\n"
    sent = SentFile("csv", f"{header}E1;P1;;;C1;x\n".encode(), {"Content-Type": "text/csv"})
    answer = send(gateway, sender, "/api/import/placements?version=1", sent)
    [result] = answer.results
    named = {each.get("fieldName") for each in result["messages"] if each["errorID"] == 1002}
    assert named == {"ConsultantSplits[1].Split"}, result
    address = f"/api/imports/{answer.import_id}"
    failed = gateway.call(
        "GET", f"{address}/failed-rows", None, {**sender.headers, "Accept": "text/csv"}
    )
    [row] = csv.DictReader(StringIO(failed.body.decode("utf-8-sig"), newline=""))
    assert "ConsultantSplits[1].Split: " in row["_error"]
    assert (row["ConsultantSplits[1].ConsultantRef"], row["ConsultantSplits[1].Split"]) == (
        "C1",
        "x",
    )
    wrong = failed.body.replace(b'"x"', b'"y"')
    retried = send(gateway, sender, f"{address}/retry", SentFile("csv", wrong, sent.headers))
    child = f"/api/imports/{retried.json['importId']}"
    [left] = gateway.get(f"{child}/failed-rows", sender).json
    assert {each.get("fieldName") for each in left["messages"]} == {"ConsultantSplits[1].Split"}


@pytest.mark.parametrize(
    ("body", "wording"),
    [
        ("EmployerRef,Surname\nE1,x\n", "no column _index"),
        ("_index,Surname\n,x\n", "no whole number in the column _index"),
        ("_index,Surname\n0,x\n0,y\n", "index 0 twice"),
    ],
)
def test_a_retry_with_a_file_without_indexes_is_refused(
    large: GatewayProcess, failing: tuple[Sender, str], body: str, wording: str
) -> None:
    sender, import_id = failing
    sent = SentFile("csv", body.encode(), {"Content-Type": "text/csv"})
    answer = send(large, sender, f"/api/imports/{import_id}/retry", sent)
    check_refusal(answer, 400, wording)


@pytest.fixture(name="failing", scope="module")
def fixture_failing(large: GatewayProcess, storage: str) -> tuple[Sender, str]:
    sender = a_sender(storage)
    answer = large.post(sender, [{"EmployerRef": "E1"}])
    return sender, answer.import_id


# What makes a file unreadable, each refused with its place.

CSV = {"Content-Type": "text/csv"}
GZIP = {**CSV, "Content-Encoding": "gzip"}
HEAD = "EmployerRef,PersonnelRef,Surname\n"
ROWS = f"{HEAD}E1,P1,A\n".encode()


@pytest.mark.parametrize(
    ("body", "headers", "status", "wording"),
    [
        (b"", CSV, 400, "body is empty"),
        (b" \n,,\n", CSV, 400, "has no header"),
        (b"Foo,Bar\n1,2\n", CSV, 400, "no column of this type"),
        (b"Surname,SURNAME\nA,B\n", CSV, 400, "more than one column of the same name"),
        (f"{HEAD}E1,P1\n{HEAD}".encode(), CSV, 400, "index 1 (line 3) repeats the header"),
        (f'{HEAD}E1,P1,"A\n'.encode(), CSV, 400, "never closed"),
        (f"{HEAD}E1,P1,A\nE1,P".encode(), CSV, 400, "index 1 (line 3) is the last one and has 2"),
        (f"{HEAD}E1,P1,A,B\n".encode(), CSV, 400, "value in column 4"),
        (f"{HEAD}E1,P1,M\u00fcller\n".encode("cp1252"), CSV, 400, "line 2, byte 8 of it"),
        (f"{HEAD}E1,P1,A\n".encode("utf-16")[:-1], CSV, 400, "bytes at offset"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), CSV, 400, "is a spreadsheet"),
        (b"%PDF-1.7\n", CSV, 400, "is a PDF document"),
        (b"<html></html>", CSV, 400, "is XML or HTML"),
        (b'{"A":1}\n{"A"', {"Content-Type": "application/x-ndjson"}, 400, "line 2"),
        (b"[]", {"Content-Type": "application/ndjson"}, 400, "line 1 is a list"),
        (
            gzip.compress(ROWS, mtime=0)[:-5],
            GZIP,
            400,
            "end of the compressed file or body is missing",
        ),
        (gzip.compress(ROWS, mtime=0) + ROWS, GZIP, 400, "not gzip"),
        (ROWS, GZIP, 400, "not gzip"),
        (gzip.compress(gzip.compress(ROWS, mtime=0), mtime=0), GZIP, 400, "is compressed"),
        (
            gzip.compress(ROWS, mtime=0),
            {**CSV, "Content-Encoding": "gzip, gzip"},
            415,
            "gzip, once",
        ),
        (gzip.compress(bytes(99_000_000), mtime=0), GZIP, 413, "400 times larger"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_whole(
    large: GatewayProcess,
    sender: Sender,
    body: bytes,
    headers: Mapping[str, str],
    status: int,
    wording: str,
) -> None:
    answer = send(large, sender, WORKERS, SentFile("bad", body, headers))
    check_refusal(answer, status, wording)


def test_members_of_gzip_are_one_body_and_a_file_of_a_header_is_no_row(
    large: GatewayProcess, sender: Sender
) -> None:
    two = gzip.compress(HEAD.encode()) + gzip.compress(b"E1,P1,A\n") + bytes(9)
    answer = send(large, sender, WORKERS, SentFile("two", two, GZIP))
    assert [each["importStatus"] for each in answer.results] == ["OK"]
    empty = send(large, sender, WORKERS, SentFile("empty", HEAD.encode(), CSV))
    assert (empty.status, empty.json) == (200, {"results": []})


def test_an_idempotency_key_belongs_to_the_bytes_of_a_file(
    large: GatewayProcess, sender: Sender
) -> None:
    first = SentFile("first", ROWS, {**CSV, "Idempotency-Key": "k"})
    answer = send(large, sender, WORKERS, first)
    again = send(large, sender, WORKERS, first)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json == answer.json
    as_gzip = SentFile("gzip", gzip.compress(ROWS), {**GZIP, "Idempotency-Key": "k"})
    check_refusal(send(large, sender, WORKERS, as_gzip), 422, "Idempotency-Key")
