"""The demo's documents: one by call, one dropped into the container, as a person would.

The tenant is made ready where it is not yet: the feature, and a round.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cli.calls import Answer, KeyPair, call
from cli.document_client import post_document
from cli.surroundings import ROOT, commands_settings
from cli.terminal import say

if TYPE_CHECKING:
    from shared.settings import Settings

FILES = ROOT / "samples" / "documents"
BY_CALL, BY_DROP = FILES / "payslip.pdf", FILES / "notice.jpg"
WORKER = "hr-7f3a-0418"
"""The external reference of a worker of `samples/workers.json`."""
ROUND = "2026-01"
FIELDS = {
    "workerexternalId": WORKER,
    "communicationRoundCode": ROUND,
    "isSummary": "false",
    "generationTime": "2026-01-31",
}
_SECONDS = 30.0
_PAUSE = 0.1
_NOT_READY = (403, 404)


def show_documents(url: str, keys: KeyPair, tenant: str) -> str:
    """Send both documents and print what became of them; what was not as designed, or ""."""
    answer = _by_call(url, keys, tenant)
    if answer.status != 200:
        return answer.refusal
    [item] = answer.document["items"]
    say(["", "samples/documents"])
    say([f"  {BY_CALL.name}  by call  {_said(item['documentId'], is_replaced=item['overridden'])}"])
    there = _dropped(url, keys)
    if there:
        say([f"  {BY_DROP.name}   by drop  stored since {there['importTime']}"])
        return ""
    return _by_drop(url, keys, tenant)


def _by_drop(url: str, keys: KeyPair, tenant: str) -> str:
    """Drop a file and wait until it is listed; only once, since a start is to take seconds."""
    settings = commands_settings()
    if settings.storage.uses_identity:
        say([f"  {BY_DROP.name}   not dropped: this storage account is reached by identity"])
        return ""
    _drop(settings, tenant)
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        found = _dropped(url, keys)
        if found:
            say([f"  {BY_DROP.name}   by drop  {_said(found['documentId'], is_replaced=False)}"])
            return ""
        time.sleep(_PAUSE)
    return f"the dropped file {BY_DROP.name} was not imported within {_SECONDS:.0f} s."


def _by_call(url: str, keys: KeyPair, tenant: str) -> Answer:
    answer = post_document(url, keys.headers(), BY_CALL, FIELDS)
    if answer.status not in _NOT_READY:
        return answer
    import asyncio

    asyncio.run(_make_ready(tenant))
    return post_document(url, keys.headers(), BY_CALL, FIELDS)


async def _make_ready(tenant: str) -> None:
    from shared.bootstrap import open_gateway
    from shared.errors import ConflictError
    from shared.services.documents.rounds import Feature, RoundStatus

    async with open_gateway(commands_settings()) as gateway:
        documents = gateway.documents
        await documents.features.switch(tenant, Feature.DOCUMENTS, True)
        try:
            await documents.rounds.add(tenant, ROUND, RoundStatus.OPEN)
        except ConflictError:
            await documents.rounds.change(tenant, ROUND, RoundStatus.OPEN)


def _drop(settings: Settings, tenant: str) -> None:
    from azure.storage.blob import BlobClient

    from shared.storage.names import DOCUMENT_DROP

    name = "/".join((tenant, quote(ROUND, safe=""), quote(WORKER, safe=""), BY_DROP.name))
    connection = settings.storage.connection_string
    with BlobClient.from_connection_string(connection, DOCUMENT_DROP, name) as blob:
        blob.upload_blob(BY_DROP.read_bytes(), overwrite=True)


def _dropped(url: str, keys: KeyPair) -> dict[str, Any]:
    """The document of the dropped file as it is listed; empty where it is not."""
    address = f"{url}/api/documents?workerexternalId={WORKER}&communicationRoundCode={ROUND}"
    answer = call("GET", address, keys.headers())
    items = answer.document["items"] if answer.status == 200 else []
    return next((dict(item) for item in items if item["fileName"] == BY_DROP.name), {})


def _said(document_id: str, *, is_replaced: bool) -> str:
    return f"{'replaced' if is_replaced else 'new'}  {document_id}"
