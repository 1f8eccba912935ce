"""The hooks of the documents import.

Its own services (`shared.imports.documents.services`) process its rows; retries and dry runs of
rows apply only to its undos.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from shared.imports.documents.definition import DOCUMENTS
from shared.imports.import_type_module import ImportTypeModule, when_ended

if TYPE_CHECKING:
    import azure.functions as func

    from shared.clock import Clock
    from shared.gateway import Gateway
    from shared.services.persons.search import PersonSource
    from shared.services.record_repair import BrokenEntry, RepairContext, StoredShape
    from shared.services.retention import RetentionStep
    from shared.services.row_processor import FindReferrers, ProcessorContext, RowProcessor
    from shared.storage.import_records import ImportRecord
    from shared.web.openapi.operations import Limits, Operation


async def _answer(gateway: Gateway, record: ImportRecord) -> func.HttpResponse:
    from shared.imports.documents.http import document_answer

    return await document_answer(gateway, record)


def _describe_calls(_limits: Limits, _names: Sequence[str]) -> Sequence[Operation]:
    from shared.imports.documents import openapi

    return openapi.OPERATIONS


def _make_undo_processor(context: ProcessorContext) -> RowProcessor:
    """The one for dry runs; `shared.imports.documents.services` has the one for undos."""
    from shared.imports.documents.processor import DocumentUndoProcessor

    async def nothing_earlier(_record: ImportRecord) -> None:
        """For a dry run no import is open."""

    return DocumentUndoProcessor(
        context.tables,
        context.blobs,
        context.imports,
        context.clock,
        nothing_earlier,
        context.on_change,
    )


def _retention(gateway: Gateway, clock: Clock) -> Iterator[RetentionStep]:
    from shared.imports.documents.processor import named_files
    from shared.services.retention import ExpiringFiles, RetentionStep, expiring_blobs
    from shared.storage.names import DOCUMENT_REJECTED

    account = gateway.account
    find_named = partial(named_files, account.tables, gateway.imports)
    files = ExpiringFiles(account.document_files, find_named, clock)
    replaced = timedelta(days=gateway.settings.keep_replaced_days)
    yield RetentionStep("replaced documents", replaced, files.files)
    # A rejected drop is like the payload of another import: it has the failed row as sent.
    rejected = timedelta(days=gateway.settings.keep_payload_days)
    expire = expiring_blobs(account.blobs, DOCUMENT_REJECTED)
    yield RetentionStep("rejected drops", rejected, expire)


def _stored_shape() -> StoredShape:
    from shared.imports.documents.processor import lookups_of
    from shared.imports.documents.store import check_document
    from shared.services.record_repair import StoredShape

    return StoredShape(check_document, lookups_of, lambda _document: {})


def _find_broken(context: RepairContext, tenant: str) -> AsyncIterator[BrokenEntry]:
    from shared.imports.documents.rounds import find_broken_rounds

    return find_broken_rounds(context, tenant)


def _referrers() -> FindReferrers:
    from shared.imports.documents.processor import find_documents

    return find_documents


def _person() -> PersonSource:
    from shared.imports.documents.person import DocumentPerson

    return DocumentPerson()


MODULE = ImportTypeModule(
    person=_person,
    definition=DOCUMENTS,
    answer=when_ended(_answer),
    describe_calls=_describe_calls,
    make_undo_processor=_make_undo_processor,
    referrers=_referrers,
    retention=_retention,
    stored_shape=_stored_shape,
    find_broken={"setup": _find_broken},
)
