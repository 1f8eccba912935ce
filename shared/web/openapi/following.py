"""`/api/imports…` as operations (docs/contracts.md#5)."""

from __future__ import annotations

from collections.abc import Iterable
from types import UnionType
from typing import Any, Final, get_args

from shared.auth.integrations import ANY, OPERATE
from shared.imports.messages import Severity
from shared.imports.registry import IMPORT_TYPES, MESSAGE_CATALOGUE
from shared.imports.results import Outcome
from shared.services.status import ImportState
from shared.web.openapi.operations import (
    CONTINUATION,
    DRY_RUN,
    FILE_BODIES,
    IDEMPOTENCY_KEY,
    IMPORT_ID,
    JSON,
    PAGE_SIZE,
    PREFER,
    SHEET,
    VIEW,
    Access,
    Answer,
    Body,
    Operation,
    Parameter,
    headers,
    still_running,
)
from shared.web.openapi.schemas import (
    Content,
    CorrectedRow,
    FailedRow,
    Import,
    ImportPage,
    JudgedPage,
    JudgedUndo,
    MessageGroups,
    ResultPage,
    UnmappedValues,
)

TAG = "Imports"


def _choice(name: str, text: str, values: Any) -> Parameter:
    return Parameter(name, "query", text, {"type": "string", "enum": [*values]})


def _severity(text: str) -> Parameter:
    return _choice("severity", text, (severity.value.lower() for severity in Severity))


_OF_MESSAGES: Final = (
    Parameter(
        "errorID",
        "query",
        "Only rows with a message of this id.",
        {"type": "integer", "enum": [*MESSAGE_CATALOGUE]},
    ),
    Parameter(
        "fieldName",
        "query",
        "Only rows with a message about this field. With `errorID`, one message must have both.",
        {"type": "string"},
    ),
)
_ONLY_IF_ALL: Final = Parameter(
    "onlyIfAll",
    "query",
    "`true`: the gateway judges all rows first, and answers 409 and undoes nothing unless each row "
    "can be reversed.",
    {"type": "boolean", "default": False},
)
_READING: Final = (
    Operation(
        function="imports_list",
        method="GET",
        path="/api/imports",
        summary="The tenant's imports, newest first",
        tag=TAG,
        access=Access.EITHER,
        permission=ANY,
        parameters=(
            _choice("type", "Only imports of this type.", IMPORT_TYPES),
            _choice("state", "Only imports in this state.", (s.value for s in ImportState)),
            Parameter(
                "caller",
                "query",
                "Only imports of this caller: the software key, the id of the client, or another "
                "name that `caller` of an import has. A retry belongs to the caller that asked for "
                "it.",
                {"type": "string"},
            ),
            PAGE_SIZE,
            CONTINUATION,
        ),
        answers={200: Answer("A page of imports.", {JSON: ImportPage})},
        refusals=(400, 401, 403),
    ),
    Operation(
        function="imports_show",
        method="GET",
        path="/api/imports/{importId}",
        summary="One import",
        tag=TAG,
        access=Access.EITHER,
        permission=ANY,
        parameters=(IMPORT_ID,),
        answers={200: Answer("The import in its present state.", {JSON: Import})},
        refusals=(401, 403, 404),
    ),
    Operation(
        function="imports_results",
        method="GET",
        path="/api/imports/{importId}/results",
        summary="What became of each row",
        text="In the order of processing, in which rows with the same key follow each other. "
        "`index` is the place of the row in the payload.",
        tag=TAG,
        access=Access.EITHER,
        permission=ANY,
        parameters=(
            IMPORT_ID,
            _choice("outcome", "Only rows with this outcome.", (o.value for o in Outcome)),
            _severity("Only rows with a message of this severity."),
            *_OF_MESSAGES,
            PAGE_SIZE,
            CONTINUATION,
        ),
        answers={200: Answer("A page of results.", {JSON: ResultPage})},
        refusals=(400, 401, 403, 404, 410),
    ),
    Operation(
        function="imports_failures",
        method="GET",
        path="/api/imports/{importId}/failures",
        summary="The messages of the rows, in groups",
        text="A group has all messages with the same id about the same field. Errors come first, "
        "then warnings, then infos; within each, the largest groups first.",
        tag=TAG,
        access=Access.EITHER,
        permission=ANY,
        parameters=(IMPORT_ID, _severity("Only messages of this severity.")),
        answers={200: Answer("The groups, all on one page.", {JSON: MessageGroups})},
        refusals=(400, 401, 403, 404, 410),
    ),
    Operation(
        function="imports_unmapped",
        method="GET",
        path="/api/imports/{importId}/unmapped",
        summary="The values that the mapping profile has no entry for",
        text="The distinct values of the rows that failed with 1010, with their counts. There are "
        "none for an import without a profile.",
        tag=TAG,
        access=Access.EITHER,
        permission=ANY,
        parameters=(IMPORT_ID,),
        answers={200: Answer("The values, all on one page.", {JSON: UnmappedValues})},
        refusals=(400, 401, 403, 404, 410),
    ),
)

