"""The shapes that several operations share, as components of the document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from shared.imports.catalogue_entry import Severity
from shared.imports.outcomes import Outcome
from shared.services.reporting import ImportState

JSON: Final = "application/json"
GUID: Final = {"type": "string", "format": "uuid"}
TEXT: Final = {"type": "string"}
COUNT: Final = {"type": "integer", "minimum": 0}
_ROW: Final = {"type": "object", "description": "A row as it is sent to its endpoint."}
MOMENT: Final = {"type": "string", "format": "date-time"}


def reference(name: str) -> dict[str, Any]:
    """A reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def listed(item: Mapping[str, Any]) -> dict[str, Any]:
    """An array of these."""
    return {"type": "array", "items": item}


def closed(properties: Mapping[str, Any], *, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """An object with these properties and no others; all but the optional ones are always there."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def nullable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The same, or null."""
    return {**schema, "type": [schema["type"], "null"]}


def page_of(item: str) -> dict[str, Any]:
    """A page of a list; `continuation` is null on the last one."""
    return closed({"items": listed(reference(item)), "continuation": nullable(TEXT)})


def shared_shapes() -> dict[str, dict[str, Any]]:
    """Every component that belongs to no single area, by name."""
    return {
        "Refusal": closed({"message": TEXT}),
        "Message": _message(),
        "Result": _result(),
        "ResultPage": page_of("Result"),
        "JudgedRow": _judged_row(),
        "JudgedPage": closed(
            {"dryRun": {"const": True}, **page_of("JudgedRow")["properties"]},
        ),
        "MessageGroup": _message_group(),
        "MessageGroups": closed(
            {
                "items": listed(reference("MessageGroup")),
                "leftOut": {**COUNT, "description": "Messages that are in none of the groups."},
                "continuation": {"type": "null"},
            }
        ),
        "FailedRow": _failed_row(),
        "CorrectedRow": _corrected_row(),
        "Import": _import(),
        "ImportPage": page_of("Import"),
        "CatalogueEntry": closed(
            {"errorID": COUNT, "messageType": _severity(), "message": TEXT, "advice": TEXT}
        ),
        "Catalogue": closed({"errors": listed(reference("CatalogueEntry"))}),
    }


def _severity() -> dict[str, Any]:
    return {"type": "string", "enum": [severity.value for severity in Severity]}


def _message() -> dict[str, Any]:
    properties = {
        "messageType": _severity(),
        "message": TEXT,
        "fieldName": {**TEXT, "description": "The path of the field."},
        "fieldValue": {**TEXT, "description": "What was sent; left out for secret fields."},
        "errorID": {**COUNT, "description": "One of /api/errors."},
    }
    return closed(properties, optional=("fieldName", "fieldValue"))


def _message_group() -> dict[str, Any]:
    indexes = {**listed(COUNT), "description": "The first rows, by their index in the payload."}
    return closed(
        {
            "messageType": _severity(),
            "errorID": {**COUNT, "description": "One of /api/errors."},
            "message": TEXT,
            "advice": TEXT,
            "fieldName": {**TEXT, "description": "The path of the field."},
            "count": {**COUNT, "description": "How many messages the group has."},
            "firstIndexes": indexes,
        },
        optional=("fieldName",),
    )


def _result() -> dict[str, Any]:
    return closed(
        {
            "index": {**COUNT, "description": "The row's place in the payload, from 0."},
            "key": {"type": "object", "additionalProperties": TEXT},
            "outcome": {"type": "string", "enum": [outcome.value for outcome in Outcome]},
            "messages": listed(reference("Message")),
        }
    )


def _judged_row() -> dict[str, Any]:
    change = {
        "field": {**TEXT, "description": "The path of the field."},
        "before": {"description": "What is stored, null where nothing is; `***` if secret."},
        "after": {"description": "What would be stored."},
    }
    result: dict[str, Any] = _result()["properties"]
    return closed({**result, "changes": listed(closed(change))})


def _failed_row() -> dict[str, Any]:
    return closed(
        {
            "index": {**COUNT, "description": "The row's place in the payload, from 0."},
            "row": _ROW,
            "messages": listed(reference("Message")),
        }
    )


def _corrected_row() -> dict[str, Any]:
    """Other properties are read over, so that a failed row can be sent back as it is."""
    return {
        "type": "object",
        "properties": {"index": {**COUNT, "description": "That of the failed row."}, "row": _ROW},
        "required": ["index", "row"],
    }


def _import() -> dict[str, Any]:
    names = (
        *("total", "done", "new", "updated", "unchanged", "failed", "repaired"),
        *("warnings", "infos", "cancelled"),
    )
    counts = dict.fromkeys(names, COUNT) | {
        "repaired": {
            **COUNT,
            "description": "Failed rows that its retries, or retries of them, brought in since.",
        },
    }
    return closed(
        {
            "importId": GUID,
            "type": TEXT,
            "state": {"type": "string", "enum": [state.value for state in ImportState]},
            "rows": closed(counts, optional=("cancelled",)),
            "rowsPerSecond": {"type": ["number", "null"], "minimum": 0},
            "secondsLeft": nullable(COUNT),
            "acceptedAt": MOMENT,
            "endedAt": nullable(MOMENT),
            "parentId": nullable(GUID),
            "childIds": {**listed(GUID), "description": "Its retries, in order."},
            "links": {"type": "object", "additionalProperties": TEXT},
        }
    )
