"""The import and the deletion of licenses as operations (docs/contracts.md#2)."""

from __future__ import annotations

from typing import Any, Final

from shared.imports.licenses.actions import IMPORT_ACTIONS, LicenseAction
from shared.imports.licenses.definition import LICENSES
from shared.web.openapi.following import still_running
from shared.web.openapi.operations import (
    COUNT,
    DRY_RUN,
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
    reference,
)

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
_SHARED = (PREFER, IDEMPOTENCY_KEY, DRY_RUN, VIEW)
_JSONS = (JSON, "text/json")
_XMLS = ("application/xml", "text/xml")


def operations(max_rows: int) -> tuple[Operation, ...]:
    """The import, and the deletion under both its addresses."""
    return (
        _import(max_rows),
        _deletion(max_rows, "licenses_delete", "DELETE", PATH),
        _deletion(max_rows, "licenses_delete_by_post", "POST", f"{PATH}/delete"),
        _export("licenses_export_division", OF_DIVISION, "The licenses of a division"),
        _export("licenses_export_employee", OF_EMPLOYEE, "The licenses of an employee"),
    )


def shapes() -> dict[str, dict[str, Any]]:
    """The vendor's answer."""
    detail = closed(
        {"propertyName": TEXT, "arrayIndex": COUNT, "errorMessages": listed(TEXT)},
        optional=("arrayIndex",),
    )
    key = closed({"index": COUNT, "key": TEXT})
    return {
        "LicensesAnswer": closed(
            {
                "newRecords": COUNT,
                "updatedRecords": COUNT,
                "errors": listed(closed({"index": COUNT, "details": listed(detail)})),
                "newRecordKeys": listed(key),
                "updatedRecordKeys": listed(key),
                "importKey": {**TEXT, "description": "The import's id, or <empty>."},
            }
        ),
    }


def _import(max_rows: int) -> Operation:
    actions = {"type": "string", "enum": [*IMPORT_ACTIONS], "default": LicenseAction.OVERRIDE.value}
    return Operation(
        function="licenses_import",
        method="POST",
        path=PATH,
        summary="Import licenses",
        text="A license is found by its key, else by employee, type and number. As JSON, as the "
        "vendor's XML, or as a form with names like `[0].companyCode`; answered as JSON or XML by "
        "`Accept`, without it in the type of the request (a form as JSON). Under Update and Merge "
        "null says nothing, and an empty text clears.",
        tag=TAG,
        access=Access.KEY_PAIR,
        parameters=(
            Parameter(
                "importAction",
                "query",
                "What to do with licenses that are stored already.",
                actions,
            ),
            Parameter(
                "allowSameFile",
                "query",
                "`false` refuses a body that was imported before, whatever its importAction, while "
                "that import runs or where it ended without errors.",
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
        text="Licenses in the shape in which they are imported, as JSON or XML by `Accept`; a "
        "field that a license does not have is left out. Documents come without content, with the "
        "SHA-256 of it. More than one answer holds is 413: read `/api/records/licenses` in pages.",
        tag=TAG,
        access=Access.KEY_PAIR,
        parameters=tuple(
            Parameter(name, "path", f"The {name} of the licenses.", TEXT, True) for name in names
        ),
        answers={
            200: Answer(
                "The licenses, in order of employee and key.",
                {
                    **dict.fromkeys(_JSONS, listed({"type": "object"})),
                    **dict.fromkeys(_XMLS, TEXT),
                },
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
        text="Each row names a license by its key, or by employee, type and number; deleted "
        "licenses are listed as updated.",
        tag=TAG,
        access=Access.KEY_PAIR,
        parameters=_SHARED,
        body=_body(max_rows),
        answers=_answers(),
        refusals=_REFUSALS,
        refusal_media=_XMLS,
    )


def _body(max_rows: int, sample: str = "") -> Body:
    rows = {**listed(reference(LICENSES.name)), "maxItems": max_rows}
    return Body({**dict.fromkeys(_JSONS, rows), **dict.fromkeys((*_XMLS, FORM), TEXT)}, sample)


def _answers() -> dict[int, Answer]:
    answer = {"oneOf": [reference("LicensesAnswer"), reference("JudgedPage")]}
    running = still_running("Preference-Applied", "Idempotent-Replayed")
    return {
        200: Answer(
            "What became of the rows; each is in one of the three lists.",
            {**dict.fromkeys(_JSONS, answer), **dict.fromkeys(_XMLS, TEXT)},
            headers("X-Import-Id", "Preference-Applied", "Idempotent-Replayed"),
        ),
        202: Answer(
            running.text,
            {**dict.fromkeys(_JSONS, reference("Import")), **dict.fromkeys(_XMLS, TEXT)},
            running.headers,
        ),
    }
