"""4001 to 4018: why a document did not go in. Part of the message catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shared.imports.catalogue_entry import CatalogueEntry, Severity

NOT_ENABLED: Final = 4001
WRONG_PATH: Final = 4002
WRONG_REFERENCE: Final = 4003
UNSAFE_NAME: Final = 4004
EMPTY_FILE: Final = 4005
TOO_LARGE: Final = 4006
WRONG_TIME: Final = 4007
NO_ROUND: Final = 4008
ROUND_NOT_OPEN: Final = 4009
NO_WORKER: Final = 4010
AMBIGUOUS_WORKER: Final = 4011
WRONG_TYPE: Final = 4012
UNKNOWN_TENANT: Final = 4013
ENCODED: Final = 4014
DAMAGED: Final = 4015
PAGE_BLOB: Final = 4016
ARCHIVED: Final = 4017
TENANT_DISABLED: Final = 4018

FIELD_OF: Final[Mapping[int, str]] = {
    UNSAFE_NAME: "fileName",
    EMPTY_FILE: "file",
    TOO_LARGE: "file",
    WRONG_TIME: "generationTime",
    NO_ROUND: "communicationRoundCode",
    ROUND_NOT_OPEN: "communicationRoundCode",
    NO_WORKER: "workerexternalId",
    AMBIGUOUS_WORKER: "workerexternalId",
    WRONG_TYPE: "fileName",
    ENCODED: "file",
    DAMAGED: "file",
    PAGE_BLOB: "file",
    ARCHIVED: "file",
}
"""The field of an upload that a message is about; the others are about several, or about none."""

_TEXTS = (
    (
        NOT_ENABLED,
        "The feature Documents is not enabled",
        "Ask the operator of the gateway to enable it for the tenant.",
    ),
    (
        WRONG_PATH,
        "Path of the dropped file is not understood",
        "Drop it as tenant/round/worker/file, each part percent-encoded.",
    ),
    (
        WRONG_REFERENCE,
        "Reference is empty or too long",
        "Send workerexternalId and communicationRoundCode with 1 to 60 characters.",
    ),
    (
        UNSAFE_NAME,
        "File name is missing or not safe",
        "Give the file a plain name of at most 200 characters, without a path.",
    ),
    (
        EMPTY_FILE,
        "File is empty",
        "Send a file with content.",
    ),
    (
        TOO_LARGE,
        "File is too large",
        "Send a smaller file.",
    ),
    (
        WRONG_TIME,
        "generationTime is not a time in the past",
        "Send YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS that is not after now; without an offset it is "
        "UTC.",
    ),
    (
        NO_ROUND,
        "Communication round was not found",
        "Correct communicationRoundCode, or ask the operator of the gateway to add the round.",
    ),
    (
        ROUND_NOT_OPEN,
        "Communication round takes no documents",
        "Send it to a round that is Open or In Progress, or ask the operator of the gateway to "
        "open this one.",
    ),
    (
        NO_WORKER,
        "Worker was not found",
        "Import the worker first, or correct workerexternalId: an ExternalWorkerRef, or else a "
        "PersonnelRef.",
    ),
    (
        AMBIGUOUS_WORKER,
        "Several workers have this id",
        "Give each of them an ExternalWorkerRef of its own and send that.",
    ),
    (
        WRONG_TYPE,
        "File type is not allowed, or the content is of another type than the name says",
        "Send a file of a type that this gateway takes, under its own extension.",
    ),
    (
        UNKNOWN_TENANT,
        "Tenant of the dropped file is not known",
        "Begin the path with the id of the tenant, which the operator of the gateway knows.",
    ),
    (
        ENCODED,
        "Dropped file has a Content-Encoding",
        "Drop the file as it is, neither compressed nor with the property Content-Encoding.",
    ),
    (
        DAMAGED,
        "Content of the dropped file does not match its Content-MD5",
        "Drop the file again; it was changed on the way, or its Content-MD5 is of another file.",
    ),
    (
        PAGE_BLOB,
        "Dropped file is a page blob",
        "Drop the file as a block blob; a page blob is filled up to a multiple of 512 bytes.",
    ),
    (
        ARCHIVED,
        "Dropped file is in the archive tier and cannot be read",
        "Drop the file into the hot, cool or cold tier.",
    ),
    (
        TENANT_DISABLED,
        "Tenant of the dropped file is disabled",
        "Ask the operator of the gateway to enable the tenant, then drop the file again.",
    ),
)


def document_entries() -> tuple[CatalogueEntry, ...]:
    """The entries of the catalogue; all of them fail the document."""
    return tuple(
        CatalogueEntry(id_, Severity.ERROR, text, advice, "CONTRACTS 4")
        for id_, text, advice in _TEXTS
    )
