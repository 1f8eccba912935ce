"""`/api/changes` as an operation (docs/contracts.md#7)."""

from __future__ import annotations

from typing import Any, Final

from pydantic import AwareDatetime, Field

from shared.auth.clients import Scope
from shared.auth.integrations import READ
from shared.imports.modules import IMPORT_MODULES
from shared.services.changes import CHANGE_MEANINGS, ChangeKind
from shared.web.changes import CHANGES, LARGEST_PAGE, PAGE
from shared.web.openapi.operations import JSON, Access, Answer, Operation, Parameter
from shared.web.openapi.schemas import AnswerModel, Count, ImportId

_NAMES: Final = [
    name if module.records is None else module.records.name
    for name, module in IMPORT_MODULES.items()
]
_MEANINGS: Final = " ".join(f"`{kind}`: {CHANGE_MEANINGS[kind]}" for kind in ChangeKind)
_TEXT: Final = (
    "The records that imports created, changed or deleted, import by import in the order of "
    "acceptance. Each key is there once per import. The feed stops before the oldest import that "
    "has not ended, so a reader that keeps `next` and sends it as `after` misses nothing. Read a "
    "record that was created or updated with `/api/records/{type}`; one that is not found has been "
    "deleted since. If `next` is `after`, there is nothing new yet. 410: results that are needed "
    "have expired; the message has the oldest number from which the feed can go on. Export the "
    "records then."
)


class Change(AnswerModel):
    number: Count = Field(description="The place of the import in the order of acceptance.")
    importId: ImportId
    type: str = Field(
        description="The name of the records, as in `/api/records/{type}`.",
        json_schema_extra={"enum": [*_NAMES]},
    )
    key: dict[str, Any] = Field(description="The fields that name the record, with their values.")
    change: ChangeKind = Field(description=_MEANINGS)
    at: AwareDatetime = Field(description="When the result of the rows was known, in UTC.")


class ChangePage(AnswerModel):
    items: list[Change] = Field(description="The changes of this page.")
    next: float = Field(
        description="Send it as `after`. A whole number is that of the last import whose changes "
        "have all been given; a fraction is a place inside the next import."
    )


OPERATIONS: Final = (
    Operation(
        function="changes_list",
        method="GET",
        path=CHANGES,
        summary="What imports changed",
        text=_TEXT,
        tag="Records",
        access=Access.EITHER,
        scope=Scope.READ_RECORDS,
        permission=READ,
        parameters=(
            Parameter(
                "after",
                "query",
                "`next` of the previous page; 0 begins with the first import.",
                {"type": "number", "minimum": 0, "default": 0},
            ),
            Parameter(
                "type",
                "query",
                "Only changes of these records.",
                {"type": "string", "enum": _NAMES},
            ),
            Parameter(
                "pageSize",
                "query",
                "About how many changes a page has at most. All records that one row removed are "
                "on the same page.",
                {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": PAGE},
            ),
        ),
        answers={200: Answer("A page of changes.", {JSON: ChangePage})},
        refusals=(400, 401, 403, 410),
    ),
)
