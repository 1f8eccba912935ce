"""`/api/records/…` as operations, one for each type (docs/contracts.md#7)."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import AwareDatetime, Field

from shared.auth.clients import Scope
from shared.auth.integrations import READ
from shared.imports.import_type_module import StoredRecords
from shared.imports.modules import IMPORT_MODULES
from shared.web.openapi.operations import (
    CONTINUATION,
    GUID,
    JSON,
    Access,
    Answer,
    Operation,
    Parameter,
    headers,
)
from shared.web.openapi.schemas import AnswerModel, Guid, Page
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
    "Sensitive values are masked for a caller that has no permission to read them. Each filter "
    "finds its records without reading all of them. The records are in the order of their group "
    "and key. `application/x-ndjson` has one record in each line, `text/csv` the columns of failed "
    f"rows; both take a `pageSize` of up to {LARGEST_EXPORT} and name the next page in `Link`."
)
_BY_IMPORT: Final = Parameter(IMPORT_ID, "query", "Only records that this import wrote last.", GUID)
_DELETED: Final = Parameter(
    DELETED,
    "query",
    "`true`: what is left of deleted records, instead of the records that are stored.",
    {"type": "boolean", "default": False},
)
_SIZE: Final = Parameter(
    "pageSize",
    "query",
    f"How many records a page has at most; as JSON up to {LARGEST_PAGE}.",
    {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": PAGE},
)
_FILTER: Final = {"type": "string", "pattern": r"\S", "maxLength": 200}


class StoredRecord(AnswerModel):
    record: dict[str, Any] | None = Field(
        description="The record as it is stored, by the names of the contract; null where there is "
        "none to show."
    )
    key: dict[str, Any] = Field(
        default={}, description="The key of the record; only where `record` is null."
    )
    type: str = Field(description="The name of these records.")
    createdAt: AwareDatetime | None = Field(
        description="When the record was created, in UTC; null where it is not known."
    )
    createdBy: Guid | None = Field(
        description="The id of the import that created the record; null where it is not known."
    )
    changedAt: AwareDatetime | None = Field(
        description="When the record was last changed, in UTC; null where it is not known."
    )
    changedBy: Guid | None = Field(
        description="The id of the import that last changed the record; null where it is not known."
    )
    previous: dict[str, Any] = Field(
        default={},
        description="Each field that the last import changed, with its former value: null where "
        "the field had none.",
    )
    masked: list[str] = Field(default=[], description="The paths of the values that are masked.")
    authValues: list[str] = Field(
        default=[], description="Which authentication values are stored; only of employees."
    )
    deleted: Literal[True] = Field(default=True, description="The record has been deleted.")
    unreadable: Literal[True] | list[str] = Field(
        default=True,
        description="The stored record cannot be read; or the paths of its values that are sealed "
        "under a key that the gateway does not have.",
    )


class StoredRecordPage(Page[StoredRecord]):
    pass


def _filter(name: str) -> Parameter:
    return Parameter(name, "query", f"Only records of this {name}.", _FILTER)


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
        permission=READ,
        parameters=(
            *map(_filter, stored.source().filters),
            *(_BY_IMPORT, _DELETED, _SIZE, CONTINUATION),
        ),
        answers={
            200: Answer(
                "A page of records.",
                {JSON: StoredRecordPage, NDJSON: str, CSV: str},
                headers("Link"),
            )
        },
        refusals=(400, 401, 403, 404, 406, 410),
    )


OPERATIONS: Final = tuple(
    _list(module.records) for module in IMPORT_MODULES.values() if module.records is not None
)
