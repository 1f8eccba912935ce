"""10,000 rows in one call: every row once, in order, with bounded memory and few requests."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from shared.imports.licenses.xml_reader import OUTPUT
from tests.builders import a_full_worker, a_worker, body_of
from tests.e2e.bookkeeping import Books, check_counts
from tests.e2e.gateway_process import GatewayProcess, started
from tests.emulator import Emulator, Request
from tests.tenants import Sender, a_sender
from tests.unit.imports.licenses.license_bodies import license_xml, sample_rows

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]
ROWS = 10_000
EMPLOYERS = 10
LICENSES = "/v1/imports/licenses"
BAD_LICENSES = range(250, ROWS, 1_000)
ASSIGNMENTS = "/api/import/assignments?version=1"
WITHOUT_WORKER = range(500, ROWS, 1_000)
MOST_REQUESTS_PER_ROW = 0.08
MOST_MEMORY_PER_PAYLOAD = 5.0


def test_ten_thousand_workers_and_their_assignments_in_a_call_each(
    emulator: Emulator, tmp_path: Path
) -> None:
    """The workers are those of the vendor's sample, 34 MB in all, their employers in turn.

    Requests are counted where they arrive: each line that the emulator writes to its access log
    for this account is one request, a whole transaction included; only this gateway works on the
    account. Polls of queues, which the host makes whether there is work or not, are left out, and
    one is put back for each message that was sent, because somebody has to fetch it.

    Memory is the peak that the kernel saw (VmHWM) over what it was when one worker had gone in.
    """
    storage = emulator.account("counted")
    sender = a_sender(storage)
    body = body_of([a_full_worker(number, f"E{number % EMPLOYERS}") for number in range(ROWS)])
    with started(storage, tmp_path) as gateway:
        assert gateway.post(sender, [a_worker("FIRST")]).status == 200
        idle = gateway.peak_memory()
        watch = emulator.watch("counted")
        answer = gateway.post(sender, body)
        peak = gateway.peak_memory()
        requests = watch.requests()
        _check_assignments(gateway, sender)
    results = answer.results
    keys = [tuple(part["value"] for part in result["recordIds"]) for result in results]
    assert keys == [(f"E{number % EMPLOYERS}", f"W{number:06d}") for number in range(ROWS)]
    assert {result["errorCount"] for result in results} == {0}
    _check_books(Books(storage), sender.tenant)

    per_row = _requests_of_the_import(requests) / ROWS
    memory = (peak - idle) / len(body)
    print(f"{per_row:.4f} requests per row; peak memory over idle {memory:.2f} times the payload")
    assert len(_transactions(requests)) >= ROWS / 100, "the log does not show the commits"
    assert per_row <= MOST_REQUESTS_PER_ROW
    assert memory <= MOST_MEMORY_PER_PAYLOAD


def _check_assignments(gateway: GatewayProcess, sender: Sender) -> None:
    """An assignment for each worker, ten of them for one that is not there: every row answered."""
    body = body_of([_an_assignment(number) for number in range(ROWS)])
    headers = {"Content-Type": "application/json", **sender.headers}
    results = gateway.call("POST", ASSIGNMENTS, body, headers).results
    references = [result["recordIds"][-1]["value"] for result in results]
    assert references == [f"A{number:06d}" for number in range(ROWS)]
    failed = [at for at, result in enumerate(results) if result["importStatus"] == "Error"]
    assert failed == [*WITHOUT_WORKER]
    said = {message["errorID"] for at in failed for message in results[at]["messages"]}
    assert said == {2001}


def _an_assignment(number: int) -> dict[str, Any]:
    has_worker = number not in WITHOUT_WORKER
    return {
        "EmployerRef": f"E{number % EMPLOYERS}",
        "AssignmentRef": f"A{number:06d}",
        "ClientRef": "C1",
        "PersonnelRef": f"W{number:06d}" if has_worker else "NOBODY",
        "DivisionRef": "D1",
        "DepartmentRef": "D2",
        "StartDate": "2024-03-04",
        "ExpectedEndDate": None,
        "ActualEndDate": None,
    }


def test_ten_thousand_licenses_as_xml_in_one_call(emulator: Emulator, tmp_path: Path) -> None:
    """Two licenses for each of 5,000 employees of ten companies, each hundredth with a document.

    Requests are counted as for workers; those for the bytes of documents are left out.
    """
    storage = emulator.account("counted")
    sender = a_sender(storage)
    headers = {"Content-Type": "text/xml", "Accept": "text/xml", **sender.headers}
    body = license_xml([_a_license(number) for number in range(ROWS)])
    with started(storage, tmp_path) as gateway:
        assert gateway.call("POST", LICENSES, license_xml([]), headers).status == 200
        idle = gateway.peak_memory()
        watch = emulator.watch("counted")
        answer = gateway.call("POST", LICENSES, body, headers)
        peak = gateway.peak_memory()
        requests = watch.requests()
    assert answer.status == 200
    root = etree.fromstring(answer.body)
    assert root.findtext(f"{{{OUTPUT}}}NewRecords") == str(ROWS - len(BAD_LICENSES))
    indexes = [int(each.text or "") for each in root.iter(f"{{{OUTPUT}}}Index")]
    assert sorted(indexes) == [*range(ROWS)]
    assert indexes[: len(BAD_LICENSES)] == [*BAD_LICENSES]
    keys = {each.text for each in root.iter(f"{{{OUTPUT}}}Key")}
    assert len(keys) == ROWS - len(BAD_LICENSES)

    documents = [each for each in requests if each.path.startswith("/license-documents/")]
    assert len(documents) == ROWS // 100
    per_row = (_requests_of_the_import(requests) - len(documents)) / ROWS
    memory = (peak - idle) / len(body)
    print(f"{per_row:.4f} requests per row; peak memory over idle {memory:.2f} times the payload")
    assert per_row <= MOST_REQUESTS_PER_ROW
    assert memory <= MOST_MEMORY_PER_PAYLOAD


def _a_license(number: int) -> dict[str, Any]:
    """A license with the fields of the vendor's sample; its place in the payload is anywhere."""
    [sample, _] = sample_rows()
    place = number * 7_919 % ROWS
    changes: dict[str, Any] = {
        "companyCode": f"C{place % EMPLOYERS}",
        "employeeNumber": f"E{place // 2}",
        "licenseNumber": f"L{place}",
        "licenseKey": None,
        "serializableLicenseKey": None,
    }
    if number in BAD_LICENSES:
        changes["issuedDate"] = "2024-02-31"
    documents = sample["documents"] if number % 100 == 0 else []
    return sample | changes | {"documents": documents}


def _check_books(books: Books, tenant: str) -> None:
    """Each row has its record and its result, chunks have one compact result record each."""
    _, record, _ = books.imports(tenant)
    results = books.results(record)
    check_counts(record, results)
    assert Counter(result.outcome.value for result in results.values()) == {"new": ROWS}
    assert len(books.workers(tenant)) == ROWS + 1
    assert len(record.chunks) == ROWS / 1_000


def _transactions(requests: list[Request]) -> list[Request]:
    return [request for request in requests if request.path.startswith("/$batch")]


def _requests_of_the_import(requests: list[Request]) -> int:
    polls = [request for request in requests if request.is_poll]
    sent = [
        request
        for request in requests
        if request.method == "POST" and request.path.partition("?")[0].endswith("/messages")
    ]
    return len(requests) - len(polls) + len(sent)
