"""A tenant with data of every kind, whose marked values a scan finds wherever they are stored."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from shared.imports.registry import IMPORT_TYPES
from shared.storage.names import (
    DOCUMENT_DROP,
    DOCUMENT_REJECTED,
    ROW_DONE,
    ROW_DROP,
    ROW_PENDING,
    ROW_REJECTED,
    ROW_RESULTS,
    TABLES,
)
from shared.storage.ports import EntityRange, RangeTables, Value
from tests.builders import a_worker
from tests.contract.calls import (
    STAGE,
    a_license,
    process_authdata,
    send_authdata,
    send_document,
    send_licenses,
)
from tests.documents import PDF, ROUND, Form, a_ready_sender
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.emulator import open_ready_gateway, settings_for
from tests.integration.harness import an_employee
from tests.tenants import Sender
from tests.waiting import wait_until

ASSIGNMENTS = "/api/import/assignments"


@dataclass(frozen=True)
class MarkedPerson:
    """The references of a person, each of which occurs nowhere else."""

    mark: str

    @property
    def personnel(self) -> str:
        return f"P-{self.mark}"

    @property
    def external(self) -> str:
        return f"X-{self.mark}"

    @property
    def assignment(self) -> str:
        return f"A-{self.mark}"

    @property
    def timesheet(self) -> str:
        return f"T-{self.mark}"

    @property
    def placement(self) -> str:
        return f"PL-{self.mark}"

    @property
    def employee_number(self) -> str:
        return f"N-{self.mark}"

    @property
    def employee_id(self) -> str:
        return f"I-{self.mark}"

    @property
    def surname(self) -> str:
        return f"Surname-{self.mark}"

    @property
    def license_key(self) -> str:
        return "7d4f0b1e-55aa-4b7c-9d2f-" + self.mark[:12].ljust(12, "0")


@dataclass(frozen=True)
class MarkedTenant:
    """A tenant of two persons, of whom everything was imported, corrected, failed and repeated."""

    sender: Sender
    person: MarkedPerson
    other: MarkedPerson
    failed_import: str
    key: str
    keyed_rows: list[Any]
    keyed_answer: Answer


def _post(
    gateway: GatewayProcess, sender: Sender, path: str, rows: list[Any], **headers: str
) -> Answer:
    sent = {"Content-Type": "application/json", **sender.headers}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    answer = gateway.call("POST", path, json.dumps(rows).encode(), sent)
    assert answer.status == 200, answer.body
    return answer


def fill(gateway: GatewayProcess, storage: str, mark: str) -> MarkedTenant:
    """Import data of every type of a new tenant's two persons: the marks are `mark` with a or b."""
    sender = a_ready_sender(storage)
    person, other = MarkedPerson(f"{mark}a"), MarkedPerson(f"{mark}b")
    failed_import = ""
    for each in (other, person):
        failed_import = _send_workers(gateway, sender, each)
        _send_assignments(gateway, sender, each, other)
        _send_pay(gateway, sender, each, other)
        _undo(gateway, sender, each)
        _send_licenses(gateway, sender, each, other)
        _send_authdata(gateway, sender, each)
        _send_documents(gateway, storage, sender, each)
        _drop_rows(storage, sender, each)
    # Many rows at once: a payload and results with rows of both.
    rows = [a_worker(each.personnel, Surname=f"Large {each.surname}") for each in (person, other)]
    rows += [a_worker(f"W{number:04d}", Surname="x" * 300) for number in range(150)]
    key = uuid.uuid4().hex
    keyed = _post(gateway, sender, "/api/import/workers", rows, Idempotency_Key=key)
    return MarkedTenant(sender, person, other, failed_import, key, rows, keyed)


def _send_workers(gateway: GatewayProcess, sender: Sender, each: MarkedPerson) -> str:
    path = "/api/import/workers"
    row = a_worker(each.personnel, ExternalWorkerRef=each.external, Surname=f"Old {each.surname}")
    _post(gateway, sender, path, [row], Idempotency_Key=uuid.uuid4().hex)
    _post(gateway, sender, path, [{**row, "Surname": each.surname}])
    failing = {**row, "Gender": each.surname}
    without_employer = {**failing, "EmployerRef": None}
    failed = _post(gateway, sender, path, [failing, without_employer, a_worker("Q")])
    _post(gateway, sender, f"{path}?dryRun=true&view=rows", [failing])
    retry = f"/api/imports/{failed.import_id}/retry"
    assert gateway.call("POST", retry, None, dict(sender.headers)).status == 200
    return failed.import_id