_FAILURES_AND_CHANGES: Final = (
    Operation(
        function="imports_failed_rows",
        method="GET",
        path="/api/imports/{importId}/failed-rows",
        summary="The failed rows that no retry has imported yet, as they were sent, with messages",
        text="As JSON, to be corrected and sent to `retry`, or as CSV for people. In the CSV, a "
        "text that a spreadsheet would evaluate as a formula starts with an apostrophe. Without a "
        "query the answer has all rows. With one it is a page of JSON, and `Link` has the address "
        "of the next page.",
        tag=TAG,
        access=Access.EITHER,
        permission=ANY,
        parameters=(IMPORT_ID, *_OF_MESSAGES, PAGE_SIZE, CONTINUATION),
        answers={
            200: Answer(
                "The rows, in the order of processing.",
                {JSON: list[FailedRow], "text/csv": str},
                headers("X-Import-Id", "Link"),
            )
        },
        refusals=(400, 401, 403, 404, 406, 410),
    ),
    Operation(
        function="imports_retry",
        method="POST",
        path="/api/imports/{importId}/retry",
        summary="Send the failed rows again, as they were or corrected",
        text="Creates a child import, with its own place in the order. The body is optional: it "
        "has corrected rows by index, in the form of `failed-rows`, also as CSV, NDJSON or a "
        "spreadsheet. An uncorrected row fails with "
        "1101 if a later import has changed its record; a corrected row does not. Retries of the "
        "import that the row comes from do not count as later imports. Rows that an earlier retry "
        "has imported are not sent again: the answer is 400 if the body has one of them, and 409 "
        "if no other failed row is left. The rows that the child imports are counted in "
        "`rows.repaired` of its parent, and of the imports above that.",
        tag=TAG,
        access=Access.EITHER,
        permission=OPERATE,
        parameters=(IMPORT_ID, SHEET, PREFER, IDEMPOTENCY_KEY),
        body=Body({JSON: list[CorrectedRow], **FILE_BODIES}, is_required=False),
        answers={
            200: Answer(
                "The child import, ended.",
                {JSON: Import},
                headers("X-Import-Id", "Location", "Preference-Applied", "Idempotent-Replayed"),
            ),
            202: still_running("Preference-Applied", "Idempotent-Replayed"),
        },
        refusals=(400, 401, 403, 404, 406, 409, 410, 413, 415, 422, 501),
    ),
    Operation(
        function="imports_undo",
        method="POST",
        path="/api/imports/{importId}/undo",
        summary="Undo an import",
        text="Creates a child import, with its own place in the order. It has a row for each row "
        "of the import that took effect. A record that the import created is deleted, one that it "
        "changed gets its former values, and one that it deleted is there again. A row fails, and "
        "its record stays as it is, if a later import has changed the record (1104), if a stored "
        "record refers to it (1105), or if its former values are not kept (1106). The answer is "
        "409 if the import is open, if no row of it took effect, or if it has been undone already. "
        "An undo can be undone.",
        tag=TAG,
        access=Access.EITHER,
        permission=OPERATE,
        parameters=(IMPORT_ID, PREFER, IDEMPOTENCY_KEY, DRY_RUN, VIEW, _ONLY_IF_ALL),
        answers={
            200: Answer(
                "The child import, ended; or what a dry run says.",
                {JSON: Import | JudgedUndo | JudgedPage},
                headers("X-Import-Id", "Location", "Preference-Applied", "Idempotent-Replayed"),
            ),
            202: still_running("Preference-Applied", "Idempotent-Replayed"),
        },
        refusals=(400, 401, 403, 404, 406, 409, 410, 413, 422, 501),
    ),
    Operation(
        function="imports_cancel",
        method="POST",
        path="/api/imports/{importId}/cancel",
        summary="Stop an import",
        text="Rows that are committed stay. All other rows fail with 9002.",
        tag=TAG,
        access=Access.EITHER,
        permission=OPERATE,
        parameters=(IMPORT_ID, PREFER),
        answers={
            200: Answer(
                "The import, ended.",
                {JSON: Import},
                headers("X-Import-Id", "Location", "Preference-Applied"),
            ),
            202: still_running("Preference-Applied"),
        },
        refusals=(401, 403, 404, 406, 409),
    ),
)


def operations(calls: Iterable[Operation]) -> tuple[Operation, ...]:
    """Everything that follows an import, and what changes it; `calls` make imports."""
    return (*_READING, _answer(calls), *_FAILURES_AND_CHANGES)


def _answer(calls: Iterable[Operation]) -> Operation:
    imports = [call for call in calls if call.message_type]
    return Operation(
        function="imports_answer",
        method="GET",
        path="/api/imports/{importId}/answer",
        summary="The vendor's answer, as the call itself would have given it",
        tag=TAG,
        access=Access.EITHER,
        permission=ANY,
        parameters=(IMPORT_ID,),
        answers={
            200: Answer(
                "The answer that the call gave, or would have given if it had waited.",
                _all_media(imports, 200),
                headers("X-Import-Id"),
            ),
            202: Answer(still_running().text, _all_media(imports, 202), still_running().headers),
        },
        refusals=(401, 403, 404, 406, 410),
    )


def _all_media(calls: Iterable[Operation], status: int) -> dict[str, Content]:
    """Every media type that the calls answer with, and every content that it may have."""
    content_by_media: dict[str, Content] = {}
    for call in calls:
        answer = call.answers.get(status)
        for media, content in answer.media.items() if answer else ():
            for one in get_args(content) if isinstance(content, UnionType) else (content,):
                # A dry run is answered by the call itself, never later.
                if one is not JudgedPage:
                    content_by_media[media] = (
                        content_by_media[media] | one if media in content_by_media else one
                    )
    return content_by_media
