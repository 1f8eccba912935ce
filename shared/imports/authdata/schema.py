"""What is known of authentication data as an import type; its work is decided batch by batch.

The rows of an import are staged records: ids, status, hashes (`AuthRecord.pack`). What a caller
sends is described by the schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.imports.authdata.model import EMPLOYEE_ID, EMPLOYEE_STATUS, FIELDS, MOST_CHARACTERS
from shared.imports.import_type import RowKey, Rules

_TITLES = {
    EMPLOYEE_ID: "Which employee; required.",
    EMPLOYEE_STATUS: "The status of the employment; what is stored stays where it is left out.",
}
_VALUE = "A value that the employee is known by. It is hashed at once, and never shown again."


def _identify(row: Mapping[str, Any]) -> RowKey | None:
    """The employee of a staged record whose names are in lower case."""
    employee_id = row.get(EMPLOYEE_ID.lower())
    return RowKey("", employee_id) if isinstance(employee_id, str) else None


def _shown(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Ids and status; what stands for the values is for nobody (docs/contracts.md#3, secrets)."""
    return {name: row[name] for name in (EMPLOYEE_ID, EMPLOYEE_STATUS) if name in row}


def _json_schema() -> dict[str, Any]:
    """One record as a caller sends it."""
    properties = {
        name: {
            "type": ["string", "null"],
            "maxLength": MOST_CHARACTERS[name],
            "description": _TITLES.get(name, _VALUE),
        }
        for name in FIELDS
    }
    properties[EMPLOYEE_ID]["type"] = "string"
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Authentication data v1",
        "type": "object",
        "properties": properties,
        "required": [EMPLOYEE_ID],
    }


RULES = Rules(
    key_fields=(EMPLOYEE_ID,),
    record_id_fields=(EMPLOYEE_ID,),
    identify=_identify,
    json_schema=_json_schema,
    shown=_shown,
)
