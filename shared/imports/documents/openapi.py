"""Documents as operations. The drop has no address: it is a container of storage.

See docs/contracts.md#4.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field

from shared.auth.clients import Scope
from shared.auth.integrations import READ, import_permission
from shared.imports.documents.definition import DOCUMENTS
from shared.web.openapi.operations import (
    CONTINUATION,
    DRY_RUN,
    GUID,
    IDEMPOTENCY_KEY,
    JSON,
    PAGE_SIZE,
    TEXT,
    VIEW,
    Access,
    Answer,
    Body,
    Operation,
    Parameter,
    headers,
    still_running,
)
from shared.web.openapi.schemas import AnswerModel, Count, Guid, ImportId, JudgedPage, Page

TAG = "Documents"
FORM = "multipart/form-data"
_REFERENCE = {"type": "string", "minLength": 1, "maxLength": 60}


DocumentId = Annotated[
    Guid,
    Field(description="The id of the document; a later upload of the same name keeps it."),
]
ImportTime = Annotated[
    AwareDatetime, Field(description="When the gateway took the document in, in UTC.")
]


class ImportedDocument(AnswerModel):
    documentId: DocumentId
    overridden: bool = Field(description="Whether it replaced another one.")
    importTime: ImportTime


class DocumentAnswer(AnswerModel):
    pageNumber: Count = Field(description="Always 1, since the answer is about one document.")
    pageSize: Count = Field(description="Always 1.")
    totalPages: Count = Field(description="Always 1.")
    totalCount: Count = Field(description="Always 1.")
    items: list[ImportedDocument] = Field(description="The entries of this page.")


class DocumentLinks(AnswerModel):
    content: str = Field(description="The address of the file.")


class Document(AnswerModel):
    documentId: DocumentId
    workerexternalId: str = Field(
        description="The worker's ExternalWorkerRef, or else the PersonnelRef."
    )
    communicationRoundCode: str = Field(description="The round that the document was sent to.")
    fileName: str = Field(description="The name of the file.")
    contentType: str = Field(description="The media type of the file.")
    size: Count = Field(description="In bytes.")
    generationTime: AwareDatetime = Field(description="When the document was made, in UTC.")
    importTime: ImportTime
    importId: ImportId
    links: DocumentLinks = Field(description="The addresses that can be used now, by name.")


class DocumentPage(Page[Document]):
    pass


_FORM_FIELDS = {
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
        "isSummary": {
            "type": "string",
            "enum": ["false"],
            "description": "Absent or false: summaries cannot be imported.",
        },
        "generationTime": {
            **TEXT,
            "description": "A time in the past: `YYYY-MM-DD`, or with a time and an offset; "
            "without an offset it is UTC.",
        },
        "file": {
            "type": "string",
            "contentMediaType": "application/octet-stream",
            "description": "The file, with its name. It is the only file of the form.",
        },
    },
    "required": ["workerexternalId", "communicationRoundCode", "generationTime", "file"],
}

OPERATIONS = (
    Operation(
        function="import_documents",
        method="POST",
        path="/api/import/documents",
        summary="Import a document",
        text="Imports one document of one worker. A later upload with the same worker, round and "
        "file name replaces the document and keeps its id. The extension of the file name and the "
        "first bytes of the file must both be those of an accepted type.",
        tag=TAG,
        access=Access.EITHER,
        scope=Scope.IMPORT_INBOX,
        permission=import_permission(DOCUMENTS.name),
        parameters=(DRY_RUN, VIEW, IDEMPOTENCY_KEY),
        body=Body({FORM: _FORM_FIELDS}),
        answers={
            200: Answer(
                "The document, or the result of the dry run.",
                {JSON: DocumentAnswer | JudgedPage},
                headers("X-Import-Id", "Idempotent-Replayed"),
            ),
            202: still_running(),
        },
        refusals=(400, 401, 403, 404, 409, 410, 413, 415, 422, 501),
        message_type="documents",
    ),
    Operation(
        function="documents_list",
        method="GET",
        path="/api/documents",
        summary="The tenant's documents",
        tag=TAG,
        access=Access.EITHER,
        scope=Scope.IMPORT_INBOX,
        permission=READ,
        parameters=(
            Parameter("workerexternalId", "query", "Only documents of this worker.", _REFERENCE),
            Parameter(
                "communicationRoundCode", "query", "Only documents of this round.", _REFERENCE
            ),
            PAGE_SIZE,
            CONTINUATION,
        ),
        answers={200: Answer("A page of documents.", {JSON: DocumentPage})},
        refusals=(400, 401, 403),
    ),
    Operation(
        function="documents_content",
        method="GET",
        path="/api/documents/{documentId}/content",
        summary="The file of a document",
        text="A browser downloads the file under its name and does not display it.",
        tag=TAG,
        access=Access.EITHER,
        scope=Scope.IMPORT_INBOX,
        permission=READ,
        parameters=(
            Parameter("documentId", "path", "The `documentId` of the import's answer.", GUID, True),
        ),
        answers={
            200: Answer(
                "The file as it was sent.",
                {"*/*": bytes},
                headers("Content-Disposition", "Cache-Control"),
            )
        },
        refusals=(401, 403, 404, 410),
    ),
)
