"""What the import of authentication data hands over to the gateway.

Its rows are worked on and retried by services of its own (`shared.app`), which batches need too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.imports.authdata.definition import AUTHDATA
from shared.imports.import_type_module import (
    ImportTypeModule,
    OpenApiArea,
    StoredRecords,
    when_ended,
)

if TYPE_CHECKING:
    import azure.functions as func

    from shared.gateway import Gateway
    from shared.imports.import_type import Document
    from shared.services.record_repair import StoredShape
    from shared.services.records.sources import RecordSource
    from shared.storage.import_records import ImportRecord


async def _answer(gateway: Gateway, record: ImportRecord) -> func.HttpResponse:
    from shared.web.authdata import authdata_answer

    return await authdata_answer(gateway, record)


def _openapi_area() -> OpenApiArea:
    from shared.web.openapi import authdata

    return OpenApiArea(lambda limits, _names: authdata.operations(limits.rows), authdata.shapes)


def _stored_shape() -> StoredShape:
    from shared.imports.authdata.model import Employee
    from shared.services.record_repair import StoredShape

    def lookups(document: Document) -> tuple[str, ...]:
        triple = Employee.of(document).triple
        return () if triple is None else (triple,)

    def columns(document: Document) -> dict[str, str]:
        employee = Employee.of(document)
        return {"EmployeeId": employee.employee_id, "EmployeeStatus": employee.status or ""}

    return StoredShape(Employee.of, lookups, columns)


def _records() -> RecordSource:
    from shared.services.authdata.records import EmployeeRecords

    return EmployeeRecords()


MODULE = ImportTypeModule(
    definition=AUTHDATA,
    answer=when_ended(_answer),
    openapi_area=_openapi_area,
    stored_shape=_stored_shape,
    records=StoredRecords("employees", _records, are_renamed=True),
)
