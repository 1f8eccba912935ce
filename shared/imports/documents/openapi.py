"""Documents as operations. The drop has no address: it is a container of storage.

See docs/contracts.md#4.
"""

from __future__ import annotations

from typing import Any

from shared.auth.clients import Scope
from shared.web.openapi.following import still_running
from shared.web.openapi.operations import (
    CONTINUATION,
    COUNT,
    DRY_RUN,
    GUID,
    IDEMPOTENCY_KEY,
    JSON,
    MOMENT,
    PAGE_SIZE,
    TEXT,
    VIEW,
    Access,
    Answer,
    Body,
    Operation,
    Parameter,
    closed,
    headers,
    listed,
    page_of,
    reference,
)

TAG = "Documents"
FORM = "multipart/form-data"
_REFERENCE = {"type": "string", "minLength": 1, "maxLength": 60}


def operations() -> tuple[Operation, ...]:
    """Sending a document and reading back."""
    return (_upload(), _list(), _content())


def shapes() -> dict[str, dict[str, Any]]:
    """The vendor's envelope, and a document as it is listed."""
    item = closed(
        {
            "documentId": GUID,
            "overridden": {"type": "boolean", "description": "Whether it replaced another one."},
            "importTime": MOMENT,
        }
    )
    counts = ("pageNumber", "pageSize", "totalPages", "totalCount")
    return {
        "DocumentAnswer": closed({**dict.fromkeys(counts, COUNT), "items": listed(item)}),
        "Document": _document(),
        "DocumentPage": page_of("Document"),
    }


def _document() -> dict[str, Any]:
    return closed(
        {
            "documentId": GUID,
            "workerexternalId": TEXT,
            "communicationRoundCode": TEXT,
            "fileName": TEXT,
            "contentType": TEXT,
            "size": {**COUNT, "description": "In bytes."},
            "generationTime": MOMENT,
            "importTime": MOMENT,
            "importId": GUID,
            "links": closed({"content": TEXT}),
        }
    )


def _upload() -> Operation:
    form = {
        "type": "object",
        "properties": {
            "workerexternalId": {
                **_REFERENCE,
                "description": "The worker's ExternalWorkerRef, else its PersonnelRef.",
            },
            "communicationRoundCode": {
                **_REFERENCE,
                "description": "A round that is Open or In Progress.",
            },
            "isSummary": {"type": "string", "enum": ["false"]},
            "generationTime": {
                **TEXT,
                "description": "A time in the past: `YYYY-MM-DD`, or with a time and an offset; "
                "without an offset it is UTC.",
            },
            "file": {"type": "string", "contentMediaType": "application/octet-stream"},
        },
        "required": ["workerexternalId", "communicationRoundCode", "generationTime", "file"],
    }
    return Operation(
        function="import_documents",
        method="POST",
        path="/api/import/documents",
        summary="Import a document",
        text="One document of one worker. The same worker, round and file name again replaces it "
        "and keeps its id. The file is taken by the extension of its name and by its first bytes.",
        tag=TAG,
        access=Access.EITHER,
        scope=Scope.IMPORT_INBOX,
        parameters=(DRY_RUN, VIEW, IDEMPOTENCY_KEY),
        body=Body({FORM: form}),
        answers={
            200: Answer(
                "The document; of a dry run, what would become of it.",
                {JSON: {"oneOf": [reference("DocumentAnswer"), reference("JudgedPage")]}},
                headers("X-Import-Id", "Idempotent-Replayed"),
            ),
            202: still_running(),
        },
        refusals=(400, 401, 403, 404, 409, 410, 413, 415, 422, 501),
        message_type="documents",
    )


def _list() -> Operation:
    return Operation(
        function="documents_list",
        method="GET",
        path="/api/documents",
        summary="The tenant's documents",
        tag=TAG,
        access=Access.EITHER,
        scope=Scope.IMPORT_INBOX,
        parameters=(
            Parameter("workerexternalId", "query", "Only documents of this worker.", _REFERENCE),
            Parameter(
                "communicationRoundCode", "query", "Only documents of this round.", _REFERENCE
            ),
            PAGE_SIZE,
            CONTINUATION,
        ),
        answers={200: Answer("A page of documents.", {JSON: reference("DocumentPage")})},
        refusals=(400, 401, 403),
    )


def _content() -> Operation:
    binary = {"type": "string", "format": "binary"}
    return Operation(
        function="documents_content",
        method="GET",
        path="/api/documents/{documentId}/content",
        summary="The file of a document",
        text="A browser saves it under its name and never shows it.",
        tag=TAG,
        access=Access.EITHER,
        scope=Scope.IMPORT_INBOX,
        parameters=(
            Parameter("documentId", "path", "The `documentId` of the import's answer.", GUID, True),
        ),
        answers={
            200: Answer(
                "The file as it was sent.",
                {"*/*": binary},
                headers("Content-Disposition", "Cache-Control"),
            )
        },
        refusals=(401, 403, 404, 410),
    )