def _send_assignments(
    gateway: GatewayProcess, sender: Sender, each: MarkedPerson, other: MarkedPerson
) -> None:
    common = {
        "EmployerRef": "E1",
        "ClientRef": "C",
        "DivisionRef": "D",
        "DepartmentRef": "D",
        "StartDate": "2024-03-04",
        "ExpectedEndDate": None,
        "ActualEndDate": None,
    }
    row = {**common, "AssignmentRef": each.assignment, "PersonnelRef": each.personnel}
    # One that went to another person, so that only its former values name this one.
    moved = {**row, "AssignmentRef": f"moved-{each is other}"}
    missing = {**row, "AssignmentRef": "missing", "StartDate": each.surname}
    sent = _post(gateway, sender, ASSIGNMENTS, [row, moved, missing])
    assert [each["importStatus"] for each in sent.results] == ["OK", "OK", "Error"], sent.body
    back = [{**moved, "PersonnelRef": other.personnel}]
    assert _post(gateway, sender, ASSIGNMENTS, back).results[0]["importStatus"] == "OK"
    only_key = {"EmployerRef": "E1", "AssignmentRef": each.assignment, "JobTitle": each.surname}
    _post(gateway, sender, ASSIGNMENTS, [only_key])


def _send_pay(
    gateway: GatewayProcess, sender: Sender, each: MarkedPerson, other: MarkedPerson
) -> None:
    """A timesheet and placements: with a row that fails, and one that goes to another person."""
    employer = {"EmployerRef": "E1"}
    for path, key, date, row in (
        (
            "/api/import/timesheets?version=2",
            "TimesheetNumber",
            "TimesheetDate",
            {
                **employer,
                "TimesheetNumber": each.timesheet,
                "AssignmentRef": each.assignment,
                "TimesheetDate": "2024-03-10",
                "JobDescription": each.surname,
                "Lines": [{"RateCode": "STD", "Units": 1, "PayRate": 1, "PayAmount": 1}],
            },
        ),
        (
            "/api/import/placements",
            "PlacementRef",
            "StartDate",
            {
                **employer,
                "PlacementRef": each.placement,
                "ApplicantName": each.surname,
                "Comments": f"{each.surname} x" * 400,
            },
        ),
    ):
        named = {**row, "PersonnelRef": each.personnel}
        failing = {**named, key: "missing", date: each.surname}
        sent = _post(gateway, sender, path, [named, failing], Idempotency_Key=uuid.uuid4().hex)
        assert [row["importStatus"] for row in sent.results] == ["OK", "Error"], sent.body
    moved = {**employer, "PlacementRef": f"moved-{each is other}", "PersonnelRef": each.personnel}
    for row in (moved, {**moved, "PersonnelRef": other.personnel}):
        sent = _post(gateway, sender, "/api/import/placements", [row])
        assert sent.results[0]["importStatus"] == "OK", sent.body


def _undo(gateway: GatewayProcess, sender: Sender, each: MarkedPerson) -> None:
    """An import that is undone, its undo that is undone too, and undos that fail."""
    path = "/api/import/workers"
    row = a_worker(each.personnel, Surname=each.surname, PersonnelNotes=f"Undone {each.surname}")
    changed = _post(gateway, sender, path, [row]).import_id
    for _ in range(2):
        address = f"/api/imports/{changed}/undo"
        foretold = gateway.call(
            "POST", f"{address}?dryRun=true&view=rows", None, dict(sender.headers)
        )
        assert foretold.status == 200, foretold.body
        undone = gateway.call("POST", address, None, dict(sender.headers))
        assert undone.json["rows"]["reversed"] == 1, undone.body
        changed = undone.import_id
    created = _post(
        gateway,
        sender,
        "/api/import/placements",
        [
            {
                "EmployerRef": "E1",
                "PlacementRef": f"gone-{each.mark}",
                "PersonnelRef": each.personnel,
            }
        ],
    ).import_id
    answer = gateway.call("POST", f"/api/imports/{created}/undo", None, dict(sender.headers))
    assert answer.json["rows"]["reversed"] == 1, answer.body


def _send_licenses(
    gateway: GatewayProcess, sender: Sender, each: MarkedPerson, other: MarkedPerson
) -> None:
    content = base64.b64encode(f"Document of {each.surname}".encode()).decode()
    document = {"name": f"{each.surname}.txt", "mimeType": "text/plain", "content": content}
    row = a_license("L1", each.employee_number, licenseKey=each.license_key, documents=[document])
    moved = a_license(f"moved {each is other}", each.employee_number)
    removed = a_license("removed", each.employee_number)
    sent = send_licenses(gateway, sender, [row, moved, removed], Idempotency_Key=uuid.uuid4().hex)
    assert sent.status == 200, sent.body
    by_key = {"companyCode": "C1", "licenseKey": each.license_key, "expirationDate": "no date"}
    send_licenses(gateway, sender, [by_key])
    send_licenses(gateway, sender, [{**moved, "employeeNumber": other.employee_number}])
    send_licenses(gateway, sender, [removed], method="DELETE")


def _send_authdata(gateway: GatewayProcess, sender: Sender, each: MarkedPerson) -> None:
    former = f"former-{each.employee_id}"
    values = (f"{each.mark}-1", f"{each.mark}-2", None)
    for employee_id in (former, each.employee_id):
        rows = [an_employee(employee_id, *values), an_employee("no values", None, None, None)]
        staged = send_authdata(gateway, sender, rows, STAGE)
        assert staged.status == 200, staged.body
        done = process_authdata(gateway, sender, staged.json["fileLogId"])
        assert done.status == 200, done.body


