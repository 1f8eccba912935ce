"""Calls with licenses, and a look at what is stored of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from azure.storage.blob.aio import ContainerClient

from shared.bootstrap import open_gateway
from shared.imports.licenses.store import held_from_entity
from shared.storage.business_records import partition_of
from shared.storage.names import LICENSE_DOCUMENTS
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.emulator import settings_for
from tests.tenants import Sender

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


def send(
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
    told = answer.json
    return told["newRecords"], told["updatedRecords"], len(told["errors"])


@dataclass(frozen=True)
class StoredBlob:
    """A document as it lies in the container."""

    data: bytes
    metadata: Mapping[str, str]


def stored_licenses(storage: str, sender: Sender, company: str = "C1") -> list[dict[str, Any]]:
    """The licenses of a company that are there, by license number."""

    async def read() -> list[dict[str, Any]]:
        async with open_gateway(settings_for(storage)) as opened:
            place = partition_of(sender.tenant, company)
            found = await opened.account.tables.query("Licenses", place, "r|", "r|~")
        documents = [held_from_entity(entity).document for entity in found]
        return [document for document in documents if document is not None]

    return sorted(asyncio.run(read()), key=lambda each: str(each.get("licenseNumber")))


def stored_blobs(storage: str, sender: Sender) -> dict[str, StoredBlob]:
    """The tenant's documents of licenses by the name that a license knows them under."""

    async def read() -> dict[str, StoredBlob]:
        container = ContainerClient.from_connection_string(storage, LICENSE_DOCUMENTS)
        found: dict[str, StoredBlob] = {}
        prefix = f"{sender.tenant}/"
        async with container:
            async for blob in container.list_blobs(prefix, include=["metadata"]):
                download = await container.download_blob(blob.name)
                data = await download.readall()
                found[blob.name.removeprefix(prefix)] = StoredBlob(data, blob.metadata or {})
        return found

    return asyncio.run(read())
