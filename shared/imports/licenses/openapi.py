"""The import, the deletion and the export of licenses as operations (docs/contracts.md#2)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from pydantic import Field

from shared.auth.integrations import READ, import_permission
from shared.imports.licenses.actions import IMPORT_ACTIONS, LicenseAction
from shared.imports.licenses.definition import LICENSES
from shared.web.openapi.operations import (
    DRY_RUN,
    FILE_BODIES,
    IDEMPOTENCY_KEY,
    JSON,
    PREFER,
    PROFILE,
    SHEET,
    TEXT,
    VIEW,
    Access,
    Answer,
    Body,
    Operation,
    Parameter,
    import_answers,
    reference,
)
from shared.web.openapi.schemas import AnswerModel, Count, Index

TAG: Final = "Viventium"
PATH: Final = LICENSES.address
OF_DIVISION: Final = "/v1/export/companies/{companyCode}/divisions/{divisionCode}/employee-licenses"
OF_EMPLOYEE: Final = (
    "/v1/export/companies/{companyCode}/divisions/{divisionCode}"
    "/employees/{employeeNumber}/licenses"
)
_OF_ADDRESS: Final = ("companyCode", "divisionCode", "employeeNumber")
FORM: Final = "application/x-www-form-urlencoded"
_REFUSALS = (400, 401, 403, 406, 409, 410, 413, 415, 422, 501)
_SHARED = (PROFILE, SHEET, PREFER, IDEMPOTENCY_KEY, DRY_RUN, VIEW)
_JSONS = (JSON, "text/json")
_XMLS = ("application/xml", "text/xml")


class PropertyFault(AnswerModel):
    propertyName: str = Field(
        description="The property; empty where a message is about the whole row."
    )
    arrayIndex: Count = Field(
        default=0, description="The place in the list that the property is in, from 0."
    )
    errorMessages: list[str] = Field(description="What is wrong with the property, and what to do.")


class LicenseError(AnswerModel):
    index: Index
    details: list[PropertyFault] = Field(description="What is wrong with the row, by property.")


class LicenseKey(AnswerModel):
    index: Index
    key: str = Field(description="The license's key.")


class LicensesAnswer(AnswerModel):
    newRecords: Count = Field(description="How many licenses were created.")
    updatedRecords: Count = Field(description="How many licenses were changed.")
    errors: list[LicenseError] = Field(description="The rows that failed.")
    newRecordKeys: list[LicenseKey] = Field(
        description="The licenses that were created, with their rows."
    )
    updatedRecordKeys: list[LicenseKey] = Field(
        description="The licenses that were changed, with their rows."
    )
    importKey: str = Field(description="The import's id, or <empty>.")


def operations(max_rows: int) -> tuple[Operation, ...]:
    """The import, the deletion under both its addresses, and the exports."""
    return (
        _import(max_rows),
        _deletion(max_rows, "licenses_delete", "DELETE", PATH),
        _deletion(max_rows, "licenses_delete_by_post", "POST", f"{PATH}/delete"),
        _export("licenses_export_division", OF_DIVISION, "The licenses of a division"),
        _export("licenses_export_employee", OF_EMPLOYEE, "The licenses of an employee"),
    )


def _import(max_rows: int) -> Operation:
    actions = {"type": "string", "enum": [*IMPORT_ACTIONS], "default": LicenseAction.OVERRIDE.value}
    return Operation(
        function="licenses_import",
        method="POST",
        path=PATH,
        summary="Import licenses",
        text="The gateway finds a stored license by its key, else by employee, type and number. "
        "Send the rows as JSON, as the vendor's XML, or as a form with names like "
        "`[0].companyCode`. `Accept` chooses between JSON and XML for the answer; without it, the "
        "answer has the type of the request (JSON for a form). With Update and Merge, null counts "
        "as left out, and an empty text clears the field.",
        tag=TAG,
        access=Access.KEY_PAIR,
        permission=import_permission(LICENSES.name),
        parameters=(
            Parameter(
                "importAction",
                "query",
                "What to do with licenses that are already stored.",
                actions,
            ),
            Parameter(
                "allowSameFile",
                "query",
                "`false`: the gateway refuses a body that was imported before, with any "
                "importAction, if that import is still running or ended without errors.",
                {"type": "boolean", "default": True},
            ),
            *_SHARED,
        ),
        body=_body(max_rows, f"{LICENSES.name}.json"),
        answers=_answers(),
        refusals=_REFUSALS,
        refusal_media=_XMLS,
        message_type=LICENSES.name,
    )


def _export(function: str, path: str, summary: str) -> Operation:
    names = [name for name in _OF_ADDRESS if f"{{{name}}}" in path]
    return Operation(
        function=function,
        method="GET",
        path=path,
        summary=summary,
        text="The licenses in the shape of the import, as JSON or XML by `Accept`. A field that a "
        "license does not have is left out. Documents have the SHA-256 of their content instead of "
        "the content. 413: there are more licenses than one answer holds; read "
        "`/api/records/licenses` in pages.",
        tag=TAG,
        access=Access.KEY_PAIR,
        permission=READ,
        parameters=tuple(
            Parameter(name, "path", f"The {name} of the licenses.", TEXT, True) for name in names
        ),
        answers={
            200: Answer(
                "The licenses, in order of employee and key.",
                {**dict.fromkeys(_JSONS, list[dict[str, Any]]), **dict.fromkeys(_XMLS, str)},
            )
        },
        refusals=(400, 401, 403, 406, 413),
        refusal_media=_XMLS,
    )


def _deletion(max_rows: int, function: str, method: str, path: str) -> Operation:
    return Operation(
        function=function,
        method=method,
        path=path,
        summary="Delete licenses",
        text="Each row names a license by its key, or by employee, type and number. The answer "
        "lists deleted licenses as updated.",
        tag=TAG,
        access=Access.KEY_PAIR,
        permission=import_permission(LICENSES.name),
        parameters=_SHARED,
        body=_body(max_rows),
        answers=_answers(),
        refusals=_REFUSALS,
        refusal_media=_XMLS,
    )


def _body(max_rows: int, sample: str = "") -> Body:
    rows = {"type": "array", "items": reference(LICENSES.name), "maxItems": max_rows}
    return Body(
        {**dict.fromkeys(_JSONS, rows), **dict.fromkeys((*_XMLS, FORM), str), **FILE_BODIES}, sample
    )


def _answers() -> dict[int, Answer]:
    """The answers to imports, in every media type that `Accept` can name."""
    answers = import_answers(
        "What became of the rows. Each row is in one of the three lists.", LicensesAnswer
    )
    return {
        status: replace(
            answer, media={**dict.fromkeys(_JSONS, answer.media[JSON]), **dict.fromkeys(_XMLS, str)}
        )
        for status, answer in answers.items()
    }
