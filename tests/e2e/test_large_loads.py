"""10,000 rows in one call: every row once, in order, with bounded memory and few requests."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.blob.aio import BlobServiceClient as AsyncBlobServiceClient
from lxml import etree

from shared.imports.documents.rounds import RoundStatus
from shared.imports.licenses.xml_reader import OUTPUT
from shared.settings import Settings
from shared.storage.names import DOCUMENT_DROP, DOCUMENT_REJECTED
from shared.storage_account import StorageAccount
from tests.builders import a_full_worker, a_worker, body_of
from tests.contract.calls import check_refusal
from tests.documents import ROUND, Form, a_ready_sender, sha256, upload_headers
from tests.e2e.bookkeeping import Books, check_counts
from tests.e2e.gateway_process import ROOT, WORKERS, GatewayProcess, started
from tests.emulator import Emulator, Request
from tests.tenants import Sender, a_sender
from tests.unit.imports.licenses.license_bodies import license_xml, sample_rows
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e
ROWS = 10_000
ASSIGNMENT_ROWS = 2_000
EMPLOYERS = 10
LICENSES = "/v1/imports/licenses"
BAD_LICENSES = range(250, ROWS, 1_000)
ASSIGNMENTS = "/api/import/assignments?version=1"
TIMESHEETS = "/api/import/timesheets?version=2"
TIMESHEET_ROWS = 500
WITHOUT_WORKER = range(100, ASSIGNMENT_ROWS, 200)
MOST_REQUESTS_PER_ROW = 0.08
MOST_MEMORY_PER_PAYLOAD = 5.0
COUNTED = {"LOCAL_HOST_BLOB_SCAN_SECONDS": "10"}
"""As the host does it by default: each look for blobs is a request that would count."""


@pytest.mark.quiet
@pytest.mark.slow
@pytest.mark.timeout(300)
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
    with started(storage, tmp_path, **COUNTED) as gateway:
        assert gateway.post(sender, [a_worker("FIRST")]).status == 200
        idle = gateway.peak_memory()
        watch = emulator.watch("counted")
        answer = gateway.post(sender, body)
        peak = gateway.peak_memory()
        requests = watch.requests()
        _check_assignments(gateway, sender)
        _check_timesheets(gateway, sender)
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
    """Assignments, ten of them for a worker that is not there: every row is answered."""
    body = body_of([_an_assignment(number) for number in range(ASSIGNMENT_ROWS)])
    headers = {"Content-Type": "application/json", **sender.headers}
    results = gateway.call("POST", ASSIGNMENTS, body, headers).results
    references = [result["recordIds"][-1]["value"] for result in results]
    assert references == [f"A{number:06d}" for number in range(ASSIGNMENT_ROWS)]
    failed = [at for at, result in enumerate(results) if result["importStatus"] == "Error"]
    assert failed == [*WITHOUT_WORKER]
    message_ids = {message["errorID"] for at in failed for message in results[at]["messages"]}
    assert message_ids == {2001}


def _check_timesheets(gateway: GatewayProcess, sender: Sender) -> None:
    """Timesheets of five lines, each of a worker and an assignment that are there but for some."""
    body = body_of([a_timesheet_of_five_lines(number) for number in range(TIMESHEET_ROWS)])
    headers = {"Content-Type": "application/json", **sender.headers}
    results = gateway.call("POST", TIMESHEETS, body, headers).results
    numbers = [result["recordIds"][-1]["value"] for result in results]
    assert numbers == [f"{number:09d}" for number in range(TIMESHEET_ROWS)]
    failed = [at for at, result in enumerate(results) if result["importStatus"] == "Error"]
    assert failed == [number for number in WITHOUT_WORKER if number < TIMESHEET_ROWS]


def a_timesheet_of_five_lines(number: int) -> dict[str, Any]:
    line = {
        "RateFrequency": "Hourly",
        "RateCode": "BAS1",
        "Units": 7.5,
        "PayRate": 14.35,
        "PayAmount": 107.63,
        "BillRate": 18.9,
        "BillAmount": 141.75,
        "IsWTDAccrued": True,
        "VATCode": "S",
        "VATCodeSource": "DefaultVATRate",
    }
    return {
        "EmployerRef": f"E{number % EMPLOYERS}",
        "TimesheetNumber": f"{number:09d}",
        "PersonnelRef": f"W{number:06d}",
        "AssignmentRef": f"A{number:06d}",
        "TimesheetDate": "2024-03-10T00:00:00",
        "Lines": [line] * 5,
    }


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


@pytest.mark.quiet
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_thousand_licenses_as_xml_in_one_call(emulator: Emulator, tmp_path: Path) -> None:
    """Two licenses for each of 5,000 employees of ten companies, each hundredth with a document.

    Requests are counted as for workers; those for the bytes of documents are left out.
    """
    storage = emulator.account("counted")
    sender = a_sender(storage)
    headers = {"Content-Type": "text/xml", "Accept": "text/xml", **sender.headers}
    body = license_xml([_a_license(number) for number in range(ROWS)])
    with started(storage, tmp_path, **COUNTED) as gateway:
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
    _, record, *_ = books.imports(tenant)
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


# Files dropped at once: each is one import, none is lost, and none goes in twice.


DROPS = int(os.environ.get("DROPPED_FILES", "80"))
BAD, DROP_WORKERS, DROP_EMPLOYERS = DROPS // 20, 100, 2
PAGE = 60


def names(tenant: str) -> Iterator[tuple[str, bytes]]:
    """What is dropped: every twentieth is bad, in five ways."""
    for number in range(DROPS):
        worker, round_code, end, content = f"W{number % DROP_WORKERS}", ROUND, "pdf", b"%PDF-1.7 "
        if number % (DROPS // BAD) == 0:
            kind = number // (DROPS // BAD) % 5
            worker = "nobody" if kind == 0 else worker
            round_code = "closed" if kind == 1 else round_code
            end = "exe" if kind == 2 else end
            content = b"GIF89a" if kind == 3 else b"" if kind == 4 else content
        name = f"{tenant}/{round_code}/{worker}/{number:04d}.{end}"
        yield name, content + str(number).encode() * bool(content)


async def drop_all(storage: str, tenant: str) -> None:
    async with AsyncBlobServiceClient.from_connection_string(storage) as service:
        container = service.get_container_client(DOCUMENT_DROP)
        free = asyncio.Semaphore(16)

        async def put(name: str, content: bytes) -> None:
            async with free:
                await container.upload_blob(name, content)

        await asyncio.gather(*(put(*each) for each in names(tenant)))


async def list_names(storage: str, container: str, prefix: str) -> list[str]:
    async with AsyncBlobServiceClient.from_connection_string(storage) as service:
        blobs = service.get_container_client(container).list_blobs(prefix)
        return [blob.name async for blob in blobs]


def all_pages(gateway: GatewayProcess, sender: Sender, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    continuation = ""
    while True:
        page = gateway.get(f"{path}pageSize={PAGE}{continuation}", sender).json
        items += page["items"]
        if page["continuation"] is None:
            return items
        continuation = f"&continuation={page['continuation']}"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_drops_with_bad_ones_among_them(emulator: Emulator, tmp_path: Path) -> None:
    storage = emulator.account("dropped")
    rounds = (ROUND, RoundStatus.OPEN), ("closed", RoundStatus.CLOSED)
    sender = a_ready_sender(storage, *rounds)
    people = [
        a_worker(f"W{number}", EmployerRef=f"E{number % DROP_EMPLOYERS}")
        for number in range(DROP_WORKERS)
    ]
    with started(storage, tmp_path, LOCAL_HOST_BLOB_SCAN_SECONDS="0.5") as gateway:
        gateway.post(sender, people)
        asyncio.run(drop_all(storage, sender.tenant))
        begun = time.monotonic()
        wait_until(
            lambda: gateway.log().count("import.ended ") > DROPS, "all imports have ended", 500
        )
        print(f"{DROPS} drops: {time.monotonic() - begun:.1f} s after the last was there")
        wait_until(
            lambda: not asyncio.run(list_names(storage, DOCUMENT_DROP, sender.tenant)),
            "the drop is empty",
        )
        documents = all_pages(gateway, sender, "/api/documents?")
        imports = all_pages(gateway, sender, "/api/imports?type=documents&")
    assert len(documents) == len({item["fileName"] for item in documents}) == DROPS - BAD
    states = Counter(item["state"] for item in imports)
    assert states == {"Completed": DROPS - BAD, "CompletedWithErrors": BAD}
    rejected = asyncio.run(list_names(storage, DOCUMENT_REJECTED, sender.tenant))
    assert len(rejected) == BAD


# The largest document, by call and by drop, with the memory it takes; one byte more is refused.


MOST = Settings(storage=StorageAccount()).max_document_bytes
MIB = 1024 * 1024
CONTENT = (b"%PDF-1.7\n" + bytes(range(256)) * (MOST // 256 + 1))[:MOST]


@pytest.fixture(name="storage")
def fixture_storage(emulator: Emulator) -> str:
    return emulator.account("documents")


@pytest.fixture(name="service")
def fixture_service(storage: str) -> Iterator[BlobServiceClient]:
    with BlobServiceClient.from_connection_string(storage) as service:
        yield service


def test_the_largest_document_goes_in_both_ways(
    storage: str, service: BlobServiceClient, tmp_path: Path
) -> None:
    sender = a_ready_sender(storage)
    drop = service.get_container_client(DOCUMENT_DROP)
    with started(storage, tmp_path, LOCAL_HOST_BLOB_SCAN_SECONDS="0.2") as gateway:
        gateway.post(sender, [a_worker("P1")])

        def send(form: Form) -> int:
            body, headers = form.body(), upload_headers(sender)
            before = gateway.peak_memory()
            answer = gateway.call("POST", "/api/import/documents", body, headers)
            assert answer.status == 200, answer.body
            return gateway.peak_memory() - before

        def dropped(name: str, content: bytes) -> int:
            before = gateway.peak_memory()
            drop.upload_blob(f"{sender.tenant}/{ROUND}/P1/{name}", content)
            wait_until(lambda: not list(drop.list_blobs(sender.tenant)), "the drop is empty")
            return gateway.peak_memory() - before

        send(Form(file_name="small.pdf"))
        dropped("first.pdf", b"%PDF-1.7")
        by_call = send(Form(file_name="call.pdf", content=CONTENT))
        by_drop = dropped("drop.pdf", CONTENT)
        print(f"peak: {by_call / MIB:.0f} MiB by call, {by_drop / MIB:.0f} MiB more by drop")
        # The body, as the host has put it together; of a drop what the host hands on.
        assert by_call < 4 * MOST
        assert by_drop < 4 * MOST
        check_stored(gateway, sender.headers, {"call.pdf", "drop.pdf", "first.pdf", "small.pdf"})

        body = Form(content=CONTENT + b"x").body()
        answer = gateway.call("POST", "/api/import/documents", body, upload_headers(sender))
        check_refusal(answer, 413, f"the limit is {MOST}")
        dropped("over.pdf", CONTENT + b"x")
    rejected = service.get_container_client(DOCUMENT_REJECTED)
    assert len(list(rejected.list_blobs(f"{sender.tenant}/"))) == 1


def check_stored(gateway: GatewayProcess, headers: Mapping[str, str], names: set[str]) -> None:
    listed = gateway.call("GET", "/api/documents", None, headers).json["items"]
    assert {item["fileName"] for item in listed} == names
    for item in listed:
        if item["size"] == MOST:
            answer = gateway.call("GET", item["links"]["content"], None, headers)
            assert sha256(answer.body) == sha256(CONTENT)


# A body over the gateway's limit is answered by the gateway as long as the host hands it over.


HOST_LIMIT = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"
DEFAULT_OF_THE_HOST = 104_857_600


def test_body_over_both_usual_limits_is_413_with_the_settings_of_the_example(
    emulator: Emulator, tmp_path: Path
) -> None:
    values = json.loads((ROOT / "local.settings.example.json").read_text())["Values"]
    names = (HOST_LIMIT, "GATEWAY_MAX_BODY_BYTES")
    storage = emulator.account("killed")
    sender = a_sender(storage)
    with started(storage, tmp_path, **{name: values[name] for name in names}) as gateway:
        sent = {**sender.headers, "Content-Type": "application/json"}
        for size in (int(values["GATEWAY_MAX_BODY_BYTES"]) + 1, DEFAULT_OF_THE_HOST + 1):
            answer = gateway.call("POST", WORKERS, bytes(size), sent)
            check_refusal(answer, 413, values["GATEWAY_MAX_BODY_BYTES"])
        head = (
            f"POST {WORKERS} HTTP/1.1\r\nHost: h\r\nContent-Length: {int(values[HOST_LIMIT]) + 1}"
        )
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as connection:
            connection.sendall(f"{head}\r\nExpect: 100-continue\r\n\r\n".encode())
            answered = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answered.startswith(b"HTTP/1.1 500 ")
        assert answered.endswith(b"\r\n\r\n")
