"""`/api/changes` as an operation (docs/contracts.md#7)."""

from __future__ import annotations

from typing import Any, Final

from shared.auth.clients import Scope
from shared.imports.modules import IMPORT_MODULES
from shared.services.changes import CHANGE_MEANINGS, ChangeKind
from shared.web.changes import CHANGES, LARGEST_PAGE, PAGE
from shared.web.openapi.operations import (
    GUID,
    JSON,
    MOMENT,
    Access,
    Answer,
    Operation,
    Parameter,
    closed,
    listed,
    reference,
)

_NAMES: Final = [
    name if module.records is None else module.records.name
    for name, module in IMPORT_MODULES.items()
]
_TEXT: Final = (
    "Import by import, in order of acceptance, the records that came new, changed or went; each "
    "key once per import. The feed never goes past the oldest import that is still open, so a "
    "reader that keeps `next` and sends it as `after` misses nothing. Read a record that was "
    "created or updated with `/api/records/{type}`; one that is not found has been deleted since. "
    "Where `next` is `after` there is nothing new yet. 410: results that are needed have expired; "
    "the message has the oldest number from which the feed can go on. Export the records then."
)


def operations() -> tuple[Operation, ...]:
    """The feed."""
    return (
        Operation(
            function="changes_list",
            method="GET",
            path=CHANGES,
            summary="What imports changed",
            text=_TEXT,
            tag="Records",
            access=Access.EITHER,
            scope=Scope.READ_RECORDS,
            parameters=(
                Parameter(
                    "after",
                    "query",
                    "`next` of the page before; 0 begins with the first import.",
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
                    "About how many changes a page has at most. A row that removed several "
                    "records is not cut in two.",
                    {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": PAGE},
                ),
            ),
            answers={200: Answer("A page of changes.", {JSON: reference("ChangePage")})},
            refusals=(400, 401, 403, 410),
        ),
    )


def shapes() -> dict[str, dict[str, Any]]:
    """A change, and a page of them."""
    meanings = " ".join(f"{kind}: {CHANGE_MEANINGS[kind]}" for kind in ChangeKind)
    return {
        "Change": closed(
            {
                "number": {
                    "type": "integer",
                    "description": "The place of the import in the order of acceptance.",
                },
                "importId": GUID,
                "type": {"enum": _NAMES},
                "key": {
                    "type": "object",
                    "description": "The fields that name the record, with their values.",
                },
                "change": {"enum": [kind.value for kind in ChangeKind], "description": meanings},
                "at": {**MOMENT, "description": "When the result of the rows was known."},
            }
        ),
        "ChangePage": closed(
            {
                "items": listed(reference("Change")),
                "next": {
                    "type": "number",
                    "description": "Send it as `after`. A whole number is that of the last import "
                    "that was given whole; a fraction is a place inside the next import.",
                },
            }
        ),
    }
