"""The messages that only documents have: reasons why one is refused."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from shared.imports.messages import CatalogueEntry, Severity, declare_messages


class DocumentMessageId(IntEnum):
    """The ids of the messages."""

    DOCUMENTS_NOT_ENABLED = 4001
    WRONG_DROP_PATH = 4002
    WRONG_REFERENCE_LENGTH = 4003
    UNSAFE_FILE_NAME = 4004
    EMPTY_FILE = 4005
    FILE_TOO_LARGE = 4006
    WRONG_GENERATION_TIME = 4007
    ROUND_NOT_FOUND = 4008
    ROUND_NOT_OPEN = 4009
    WORKER_NOT_FOUND = 4010
    AMBIGUOUS_WORKER = 4011
    WRONG_FILE_TYPE = 4012
    UNKNOWN_TENANT = 4013
    FILE_ENCODED = 4014
    FILE_DAMAGED = 4015
    FILE_IS_PAGE_BLOB = 4016
    FILE_ARCHIVED = 4017
    TENANT_DISABLED = 4018


def _entries() -> tuple[CatalogueEntry, ...]:
    texts = (
        (
            DocumentMessageId.DOCUMENTS_NOT_ENABLED,
            "The feature Documents is not enabled",
            "Ask the operator of the gateway to enable it for the tenant.",
        ),
        (
            DocumentMessageId.WRONG_DROP_PATH,
            "Path of the dropped file is not understood",
            "Drop it as tenant/round/worker/file, each part percent-encoded.",
        ),
        (
            DocumentMessageId.WRONG_REFERENCE_LENGTH,
            "Reference is empty or too long",
            "Send workerexternalId and communicationRoundCode with 1 to 60 characters.",
        ),
        (
            DocumentMessageId.UNSAFE_FILE_NAME,
            "File name is missing or not safe",
            "Give the file a plain name of at most 200 characters, without a path.",
        ),
        (
            DocumentMessageId.EMPTY_FILE,
            "File is empty",
            "Send a file with content.",
        ),
        (
            DocumentMessageId.FILE_TOO_LARGE,
            "File is too large",
            "Send a smaller file.",
        ),
        (
            DocumentMessageId.WRONG_GENERATION_TIME,
            "generationTime is not a time in the past",
            "Send YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS that is not after now; without an offset it is "
            "UTC.",
        ),
        (
            DocumentMessageId.ROUND_NOT_FOUND,
            "Communication round was not found",
            "Correct communicationRoundCode, or ask the operator of the gateway to add the round.",
        ),
        (
            DocumentMessageId.ROUND_NOT_OPEN,
            "Communication round takes no documents",
            "Send it to a round that is Open or In Progress, or ask the operator of the gateway to "
            "open this one.",
        ),
        (
            DocumentMessageId.WORKER_NOT_FOUND,
            "Worker was not found",
            "Import the worker first, or correct workerexternalId: an ExternalWorkerRef, or else a "
            "PersonnelRef.",
        ),
        (
            DocumentMessageId.AMBIGUOUS_WORKER,
            "Several workers have this id",
            "Give each of them an ExternalWorkerRef of its own and send that.",
        ),
        (
            DocumentMessageId.WRONG_FILE_TYPE,
            "File type is not allowed, or the content is of another type than the name says",
            "Send a file of a type that this gateway takes, under its own extension.",
        ),
        (
            DocumentMessageId.UNKNOWN_TENANT,
            "Tenant of the dropped file is not known",
            "Begin the path with the id of the tenant, which the operator of the gateway knows.",
        ),
        (
            DocumentMessageId.FILE_ENCODED,
            "Dropped file has a Content-Encoding",
            "Drop the file as it is, neither compressed nor with the property Content-Encoding.",
        ),
        (
            DocumentMessageId.FILE_DAMAGED,
            "Content of the dropped file does not match its Content-MD5",
            "Drop the file again; it was changed on the way, or its Content-MD5 is of "
            "another file.",
        ),
        (
            DocumentMessageId.FILE_IS_PAGE_BLOB,
            "Dropped file is a page blob",
            "Drop the file as a block blob; a page blob is filled up to a multiple of 512 bytes.",
        ),
        (
            DocumentMessageId.FILE_ARCHIVED,
            "Dropped file is in the archive tier and cannot be read",
            "Drop the file into the hot, cool or cold tier.",
        ),
        (
            DocumentMessageId.TENANT_DISABLED,
            "Tenant of the dropped file is disabled",
            "Ask the operator of the gateway to enable the tenant, then drop the file again.",
        ),
    )
    return tuple(
        CatalogueEntry(id_, Severity.ERROR, text, advice, "docs/contracts.md#4")
        for id_, text, advice in texts
    )


# The field of an upload that a message is about; other messages are about several or none.
FIELD_OF: Final[Mapping[int, str]] = {
    DocumentMessageId.UNSAFE_FILE_NAME: "fileName",
    DocumentMessageId.EMPTY_FILE: "file",
    DocumentMessageId.FILE_TOO_LARGE: "file",
    DocumentMessageId.WRONG_GENERATION_TIME: "generationTime",
    DocumentMessageId.ROUND_NOT_FOUND: "communicationRoundCode",
    DocumentMessageId.ROUND_NOT_OPEN: "communicationRoundCode",
    DocumentMessageId.WORKER_NOT_FOUND: "workerexternalId",
    DocumentMessageId.AMBIGUOUS_WORKER: "workerexternalId",
    DocumentMessageId.WRONG_FILE_TYPE: "fileName",
    DocumentMessageId.FILE_ENCODED: "file",
    DocumentMessageId.FILE_DAMAGED: "file",
    DocumentMessageId.FILE_IS_PAGE_BLOB: "file",
    DocumentMessageId.FILE_ARCHIVED: "file",
}

DOCUMENT_MESSAGES: Final = declare_messages(*_entries())
