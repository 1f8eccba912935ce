"""The hooks of the licenses import."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from shared.imports.import_type_module import ImportTypeModule, StoredRecords
from shared.imports.licenses.definition import LICENSES

if TYPE_CHECKING:
    import azure.functions as func

    from shared.clock import Clock
    from shared.gateway import Gateway
    from shared.imports.files.formats import FileFormat
    from shared.imports.json_rows import Reader
    from shared.services.persons.search import PersonSource
    from shared.services.record_repair import BrokenEntry, RepairContext
    from shared.services.records.sources import RecordSource
    from shared.services.retention import LogRange, RetentionStep
    from shared.services.row_processor import ProcessorContext, RowProcessor
    from shared.services.status import ImportReport
    from shared.web.openapi.operations import Limits, Operation


async def _answer(
    gateway: Gateway, req: func.HttpRequest, report: ImportReport
) -> func.HttpResponse:
    from shared.imports.licenses import http

    record = report.record
    media_type = http.accepted_media_type(req, http.offered_types(record.media_type))
    if record.is_open:
        return http.licenses_pending(report, media_type)
    return await http.licenses_answer(gateway, record, media_type)


def _describe_calls(limits: Limits, _names: Sequence[str]) -> Sequence[Operation]:
    from shared.imports.licenses import openapi

    return openapi.operations(limits.rows)


def _make_file_reader(file_format: FileFormat, *, max_document_bytes: int) -> Reader | None:
    from shared.imports.files.formats import FileFormat
    from shared.imports.licenses.http import BodyFormat, BodyReader

    match file_format:
        case FileFormat.JSON:
            return BodyReader(BodyFormat.JSON, max_document_bytes)
        case FileFormat.XML:
            return BodyReader(BodyFormat.XML, max_document_bytes)
        case _:
            return None


def _make_processor(context: ProcessorContext) -> RowProcessor:
    from shared.imports.licenses.processor import LicenseProcessor

    return LicenseProcessor(
        tables=context.tables,
        blobs=context.blobs,
        clock=context.clock,
        offload=context.offload,
        on_change=context.on_change,
    )


def _make_undo_processor(context: ProcessorContext) -> RowProcessor:
    from shared.imports.licenses.processor import LicenseUndoProcessor

    return LicenseUndoProcessor(
        tables=context.tables,
        blobs=context.blobs,
        clock=context.clock,
        offload=context.offload,
        on_change=context.on_change,
    )


def _log_range() -> LogRange:
    from shared.imports.licenses.store import log_up_to

    return log_up_to


def _retention(gateway: Gateway, clock: Clock) -> Iterator[RetentionStep]:
    from shared.imports.licenses.store import named_files
    from shared.services.retention import ExpiringFiles, RetentionStep

    account = gateway.account
    find_named = partial(named_files, account.tables, account.blobs)
    files = ExpiringFiles(account.license_files, find_named, clock)
    a_day = timedelta(days=1)
    yield RetentionStep("files of licenses", a_day, files.files, least=a_day)


def _find_broken(context: RepairContext, tenant: str) -> AsyncIterator[BrokenEntry]:
    from shared.imports.licenses.store import find_broken_licenses

    return find_broken_licenses(context, tenant)


def _records() -> RecordSource:
    from shared.imports.licenses.records import LicenseRecords

    return LicenseRecords()


def _person() -> PersonSource:
    from shared.imports.licenses.person import LicensePerson

    return LicensePerson()


MODULE = ImportTypeModule(
    person=_person,
    definition=LICENSES,
    answer=_answer,
    describe_calls=_describe_calls,
    sample_failures=frozenset({"D-5521", "00990"}),
    make_file_reader=_make_file_reader,
    make_processor=_make_processor,
    make_undo_processor=_make_undo_processor,
    retention=_retention,
    log_range=_log_range,
    find_broken={LICENSES.name: _find_broken},
    records=StoredRecords("licenses", _records),
)
