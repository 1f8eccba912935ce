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

DOCUMENT_SAMPLES = ROOT / "samples" / "documents"
BY_CALL, BY_DROP = DOCUMENT_SAMPLES / "payslip.pdf", DOCUMENT_SAMPLES / "notice.jpg"
DEMO_WORKER = "hr-7f3a-0418"
"""The external reference of a worker of `samples/workers.json`."""
DEMO_ROUND = "2026-01"
UPLOAD_FIELDS = {
    "workerexternalId": DEMO_WORKER,
    "communicationRoundCode": DEMO_ROUND,
    "isSummary": "false",
    "generationTime": "2026-01-31",
}
_DROP_SECONDS = 30.0
_DROP_PAUSE = 0.1
_NOT_PREPARED = (403, 404)


def show_documents(url: str, keys: KeyPair, tenant: str) -> str:
    """Send both documents and print what became of them; what was not as designed, or ""."""
    answer = _upload(url, keys, tenant)
    if answer.status != 200:
        return answer.refusal
    [item] = answer.document["items"]
    say(["", "samples/documents"])
    outcome = _describe_upload(item["documentId"], is_replaced=item["overridden"])
    say([f"  {BY_CALL.name}  by call  {outcome}"])
    there = _find_dropped(url, keys)
    if there:
        say([f"  {BY_DROP.name}   by drop  stored since {there['importTime']}"])
        return ""
    return _drop_and_wait(url, keys, tenant)


def _drop_and_wait(url: str, keys: KeyPair, tenant: str) -> str:
    """Drop a file and wait until it is listed; only once, since a start is to take seconds."""
    settings = commands_settings()
    if settings.storage.uses_identity:
        say([f"  {BY_DROP.name}   not dropped: this storage account is reached by identity"])
        return ""
    _drop(settings, tenant)
    deadline = time.monotonic() + _DROP_SECONDS
    while time.monotonic() < deadline:
        found = _find_dropped(url, keys)
        if found:
            outcome = _describe_upload(found["documentId"], is_replaced=False)
            say([f"  {BY_DROP.name}   by drop  {outcome}"])
            return ""
        time.sleep(_DROP_PAUSE)
    return f"the dropped file {BY_DROP.name} was not imported within {_DROP_SECONDS:.0f} s."


def _upload(url: str, keys: KeyPair, tenant: str) -> Answer:
    answer = post_document(url, keys.headers(), BY_CALL, UPLOAD_FIELDS)
    if answer.status not in _NOT_PREPARED:
        return answer
    import asyncio

    asyncio.run(_prepare_tenant(tenant))
    return post_document(url, keys.headers(), BY_CALL, UPLOAD_FIELDS)


async def _prepare_tenant(tenant: str) -> None:
    from shared.bootstrap import open_gateway
    from shared.errors import ConflictError
    from shared.services.documents.rounds import Feature, RoundStatus

    async with open_gateway(commands_settings()) as gateway:
        documents = gateway.documents
        await documents.features.switch(tenant, Feature.DOCUMENTS, True)
        try:
            await documents.rounds.add(tenant, DEMO_ROUND, RoundStatus.OPEN)
        except ConflictError:
            await documents.rounds.change(tenant, DEMO_ROUND, RoundStatus.OPEN)


def _drop(settings: Settings, tenant: str) -> None:
    from azure.storage.blob import BlobClient

    from shared.storage.names import DOCUMENT_DROP

    name = "/".join((tenant, quote(DEMO_ROUND, safe=""), quote(DEMO_WORKER, safe=""), BY_DROP.name))
    connection = settings.storage.connection_string
    with BlobClient.from_connection_string(connection, DOCUMENT_DROP, name) as blob:
        blob.upload_blob(BY_DROP.read_bytes(), overwrite=True)


def _find_dropped(url: str, keys: KeyPair) -> dict[str, Any]:
    """The document of the dropped file as it is listed; empty where it is not."""
    address = (
        f"{url}/api/documents?workerexternalId={DEMO_WORKER}&communicationRoundCode={DEMO_ROUND}"
    )
    answer = call("GET", address, keys.headers())
    items = answer.document["items"] if answer.status == 200 else []
    return next((dict(item) for item in items if item["fileName"] == BY_DROP.name), {})


def _describe_upload(document_id: str, *, is_replaced: bool) -> str:
    return f"{'replaced' if is_replaced else 'new'}  {document_id}"
