"""`/api/records/…` as operations, one for each type (docs/contracts.md#7)."""

from __future__ import annotations

from typing import Any, Final

from shared.auth.clients import Scope
from shared.imports.import_type_module import StoredRecords
from shared.imports.modules import IMPORT_MODULES
from shared.web.openapi.operations import (
    CONTINUATION,
    GUID,
    JSON,
    MOMENT,
    TEXT,
    Access,
    Answer,
    Operation,
    Parameter,
    closed,
    headers,
    listed,
    nullable,
    page_of,
    reference,
)
from shared.web.records import (
    DELETED,
    IMPORT_ID,
    LARGEST_EXPORT,
    LARGEST_PAGE,
    NDJSON,
    PAGE,
    RECORDS,
)
from shared.web.requests import CSV

TAG: Final = "Records"
_TEXT: Final = (
    "Only what the caller may read: without permission for sensitive values these are masked. Each "
    "filter finds its records without a look at all of them. The records come in order of their "
    "group and key. As `application/x-ndjson` they come one in a line, as `text/csv` in the "
    f"columns of failed rows; both take a `pageSize` of up to {LARGEST_EXPORT} and name the next "
    "page in `Link`."
)
_BY_IMPORT: Final = Parameter(IMPORT_ID, "query", "Only records that this import wrote last.", GUID)
_DELETED: Final = Parameter(
    DELETED,
    "query",
    "`true`: what is left of deleted records, in place of those that are there.",
    {"type": "boolean", "default": False},
)
_SIZE: Final = Parameter(
    "pageSize",
    "query",
    f"How many records a page has at most; as JSON up to {LARGEST_PAGE}.",
    {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": PAGE},
)
_FILTER: Final = {"type": "string", "pattern": r"\S", "maxLength": 200}


def operations() -> tuple[Operation, ...]:
    """The records of each type that has some."""
    return tuple(
        _list(module.records) for module in IMPORT_MODULES.values() if module.records is not None
    )


def shapes() -> dict[str, dict[str, Any]]:
    """A record as it is read back."""
    return {"StoredRecord": _record(), "StoredRecordPage": page_of("StoredRecord")}


def _list(stored: StoredRecords) -> Operation:
    return Operation(
        function="records_list",
        method="GET",
        path=f"{RECORDS}/{stored.name}",
        name=f"records_{stored.name}",
        summary=f"The stored {stored.name}",
        text=_TEXT,
        tag=TAG,
        access=Access.EITHER,
        scope=Scope.READ_RECORDS,
        parameters=(
            *map(_filter, stored.source().filters),
            *(_BY_IMPORT, _DELETED, _SIZE, CONTINUATION),
        ),
        answers={
            200: Answer(
                "A page of records.",
                {JSON: reference("StoredRecordPage"), NDJSON: TEXT, CSV: TEXT},
                headers("Link"),
            )
        },
        refusals=(400, 401, 403, 404, 406, 410),
    )


def _filter(name: str) -> Parameter:
    return Parameter(name, "query", f"Only records of this {name}.", _FILTER)


def _record() -> dict[str, Any]:
    return closed(
        {
            "record": {
                "type": ["object", "null"],
                "description": "The record by the names of the contract, as it is stored.",
            },
            "key": {"type": "object", "description": "The key, where there is no record to show."},
            "type": TEXT,
            "createdAt": nullable(MOMENT),
            "createdBy": nullable(GUID),
            "changedAt": nullable(MOMENT),
            "changedBy": nullable(GUID),
            "previous": {
                "type": "object",
                "description": "Each field that the last import changed with its former value, "
                "null where it had none.",
            },
            "masked": {**listed(TEXT), "description": "The paths of the values that are masked."},
            "authValues": {
                **listed(TEXT),
                "description": "Which authentication values are stored, of an employee.",
            },
            "deleted": {"const": True, "description": "The record is gone."},
            "unreadable": {"const": True, "description": "What is stored cannot be read."},
        },
        optional=("key", "previous", "masked", "authValues", "deleted", "unreadable"),
    )