def _send_documents(
    gateway: GatewayProcess, storage: str, sender: Sender, each: MarkedPerson
) -> None:
    form = Form(worker=each.external, file_name=f"{each.surname}.pdf")
    for _ in range(2):
        assert send_document(gateway, sender, form).status == 200
    refused = Form(worker=each.personnel, round_code="none", file_name=f"{each.surname}.pdf")
    assert send_document(gateway, sender, refused).status == 404
    paths = [
        f"{sender.tenant}/{ROUND}/{each.personnel}/dropped.pdf",
        f"{sender.tenant}/none/{each.personnel}/dropped.pdf",
    ]
    with BlobServiceClient.from_connection_string(storage) as service:
        for path in paths:
            service.get_blob_client(DOCUMENT_DROP, path).upload_blob(PDF)
        dropped = service.get_container_client(DOCUMENT_DROP)

        def are_taken() -> bool:
            return not any(dropped.list_blob_names(name_starts_with=f"{sender.tenant}/"))

        wait_until(are_taken, "the imports of the drops", 60)
        rejected = service.get_container_client(DOCUMENT_REJECTED)
        assert any(rejected.list_blob_names(name_starts_with=f"{paths[1]}/"))


def _drop_rows(storage: str, sender: Sender, each: MarkedPerson) -> None:
    """A file with a good and a failing row, and one that is refused as a whole."""
    good = a_worker(each.personnel, ExternalWorkerRef=each.external, Surname=each.surname)
    rows = [good, {**good, "Gender": each.surname}]
    place = f"{sender.tenant}/{sender.integration.software_key}/workers/{uuid.uuid4().hex}"
    with BlobServiceClient.from_connection_string(storage) as service:
        box = service.get_container_client(ROW_DROP)
        box.upload_blob(f"{place}-a.json", json.dumps(rows))
        box.upload_blob(f"{place}-b.json", json.dumps(rows)[:-1])
        waiting = (box, service.get_container_client(ROW_PENDING))

        def is_settled() -> bool:
            return not any(any(each.list_blob_names()) for each in waiting)

        wait_until(is_settled, "the imports of the dropped rows", 90)
        for container in (ROW_DONE, ROW_REJECTED, ROW_RESULTS):
            names = service.get_container_client(container).list_blob_names()
            assert any(name.startswith(f"{place}-") for name in names), container


# The scan: every place of storage with everything that it says, unpacked.


def stored_texts(storage: str) -> list[tuple[str, str]]:
    """Every entity, message and blob of an account: its place, and all that it says as text, also
    where it is sealed.
    """
    with QueueServiceClient.from_connection_string(storage) as queues:
        texts = [
            (queue.name, base64.b64decode(message.content).decode("utf-8", "replace"))
            for queue in queues.list_queues()
            for message in queues.get_queue_client(queue.name).peek_messages(max_messages=32)
        ]
    with BlobServiceClient.from_connection_string(storage) as blobs:
        listed = [
            (container.name, blob.name, dict(blob.metadata or {}))
            for container in blobs.list_containers()
            for blob in blobs.get_container_client(container.name).list_blobs(include=["metadata"])
        ]

    async def read() -> None:
        async with open_ready_gateway(settings_for(storage)) as opened:
            names = dict.fromkeys((*TABLES, *(kind.table for kind in IMPORT_TYPES.values())))
            for table in names:
                texts.extend([each async for each in _entities(opened.account.tables, table)])
            for container, name, metadata in listed:
                data = await opened.account.blobs.read(container, name) or b""
                place = f"{container} {name}"
                said = (_plain(place), unquote(json.dumps(metadata)), _text(data))
                texts.append((place, "\n".join(said)))

    asyncio.run(read())
    return texts


async def _entities(tables: RangeTables, table: str) -> AsyncIterator[tuple[str, str]]:
    after: tuple[str, str] | None = None
    is_last = False
    while not is_last:
        found = await tables.query_range(table, EntityRange("", "~", "", "~"), after, 500)
        for entity in found.entities:
            place = f"{table} {entity.partition} {entity.row}"
            yield place, "\n".join((_plain(place), *_values(entity.values)))
            after = entity.partition, entity.row
        is_last = found.is_last


def _values(values: Mapping[str, Value]) -> Iterator[str]:
    packed: dict[str, bytes] = {}
    for name, value in values.items():
        if isinstance(value, bytes):
            stem = name.rstrip("0123456789")
            packed[stem] = packed.get(stem, b"") + value
        else:
            yield f"{name}={_plain(str(value))}"
    for stem, data in packed.items():
        yield f"{stem}={_text(data)}"


def _text(data: bytes) -> str:
    with suppress(zlib.error):
        data = zlib.decompress(data)
    return _plain(data.decode("utf-8", "replace"))


def _plain(text: str) -> str:
    """A text with its keys decoded too."""
    return f"{text}\n{unquote(text.replace('=', '%'), errors='replace')}"


def places_of(storage: str, *marks: str) -> list[str]:
    """The places that have one of these marks, in any case."""
    lowered = [mark.lower() for mark in marks]
    return [
        place
        for place, text in stored_texts(storage)
        if any(mark in text.lower() for mark in lowered)
    ]
