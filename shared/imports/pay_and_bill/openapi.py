"""The imports of Pay & Bill as operations (docs/contracts.md#1): one per type of that contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from shared.auth.integrations import ANY, import_permission
from shared.imports.import_type import ImportType
from shared.imports.pay_and_bill.contract import PAY_AND_BILL
from shared.imports.registry import TYPE_CATALOGUE
from shared.web.openapi.operations import (
    DRY_RUN,
    FILE_BODIES,
    IDEMPOTENCY_KEY,
    JSON,
    PREFER,
    PROFILE,
    SHEET,
    VIEW,
    Access,
    Body,
    Operation,
    Parameter,
    import_answers,
    reference,
)
from shared.web.openapi.schemas import AnswerModel, Count, Messages, component_name

TAG = PAY_AND_BILL.name


class RecordId(AnswerModel):
    field: str = Field(description="The name of a key field.")
    value: str = Field(description="Its value in the row.")


class PayAndBillRow(AnswerModel):
    recordIds: list[RecordId] = Field(
        description="The fields that name the record, as far as the row has them."
    )
    importStatus: Literal["OK", "Warning", "Error"] = Field(
        description="`Error` where a message is an Error, else `Warning` where one is a Warning, "
        "else `OK`."
    )
    errorCount: Count = Field(description="How many messages are Errors.")
    warningCount: Count = Field(description="How many messages are Warnings.")
    infoCount: Count = Field(description="How many messages are Infos.")
    messages: Messages


class PayAndBillAnswer(AnswerModel):
    results: list[PayAndBillRow] = Field(
        description="One result for each row, in the order of the payload."
    )


def operations(max_rows: int, names: Sequence[str]) -> tuple[Operation, ...]:
    """The calls that send rows of these types, and the refusal of every other type."""
    return (
        *(import_operation(TYPE_CATALOGUE.versions(name), max_rows) for name in names),
        _unknown(),
    )


def import_operation(versions: Sequence[ImportType], max_rows: int) -> Operation:
    """The call that sends rows of a type, in whichever of its versions (the lowest comes first)."""
    kind = versions[0]
    shapes_of_rows = [reference(component_name(each)) for each in versions]
    row = shapes_of_rows[0] if len(shapes_of_rows) == 1 else {"anyOf": shapes_of_rows}
    rows = {"type": "array", "items": row, "maxItems": max_rows}
    return Operation(
        function=f"import_{kind.name}",
        method="POST",
        path=f"/api/import/{kind.name}",
        summary=f"Import {kind.name}",
        text="The gateway commits each row separately. A row that fails does not affect the "
        "others, and its result says why. Property names match in any case. A property that a row "
        "leaves out keeps its stored value; null or blank clears it. The gateway reads the body as "
        "JSON, unless `Content-Type` names CSV, NDJSON or a spreadsheet, and answers in JSON, "
        "whatever `Accept` says. `Content-Encoding` may be gzip.",
        tag=TAG,
        access=Access.KEY_PAIR,
        permission=import_permission(kind.name),
        parameters=(_version(versions), SHEET, PROFILE, PREFER, IDEMPOTENCY_KEY, DRY_RUN, VIEW),
        body=Body({**dict.fromkeys((JSON, "text/json"), rows), **FILE_BODIES}, f"{kind.name}.json"),
        answers=import_answers("Every row's result, in the order sent.", PayAndBillAnswer),
        refusals=(400, 401, 403, 410, 413, 415, 422, 501),
        message_type=kind.name,
    )


def _version(versions: Sequence[ImportType]) -> Parameter:
    numbers = [kind.version for kind in versions]
    schema = {"type": "integer", "enum": numbers, "default": numbers[0]}
    text = "The version of the message type; the lowest one if it is left out."
    return Parameter("version", "query", text, schema)


def _unknown() -> Operation:
    return Operation(
        function="import_zz_unknown_type",
        method="POST",
        path="/api/import/{messageType}",
        summary="Any other message type",
        text="The gateway has no such type. The answer names the types that it has.",
        tag=TAG,
        access=Access.KEY_PAIR,
        permission=ANY,
        parameters=(
            Parameter(
                "messageType",
                "path",
                "A name that is none of the message types.",
                {"type": "string", "pattern": "^x-[a-z]{1,40}$"},
                True,
            ),
        ),
        answers={},
        refusals=(401, 403, 501),
    )
