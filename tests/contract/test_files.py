"""Rows in files: the same rows in every format give the same records and the same answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from shared.auth.integrations import ReadPermission
from shared.imports.files.formats import XLSX_TYPE
from shared.imports.pay_and_bill.contract import PAY_AND_BILL
from shared.imports.registry import TYPE_CATALOGUE
from shared.imports.timesheets.definition import TIMESHEET_EXISTS, TIMESHEETS_V2
from tests.builders import a_full_worker, workers
from tests.contract.calls import check_refusal
from tests.e2e.gateway_process import WORKERS, Answer, GatewayProcess, started
from tests.files_of_rows import XLSX_WRITERS, SentFile, as_csv, as_json, as_ndjson, as_xlsx
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
    corrected = {**failed["row"], "PersonnelRef": "1234567890123456", "Surname": "Better"}
    retried = gateway.call(
        *("POST", f"/api/imports/{import_id}/retry"),
        json.dumps([{"index": 1, "row": corrected}]).encode(),
        sender.headers,
    )
    assert retried.json["rows"]["new"] == 1, retried.body


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
