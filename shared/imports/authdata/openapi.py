"""Authentication data as operations: stage, review, process (docs/contracts.md#3)."""

from __future__ import annotations

from typing import Any, Final

from shared.auth.clients import Scope
from shared.imports.authdata.answer import HIDDEN
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.authdata.model import EMPLOYEE_ID, VALUE_FIELDS
from shared.web.openapi.following import still_running
from shared.web.openapi.operations import (
    COUNT,
    DRY_RUN,
    GUID,
    IDEMPOTENCY_KEY,
    JSON,
    PREFER,
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
    nullable,
    reference,
)

TAG: Final = "Authentication data"
HERE: Final = "/api/admin/authdata"
BATCH: Final = f"{HERE}/{{fileLogId}}"
_ID: Final = Parameter("fileLogId", "path", "The id of the batch.", GUID, True)
_TOTALS: Final = (
    "totalNew",
    "totalRecords",
    "totalUpdates",
    "totalErrors",
    "totalNoChange",
    "totalEmpIdUpdate",
    "totalAuthValueChange",
    "totalStatusChange",
    "totalDuplicates",
)
_VALUES: Final = ("New Record", "Auth Value Updated", "Employee Id Updated", "Status Updated")


def operations(max_rows: int) -> tuple[Operation, ...]:
    """The four calls."""
    body = Body(dict.fromkeys((JSON, "text/json"), _call(max_rows)), "authdata.json")
    told = {JSON: reference("AuthdataAnswer")}
    answer = {JSON: {"oneOf": [reference("AuthdataAnswer"), reference("JudgedPage")]}}
    replayed = headers("Idempotent-Replayed")
    processed = headers("X-Import-Id", "Preference-Applied", "Idempotent-Replayed")
    running = still_running("Preference-Applied", "Idempotent-Replayed")
    refusals = (400, 401, 403, 406, 409, 413)
    return (
        Operation(
            function="authdata_stage",
            method="POST",
            path=f"{HERE}/stage",
            summary="Stage records for review",
            text="Into a new batch, or into the one of fileLogId. Nothing of the employees changes "
            "before the batch is processed. Authentication values are hashed at once and never "
            "shown again.",
            tag=TAG,
            access=Access.EITHER,
            scope=Scope.IMPORT_AUTHDATA,
            parameters=(IDEMPOTENCY_KEY, DRY_RUN, VIEW),
            body=body,
            answers={200: Answer("What the records of this call would do.", answer, replayed)},
            refusals=(*refusals, 410, 415, 422),
        ),
        Operation(
            function="authdata_review",
            method="GET",
            path=BATCH,
            summary="Review a batch",
            tag=TAG,
            access=Access.EITHER,
            scope=Scope.IMPORT_AUTHDATA,
            parameters=(_ID,),
            answers={
                200: Answer(
                    "What the whole batch would do now, or has done.",
                    told,
                    headers("X-Import-Id"),
                ),
                202: still_running(),
            },
            refusals=(400, 401, 403, 404, 406, 409, 410),
        ),
        Operation(
            function="authdata_process",
            method="POST",
            path=BATCH,
            summary="Process a staged batch",
            text="Decided again on what is stored today, once: a batch that was processed before "
            "is answered as it was then. Over a threshold of the tenant nothing is changed.",
            tag=TAG,
            access=Access.EITHER,
            scope=Scope.IMPORT_AUTHDATA,
            parameters=(_ID, PREFER, IDEMPOTENCY_KEY, DRY_RUN, VIEW),
            answers={200: Answer("What the batch has done.", answer, processed), 202: running},
            refusals=(*refusals, 404, 410, 422),
        ),
        Operation(
            function="authdata_stage_and_process",
            method="POST",
            path=HERE,
            summary="Stage and process in one call",
            tag=TAG,
            access=Access.EITHER,
            scope=Scope.IMPORT_AUTHDATA,
            parameters=(PREFER, IDEMPOTENCY_KEY, DRY_RUN, VIEW),
            body=body,
            answers={200: Answer("What the batch has done.", answer, processed), 202: running},
            refusals=(*refusals, 410, 415, 422),
            message_type=AUTHDATA.name,
        ),
    )


def shapes() -> dict[str, dict[str, Any]]:
    """The vendor's answer."""
    hidden = {"type": ["string", "null"], "enum": [HIDDEN, None]}
    duplicate = closed({EMPLOYEE_ID: TEXT, **dict.fromkeys(VALUE_FIELDS, hidden)})
    value = {"type": "string", "enum": [*_VALUES, "No Change", "Error"]}
    return {
        "AuthdataAnswer": closed(
            {
                "fileLogId": GUID,
                **dict.fromkeys(_TOTALS, COUNT),
                "duplicateAuthValues": listed(duplicate),
                "thresholdExceptions": listed(TEXT),
                "errorDetails": listed(closed({"line": COUNT, "value": TEXT})),
                "employeeDetails": listed(closed({"Key": TEXT, "Value": value})),
            }
        )
    }


def _call(max_rows: int) -> dict[str, Any]:
    """The body; names match in any case, unknown ones are read over."""
    flag = {"type": ["boolean", "null"]}
    return {
        "type": "object",
        "properties": {
            "fileLogId": nullable(GUID),
            "validate": {
                **flag,
                "default": True,
                "description": "Whether the tenant's formats are checked.",
            },
            "allowNoAuth": {
                **flag,
                "default": False,
                "description": "Whether a record may have no authentication value.",
            },
            "commit": {
                **flag,
                "default": True,
                "description": "false: the records are judged, and nothing is stored.",
            },
            "employee": {**listed(reference(AUTHDATA.name)), "maxItems": max_rows},
        },
        "required": ["employee"],
    }
