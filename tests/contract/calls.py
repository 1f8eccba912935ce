"""Calls of the contract: licenses, documents and authentication data, and every refusal."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from azure.storage.blob.aio import ContainerClient

from shared.imports.licenses.store import license_from_entity
from shared.storage.business_records import partition_of
from shared.storage.names import LICENSE_DOCUMENTS
from tests.documents import Form, upload_headers
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.emulator import open_ready_gateway, settings_for
from tests.integration.harness import Row
from tests.tenants import Sender

# The limits of the gateway that the tests of the contract talk to.

MAX_BODY_BYTES = 60_000
MAX_ROWS = 250
DRY_RUN_ROWS = 120
MAX_DOCUMENT_BYTES = 20_000


# What every refusal looks like (docs/contracts.md#0, body of a refusal).

GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def check_refusal(answer: Answer, status: int, wording: str = "") -> str:
    """The status, `{"message": …}` alone, a correlation id, no import; returns the message."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"].startswith("application/json")
    assert GUID.fullmatch(answer.headers["x-correlation-id"])
    assert "x-import-id" not in answer.headers
    assert list(answer.json) == ["message"]
    message: str = answer.json["message"]
    assert message
    assert "\n" not in message
    assert wording in message
    return message


# Calls of authentication data over HTTP.

AUTHDATA = "/api/admin/authdata"
STAGE = f"{AUTHDATA}/stage"


def send_authdata(
    gateway: GatewayProcess,
    sender: Sender,
    rows: Sequence[Row],
    address: str = AUTHDATA,
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> Answer:
    """Stage, or stage and process; `fields` are properties of the body."""
    body = json.dumps({**fields, "employee": rows}, ensure_ascii=False).encode()
    sent = {"Content-Type": "application/json", **sender.headers, **(headers or {})}
    return gateway.call("POST", address, body, sent)


def process_authdata(gateway: GatewayProcess, sender: Sender, batch: str, **headers: str) -> Answer:
    """A Process call."""
    return gateway.call("POST", f"{AUTHDATA}/{batch}", None, {**sender.headers, **headers})


# Uploads of documents to the gateway that the tests of the contract talk to.

UPLOAD = "/api/import/documents"
CLOSED = "2025-12"


def send_document(gateway: GatewayProcess, sender: Sender, form: Form, **headers: str) -> Answer:
    return gateway.call("POST", UPLOAD, form.body(), upload_headers(sender, **headers))


def item_of(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    [item] = answer.json["items"]
    return dict(item)


# Calls with licenses, and a look at what is stored of them.

LICENSES = "/v1/imports/licenses"


def a_license(number: str = "L1", employee: str = "7", **changes: Any) -> dict[str, Any]:
    """A license with a natural key that goes in without an error."""
    return {
        "companyCode": "C1",
        "employeeNumber": employee,
        "licenseTypeCode": "RN",
        "licenseNumber": number,
        **changes,
    }


def send_licenses(
    gateway: GatewayProcess,
    sender: Sender,
    rows: list[Any] | bytes,
    query: str = "",
    method: str = "POST",
    path: str = LICENSES,
    **headers: str,
) -> Answer:
    """A call; `Content_Type="text/xml"` and the like are headers."""
    body = rows if isinstance(rows, bytes) else json.dumps(rows).encode()
    sent = {"Content-Type": "application/json", **sender.headers}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return gateway.call(method, f"{path}?{query}", body, sent)


def counted(answer: Answer) -> tuple[int, int, int]:
    """How many rows were new, updated, in error."""
    assert answer.status == 200, answer.body
    document = answer.json
    return document["newRecords"], document["updatedRecords"], len(document["errors"])


@dataclass(frozen=True)
class StoredBlob:
    """A document as it lies in the container."""

    data: bytes
    metadata: Mapping[str, str]


def stored_licenses(storage: str, sender: Sender, company: str = "C1") -> list[dict[str, Any]]:
    """The licenses of a company that are there, by license number."""

    async def read() -> list[dict[str, Any]]:
        async with open_ready_gateway(settings_for(storage)) as opened:
            place = partition_of(sender.tenant, company)
            entities = await opened.account.tables.query("Licenses", place, "r|", "r|~")
        documents = [license_from_entity(entity).document for entity in entities]
        return [document for document in documents if document is not None]

    return sorted(asyncio.run(read()), key=lambda each: str(each.get("licenseNumber")))


def stored_blobs(storage: str, sender: Sender) -> dict[str, StoredBlob]:
    """The tenant's documents of licenses by the name that a license knows them under."""

    async def read() -> dict[str, StoredBlob]:
        container = ContainerClient.from_connection_string(storage, LICENSE_DOCUMENTS)
        blobs: dict[str, StoredBlob] = {}
        prefix = f"{sender.tenant}/"
        async with container:
            async for blob in container.list_blobs(prefix, include=["metadata"]):
                download = await container.download_blob(blob.name)
                data = await download.readall()
                blobs[blob.name.removeprefix(prefix)] = StoredBlob(data, blob.metadata or {})
        return blobs

    return asyncio.run(read())
