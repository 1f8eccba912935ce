"""Authentication data as operations: stage, review, process (docs/contracts.md#3)."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, Field

from shared.auth.clients import Scope
from shared.auth.integrations import import_permission
from shared.imports.authdata.batch_records import BatchState
from shared.imports.authdata.definition import AUTHDATA
from shared.web.openapi.operations import (
    CONTINUATION,
    DRY_RUN,
    FILE_BODIES,
    GUID,
    IDEMPOTENCY_KEY,
    JSON,
    PREFER,
    SHEET,
    VIEW,
    Access,
    Answer,
    Body,
    Operation,
    Parameter,
    headers,
    import_answers,
    reference,
    still_running,
)
from shared.web.openapi.schemas import AnswerModel, Count, Guid, JudgedPage

TAG: Final = "Authentication data"
HERE: Final = "/api/admin/authdata"
BATCH: Final = f"{HERE}/{{fileLogId}}"
FILE_LOG_ID: Final = "The id of the batch; left out of a call, the gateway makes one."
_ID: Final = Parameter("fileLogId", "path", "The id of the batch.", GUID, True)
_FLAG: Final = {"type": "boolean"}
_OF_A_FILE: Final = "Only where the body is a file of records; JSON has it in the body."
_FILE_OPTIONS: Final = (
    Parameter("fileLogId", "query", _OF_A_FILE, GUID),
    *(
        Parameter(name, "query", _OF_A_FILE, _FLAG)
        for name in ("validate", "allowNoAuth", "commit")
    ),
)
_Hidden = Annotated[
    Literal["***", None], Field(description="Hidden where there is a value, else null.")
]


class DuplicateValues(AnswerModel):
    employeeId: str = Field(description="The employee's id.")
    authValue1: _Hidden
    authValue2: _Hidden
    authValue3: _Hidden


class RecordFault(AnswerModel):
    line: Count = Field(description="The record's place among those that were sent, from 1.")
    value: str = Field(description="What is wrong with the record.")


class EmployeeOutcome(AnswerModel):
    Key: str = Field(description="The employee's id.")
    Value: Literal[
        "New Record",
        "Auth Value Updated",
        "Employee Id Updated",
        "Status Updated",
        "No Change",
        "Error",
    ] = Field(description="What became of the employee.")


class AuthdataAnswer(AnswerModel):
    fileLogId: Guid = Field(description=FILE_LOG_ID)
    totalNew: Count = Field(description="Employees that were not stored before.")
    totalRecords: Count = Field(description="Records that were sent.")
    totalUpdates: Count = Field(description="Employees that were changed.")
    totalErrors: Count = Field(description="Records that failed.")
    totalNoChange: Count = Field(description="Employees that already have what was sent.")
    totalEmpIdUpdate: Count = Field(description="Employees that got another id.")
    totalAuthValueChange: Count = Field(
        description="Employees whose authentication values changed."
    )
    totalStatusChange: Count = Field(description="Employees whose status changed.")
    totalDuplicates: Count = Field(
        description="Records that were left out as duplicates of another record of the batch."
    )
    duplicateAuthValues: list[DuplicateValues] = Field(
        description="Employees whose authentication values another employee has too."
    )
    thresholdExceptions: list[str] = Field(
        description="The thresholds of the tenant that the batch exceeds, as sentences."
    )
    errorDetails: list[RecordFault] = Field(description="The records that failed.")
    employeeDetails: list[EmployeeOutcome] = Field(description="What became of each employee.")


class BatchEntry(AnswerModel):
    fileLogId: Guid = Field(description="The id of the batch.")
    state: BatchState = Field(description="Only a staged batch takes records and is processed.")
    records: Count = Field(description="Records that all calls have appended.")
    openedAt: AwareDatetime = Field(description="The time of its first call.")
    changedAt: AwareDatetime = Field(description="The time of the last append or change.")
    importId: Guid | None = Field(description="The import that processes it; null before that.")
    thresholdExceptions: list[str] = Field(
        description="The thresholds that cancelled it while it was staged, as sentences."
    )


class BatchPage(AnswerModel):
    items: list[BatchEntry] = Field(
        description="The batches that are not tidied up, the oldest first; then those that are, in "
        "the order in which that was done."
    )
    continuation: str | None = Field(description="What the next page is asked for with.")


def operations(max_rows: int) -> tuple[Operation, ...]:
    """The five calls."""
    media = {**dict.fromkeys((JSON, "text/json"), _call(max_rows)), **FILE_BODIES}
    body = Body(media, "authdata.json")
    processed = import_answers("What the batch has done.", AuthdataAnswer)
    refusals = (400, 401, 403, 406, 409, 413)
    return (
        Operation(
            function="authdata_stage",
            method="POST",
            path=f"{HERE}/stage",
            summary="Stage records for review",
            text="Stages the records in a new batch, or in the batch of `fileLogId`. No employee "
            "changes before the batch is processed. The gateway hashes authentication values at "
            "once and never shows them again.",
            tag=TAG,
            access=Access.EITHER,
            scope=Scope.IMPORT_AUTHDATA,
            permission=import_permission(AUTHDATA.name),
            parameters=(*_FILE_OPTIONS, SHEET, IDEMPOTENCY_KEY, DRY_RUN, VIEW),
            body=body,
            answers={
                200: Answer(
                    "What the records of this call would do.",
                    {JSON: AuthdataAnswer | JudgedPage},
                    headers("Idempotent-Replayed"),
                )
            },
            refusals=(*refusals, 410, 415, 422),
        ),
        Operation(
            function="authdata_list",
            method="GET",
            path=HERE,
            summary="List batches",
            text="A batch that has ended is tidied up within minutes, and listed until its results "
            "expire. Processed batches are also imports of the type authdata.",
            tag=TAG,
            access=Access.EITHER,
            scope=Scope.IMPORT_AUTHDATA,
            permission=import_permission(AUTHDATA.name),
            parameters=(
                Parameter(
                    "since",
                    "query",
                    "Leaves out batches that were tidied up before this time.",
                    {"type": "string", "format": "date-time"},
                ),
                Parameter(
                    "pageSize",
                    "query",
                    "The most batches of a page.",
                    {"type": "integer", "minimum": 1, "maximum": 100, "default": 50},
                ),
                CONTINUATION,
            ),
            answers={200: Answer("A page of batches.", {JSON: BatchPage})},
            refusals=(400, 401, 403, 406),
        ),
        Operation(
            function="authdata_review",
            method="GET",
            path=BATCH,
            summary="Review a batch",
            tag=TAG,
            access=Access.EITHER,
            scope=Scope.IMPORT_AUTHDATA,
            permission=import_permission(AUTHDATA.name),
            parameters=(_ID,),
            answers={
                200: Answer(
                    "What processing the batch would do now, or what it did.",
                    {JSON: AuthdataAnswer},
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
            text="Compares the records with what is stored now, and applies them. A batch is "
            "processed once; a repeated call returns the first answer. If the batch exceeds a "
            "threshold of the tenant, nothing changes.",
            tag=TAG,
            access=Access.EITHER,
            scope=Scope.IMPORT_AUTHDATA,
            permission=import_permission(AUTHDATA.name),
            parameters=(_ID, PREFER, IDEMPOTENCY_KEY, DRY_RUN, VIEW),
            answers=processed,
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
            permission=import_permission(AUTHDATA.name),
            parameters=(*_FILE_OPTIONS, SHEET, PREFER, IDEMPOTENCY_KEY, DRY_RUN, VIEW),
            body=body,
            answers=processed,
            refusals=(*refusals, 410, 415, 422),
            message_type=AUTHDATA.name,
        ),
    )


def _call(max_rows: int) -> dict[str, Any]:
    """The body; names match in any case, unknown ones are read over."""
    flag = {"type": ["boolean", "null"]}
    return {
        "type": "object",
        "properties": {
            "fileLogId": {
                "type": ["string", "null"],
                "format": "uuid",
                "description": FILE_LOG_ID,
            },
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
            "employee": {
                "type": "array",
                "items": reference(AUTHDATA.name),
                "maxItems": max_rows,
                "description": "The records of the batch, each an employee.",
            },
        },
        "required": ["employee"],
    }
