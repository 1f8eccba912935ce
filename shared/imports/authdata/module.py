"""The hooks of the import of authentication data.

Its own services (`shared.imports.authdata.services`), which batches need too, process and retry its
rows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from shared.imports.authdata.definition import AUTHDATA
from shared.imports.import_type_module import ImportTypeModule, StoredRecords, when_ended

if TYPE_CHECKING:
    import azure.functions as func

    from shared.gateway import Gateway
    from shared.imports.import_type import Document
    from shared.services.persons.search import PersonSource
    from shared.services.record_repair import BrokenEntry, RepairContext, StoredShape
    from shared.services.records.sources import RecordSource
    from shared.services.row_processor import ProcessorContext, RowProcessor
    from shared.storage.import_records import ImportRecord
    from shared.web.openapi.operations import Limits, Operation


async def _answer(gateway: Gateway, record: ImportRecord) -> func.HttpResponse:
    from shared.imports.authdata.http import authdata_answer

    return await authdata_answer(gateway, record)


def _describe_calls(limits: Limits, _names: Sequence[str]) -> Sequence[Operation]:
    from shared.imports.authdata import openapi

    return openapi.operations(limits.rows)


def _stored_shape() -> StoredShape:
    from shared.imports.authdata.model import Employee
    from shared.services.record_repair import StoredShape

    def lookups(document: Document) -> tuple[str, ...]:
        triple = Employee.from_document(document).triple
        return () if triple is None else (triple,)

    def columns(document: Document) -> dict[str, str]:
        employee = Employee.from_document(document)
        return {"EmployeeId": employee.employee_id, "EmployeeStatus": employee.status or ""}

    return StoredShape(Employee.from_document, lookups, columns)


def _make_undo_processor(context: ProcessorContext) -> RowProcessor:
    from shared.imports.authdata.undo_processor import AuthdataUndoProcessor

    return AuthdataUndoProcessor(context)


def _find_broken(context: RepairContext, tenant: str) -> AsyncIterator[BrokenEntry]:
    from shared.imports.authdata.store import find_broken_batches

    return find_broken_batches(context, tenant)


def _records() -> RecordSource:
    from shared.imports.authdata.records import EmployeeRecords

    return EmployeeRecords()


def _person() -> PersonSource:
    from shared.imports.authdata.person import AuthdataPerson

    return AuthdataPerson()


MODULE = ImportTypeModule(
    person=_person,
    definition=AUTHDATA,
    answer=when_ended(_answer),
    describe_calls=_describe_calls,
    make_undo_processor=_make_undo_processor,
    stored_shape=_stored_shape,
    records=StoredRecords("employees", _records, are_renamed=True),
    is_sent_in_batches=True,
    find_broken={"batches": _find_broken},
)
