"""The work on rows, type by type: what chunks are given to, and what dry runs ask."""

from __future__ import annotations

from functools import partial

from shared.composition.parts import Parts
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.documents.definition import DOCUMENTS
from shared.imports.licenses.definition import LICENSES
from shared.imports.merge_rules import Noticed
from shared.services.authdata.services import AuthdataServices
from shared.services.chunk_messages import ChunkMessage
from shared.services.chunk_processor import ChunkProcessor
from shared.services.documents.processor import DocumentWork
from shared.services.dry_run import DryRuns, NothingOpen
from shared.services.licenses.processor import LicenseWork
from shared.services.record_processor import KeyedWork
from shared.services.references import EarlierImports, ReferenceReader
from shared.services.row_processor import Works
from shared.storage.ports import Blobs, Tables


def chunks_of(parts: Parts, authdata: AuthdataServices) -> ChunkProcessor:
    """Works on the chunks of every type, documents among them, whose work may do another's."""

    async def run_earlier(message: ChunkMessage) -> None:
        await chunks.process(message)

    account = parts.account
    documents = DocumentWork(account.tables, parts.imports, parts.clock, run_earlier)
    works = _works(parts, parts.imports, account.tables, account.blobs)
    chunks = ChunkProcessor(
        payloads=parts.payloads,
        queues=account.queues,
        hold_back=parts.hold_back,
        imports=parts.imports,
        results=parts.results,
        works=works.with_one(DOCUMENTS.name, documents).with_one(AUTHDATA.name, authdata.work),
        completions=parts.completions,
        clock=parts.clock,
        stop=parts.stop,
        handler_seconds=parts.settings.handler_seconds,
    )
    return chunks


def dry_runs_of(parts: Parts) -> DryRuns:
    """Judges payloads by the works of a run."""
    return DryRuns(
        tables=parts.account.tables,
        blobs=parts.account.blobs,
        make_works=partial(_works, parts, NothingOpen()),
        max_rows=parts.settings.dry_run_rows,
        max_bytes=parts.settings.max_body_bytes,
        most_waiting=parts.settings.waiting_calls,
    )


def _works(
    parts: Parts,
    earlier: EarlierImports,
    tables: Tables,
    blobs: Blobs,
    noticed: Noticed | None = None,
) -> Works:
    """The works that need storage alone: the account's, or what a dry run makes of it."""
    keyed = KeyedWork(
        tables=tables,
        imports=earlier,
        references=ReferenceReader(tables, earlier, parts.lists),
        clock=parts.clock,
        offload=parts.offload,
        noticed=noticed,
    )
    licenses = LicenseWork(
        tables=tables, blobs=blobs, clock=parts.clock, offload=parts.offload, noticed=noticed
    )
    return Works(keyed, {LICENSES.name: licenses})
