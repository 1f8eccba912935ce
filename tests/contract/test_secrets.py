"""Values that may not be kept or shown: in storage, in the log, in caches."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from shared.web.openapi.document import operations
from shared.web.openapi.operations import Limits, Operation
from tests.builders import SAMPLE, a_worker, body_of
from tests.contract.calls import AUTHDATA, LICENSES, STAGE, process_authdata, send_authdata
from tests.contract.conftest import SETTINGS
from tests.e2e.gateway_process import WORKERS, GatewayProcess, started
from tests.emulator import Emulator, settings_for
from tests.integration.harness import Row, an_employee
from tests.tenants import Sender, a_sender
from tests.unit.imports.licenses.license_bodies import license_form, license_xml, sample_rows

pytestmark = pytest.mark.e2e


@pytest.fixture(name="storage", scope="module")
def fixture_storage(emulator: Emulator) -> str:
    """An account with little in it, since all of it is searched."""
    return emulator.account("searched")


@pytest.fixture(name="gateway", scope="module")
def fixture_gateway(
    storage: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    with started(storage, tmp_path_factory.mktemp("gateway"), **SETTINGS) as process:
        yield process


@pytest.fixture(name="sender")
def fixture_sender(storage: str) -> Sender:
    return a_sender(storage)


# Authentication values exist in the memory of a call only (docs/contracts.md#3, secrets).

MARK = "Zq7xJ0-secret"
SEEN = "Zq7xJ0-employee"
"""An employee id, which is kept: it shows that the search finds what there is."""
FORMS = (
    MARK.encode(),
    MARK.lower().encode(),
    *(base64.b64encode(b"x" * lead + MARK.encode())[4:-4] for lead in range(3)),
)


def test_no_value_is_in_storage_log_or_answer(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    secret = {"employeeStatus": "on", "authValue1": MARK, "authValue2": f"{MARK}2"}
    rows: list[Row] = [
        {"employeeId": "E1", **secret},
        {"employeeId": "E1", **secret, "authValue3": f"{MARK}3"},
        {"employeeId": "", **secret},
        {"employeeId": "E2", "authValue1": MARK * 20},
        {"employeeId": "E3", "authValue1": [MARK]},
        an_employee(SEEN, "other"),
        *(an_employee(f"F{at}", f"{MARK}{at}", "x" * 90) for at in range(200)),
    ]
    answers = [
        send_authdata(gateway, sender, rows, STAGE, {"Idempotency-Key": MARK[:4]}),
        send_authdata(gateway, sender, rows, STAGE, commit=False),
        send_authdata(gateway, sender, rows),
        send_authdata(gateway, sender, rows[:1], fileLogId=MARK),
        send_authdata(gateway, sender, rows[:1], validate=MARK),
        gateway.call("POST", STAGE, f'{{"employee":[{{"authValue1":"{MARK}"'.encode(),
                     sender.headers),
        gateway.call("POST", STAGE, f'{{"employee":["{MARK}"]}}'.encode(), sender.headers),
        gateway.call("GET", f"{AUTHDATA}/{uuid.uuid4()}", None, sender.headers),
    ]  # fmt: skip
    done = process_authdata(gateway, sender, answers[0].json["fileLogId"])
    import_id = done.headers["x-import-id"]
    assert done.json["totalErrors"] == 3
    retried = json.dumps([{"index": 2, "row": {"employeeId": "E9", **secret}}]).encode()
    keyed = {**sender.headers, "Idempotency-Key": "retry"}
    answers += [
        done,
        gateway.call("POST", f"/api/imports/{import_id}/retry", retried, keyed),
        *(
            gateway.get(f"/api/imports/{import_id}{what}", sender)
            for what in ("", "/results?pageSize=1000", "/answer", "/failed-rows")
        ),
    ]
    for answer in answers:
        check_clean("an answer", answer.body)
        check_clean("a header", json.dumps(dict(answer.headers)).encode())
    check_clean("the log", gateway.log().encode())
    places = asyncio.run(everything(storage))
    assert len(places) > 100
    tables = {place.split()[0] for place, data in places.items() if SEEN.encode() in data}
    # The payload is a sealed blob.
    assert tables == {"AuthData", "AuthStaging", "ImportResults", "Idempotency"}
    for place, data in places.items():
        check_clean(place, data)


def check_clean(place: str, data: bytes) -> None:
    folded = data.lower()
    assert [form for form in FORMS if form in data or form.lower() in folded] == [], place


async def everything(storage: str) -> Mapping[str, bytes]:
    """Every entity, message and blob of the account; what is compressed is expanded."""
    return {place: data async for place, data in _walk(storage)}


async def _walk(storage: str) -> AsyncIterator[tuple[str, bytes]]:
    async with TableServiceClient.from_connection_string(storage) as tables:
        async for table in tables.list_tables():
            async for entity in tables.get_table_client(table.name).list_entities():
                for name, value in entity.items():
                    place = f"{table.name} {entity['PartitionKey']} {entity['RowKey']} {name}"
                    yield place, _expanded(value)
    async with BlobServiceClient.from_connection_string(storage) as blobs:
        async for container in blobs.list_containers():
            client = blobs.get_container_client(container.name)
            async for blob in client.list_blobs(include=["metadata"]):
                read = await client.download_blob(blob.name)
                yield f"blob {container.name} {blob.name}", _expanded(await read.readall())
                yield f"metadata {blob.name}", json.dumps(blob.metadata or {}).encode()
    async with QueueServiceClient.from_connection_string(storage) as queues:
        async for queue in queues.list_queues():
            peeked = await queues.get_queue_client(queue.name).peek_messages(max_messages=32)
            for message in peeked:
                yield f"queue {queue.name} {message.id}", base64.b64decode(message.content)


def _expanded(value: Any) -> bytes:
    """Text as UTF-8, and compressed bytes as what they hold, with the bytes themselves."""
    data = value if isinstance(value, bytes) else str(value).encode()
    parts = [data]
    rest = data
    while rest:
        expander = zlib.decompressobj()
        try:
            parts.append(expander.decompress(rest))
        except zlib.error:
            break
        rest = expander.unused_data
    return b"\n".join(parts)


# No secret and no personal value reaches a line of the log (I7).

LOG_MARK = "zqxj"
DAYS = {"issuedDate": "1-2-3", "expirationDate": "1-2-3"}
OWN_SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "workers.json"


def _marked(value: Any) -> Any:
    """The value with every text in it marked, and so mostly wrong."""
    if isinstance(value, dict):
        return {name: _marked(item) for name, item in value.items()}
    return f"{LOG_MARK}{value}"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def test_no_value_of_a_call_is_logged(gateway: GatewayProcess, sender: Sender) -> None:
    [sample] = json.loads(SAMPLE.read_text("utf-8"))
    marked = _marked(sample)
    headers = {**sender.headers, "X-Correlation-Id": f"{LOG_MARK} no id", "Referer": LOG_MARK}
    bodies = [
        body_of([marked]),
        body_of(
            [{**marked, LOG_MARK: LOG_MARK}, {"EmployerRef": LOG_MARK, "PersonnelRef": LOG_MARK}]
        ),
        body_of([{**sample, "PersonnelRef": LOG_MARK, "Surname": LOG_MARK * 5_000}]),
        f'[{{"Surname": "{LOG_MARK}", "Surname": "{LOG_MARK}"}}]'.encode(),
        f'[{{"Surname": "{LOG_MARK}'.encode(),
        f'["{LOG_MARK}"]'.encode(),
    ]
    for body in bodies:
        for address in (WORKERS, f"{WORKERS}&{LOG_MARK}={LOG_MARK}", f"/api/import/{LOG_MARK}"):
            gateway.call("POST", address, body, headers)
    gateway.call("POST", WORKERS, bodies[0], {**headers, "X-Software-Key": LOG_MARK})
    gateway.call(
        "POST", WORKERS, bodies[0], {"X-Functions-Key": LOG_MARK, "X-Software-Key": LOG_MARK}
    )
    gateway.call("POST", WORKERS, bodies[0], {**headers, "Authorization": f"Bearer {LOG_MARK}"})
    gateway.get(f"/api/imports/{LOG_MARK}", sender)

    log = gateway.log()
    assert "import.accepted" in log
    assert "call.refused" in log
    assert LOG_MARK not in log.lower()
    assert sender.function_key not in log
    assert sender.integration.software_key not in log


def test_no_value_of_a_sample_is_logged(gateway: GatewayProcess, sender: Sender) -> None:
    rows = json.loads(SAMPLE.read_text("utf-8")) + json.loads(OWN_SAMPLE.read_text("utf-8"))
    before = len(gateway.log())
    assert gateway.post(sender, rows).status == 200
    log = gateway.log()[before:]
    assert "import.ended" in log
    values = {text for row in rows for text in _texts(row) if len(text) >= 6}
    assert len(values) > 50
    assert [value for value in values if value in log] == []


def test_no_value_of_a_license_is_logged(gateway: GatewayProcess, sender: Sender) -> None:
    before = len(gateway.log())
    [sample, _] = sample_rows()
    marked = _marked(sample) | {"documents": [_marked(each) for each in sample["documents"]]}
    private = sample | {
        "employeeNumber": LOG_MARK,
        "licenseKey": None,
        "serializableLicenseKey": None,
        "licenseNumber": f"{LOG_MARK}1",
        "notes": f"{LOG_MARK}2",
        "documents": [{"name": f"{LOG_MARK}.pdf", "content": "enF4ag=="}],
    }
    bodies = [
        ("application/json", body_of([marked, {**marked, LOG_MARK: LOG_MARK}])),
        ("application/json", body_of([private])),
        ("application/json", f'[{{"{LOG_MARK}": "{LOG_MARK}'.encode()),
        ("text/xml", license_xml([private, marked | DAYS])),
        ("text/xml", f"<{LOG_MARK}>{LOG_MARK}".encode()),
        ("text/xml", f"<!DOCTYPE {LOG_MARK}><{LOG_MARK}/>".encode()),
        ("application/x-www-form-urlencoded", license_form([marked])),
        ("application/x-www-form-urlencoded", f"{LOG_MARK}={LOG_MARK}".encode()),
        (f"text/{LOG_MARK}", LOG_MARK.encode()),
    ]
    for media_type, body in bodies:
        headers = {**sender.headers, "Content-Type": media_type, "Accept": "text/xml"}
        for method, query in (("POST", ""), ("POST", f"?importAction={LOG_MARK}"), ("DELETE", "")):
            gateway.call(method, LICENSES + query, body, {**headers, "Idempotency-Key": LOG_MARK})
            gateway.call(method, LICENSES + query, body, headers)
        same = f"{LICENSES}?allowSameFile=false"
        gateway.call("POST", same, body, {**sender.headers, "Content-Type": media_type})
    log = gateway.log()[before:]
    assert "import.ended" in log
    assert "call.refused" in log
    assert LOG_MARK not in log.lower()
    assert "enF4ag" not in log


# `Cache-Control` of every published call: only what is public may be kept.

PUBLIC = (
    "/.well-known/",
    "/connect/.well-known/",
    "/api/capabilities",
    "/api/docs",
    "/api/errors",
    "/api/openapi.json",
    "/console",
)


def may_be_kept(path: str) -> bool:
    return path.startswith(PUBLIC) or path.endswith((".schema", ".csv", ".xlsx"))


@pytest.mark.parametrize(
    "operation", operations(Limits.of(settings_for(""))), ids=lambda op: f"{op.method} {op.path}"
)
def test_every_answer_but_the_published_contract_forbids_copies(
    gateway: GatewayProcess, sender: Sender, operation: Operation
) -> None:
    guid = "00000000-0000-4000-8000-000000000001"
    path = operation.path.replace("{importId}", guid).replace("{fileLogId}", guid)
    path = path.replace("{documentId}", guid).replace("{file}", "none.js")
    body = None if operation.method == "GET" else b"[]"
    for headers in ({}, sender.headers):
        answer = gateway.call(operation.method, path, body, dict(headers))
        is_public = answer.status == 200 and may_be_kept(path)
        cache_control = answer.headers["cache-control"]
        assert (cache_control == "no-store") is not is_public, (answer.status, cache_control)


def test_answers_of_an_import_and_what_follows_it_forbid_copies(
    gateway: GatewayProcess, sender: Sender
) -> None:
    rows = [a_worker("1"), a_worker("2", Gender="x")]
    key = {"Idempotency-Key": "once"}
    first, again = gateway.post(sender, rows, **key), gateway.post(sender, rows, **key)
    assert again.headers["idempotent-replayed"] == "true"
    here = f"/api/imports/{first.import_id}"
    answers = [first, again, gateway.post(sender, [], Prefer="respond-async")]
    paths = ("", "/results", "/answer", "/failed-rows")
    answers += [gateway.get(here + path, sender) for path in paths]
    answers.append(gateway.call("POST", "/api/import/unknown", b"[]", dict(sender.headers)))
    assert [answer.status for answer in answers[3:]] == [200, 200, 200, 200, 501]
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}


@pytest.mark.parametrize("name", ["workers.v1", "assignments.v1", "licenses.v1", "authdata.v1"])
def test_schemas_may_be_kept(gateway: GatewayProcess, name: str) -> None:
    answer = gateway.call("GET", f"/api/import/{name}.schema")
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-cache")
