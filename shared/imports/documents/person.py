"""What is stored about a person of documents: records, files, and dropped files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from shared.clock import ANY_TIME
from shared.imports.documents.definition import DOCUMENTS
from shared.imports.documents.processor import blob_of, lookup_of_worker
from shared.imports.persons import PersonKeys
from shared.services.persons.search import (
    BlobRange,
    PersonSearch,
    Trace,
    deletion_trace,
    former_range,
    shown_record,
)
from shared.storage.business_records import lookup_range
from shared.storage.entities import encode
from shared.storage.import_records import ImportRecord
from shared.storage.names import DOCUMENT_BLOBS, DOCUMENT_DROP, DOCUMENT_REJECTED

_NO_GROUP = ""


class DocumentPerson:
    """`PersonSource` of documents, which belong to workers."""

    has_key_variants = False

    async def find(self, search: PersonSearch) -> AsyncIterator[Trace]:
        """See `PersonSource.find`."""
        if not search.keys.workers:
            return
        ids: set[str] = set()
        async for entity in search.entities(DOCUMENTS.table, encode(search.tenant), "r|", "r|~"):
            stored = search.read_record(entity)
            if stored.is_broken:
                search.unreadable[DOCUMENTS.name] += 1
                continue
            former = await search.former(stored)
            document = stored.document or (None if former is None else former.document)
            if document is None:
                continue
            worker = document.get("EmployerRef"), document.get("PersonnelRef")
            if worker not in search.keys.workers:
                continue
            document_id = document["documentId"]
            ids.add(encode(document_id))
            search.keys.owned[DOCUMENTS.name].add((_NO_GROUP, document_id))
            imports = {document["importId"]}
            if former is not None and "importId" in former.document:
                imports.add(former.document["importId"])
            files = [BlobRange(DOCUMENT_BLOBS, blob_of(search.tenant, each)) for each in imports]
            yield deletion_trace(
                DOCUMENTS.name if stored.document is not None else "deleted records",
                DOCUMENTS.table,
                entity,
                blobs=(*files, *former_range(stored)),
                shown=shown_record(stored.document, former, stored.updated_at, (document_id,)),
            )
        prefixes = tuple(
            lookup_range(lookup_of_worker(*worker))[0] for worker in search.keys.workers
        )
        async for entity in search.entities(DOCUMENTS.table, encode(search.tenant), "x|", "x|~"):
            is_own = entity.row.rpartition("|")[2] in ids
            if is_own or entity.row.startswith(prefixes):
                yield deletion_trace("index entries", DOCUMENTS.table, entity)
        for container in (DOCUMENT_DROP, DOCUMENT_REJECTED):
            for name in await search.blobs.names_before(container, f"{search.tenant}/", ANY_TIME):
                if is_drop_of(search.keys, name):
                    yield Trace("dropped files", blobs=(BlobRange(container, name),))

    def names_row(self, keys: PersonKeys, row: Mapping[str, Any]) -> bool:
        """See `PersonSource.names_row`. The reference counts where no worker was found by it."""
        worker = row.get("worker")
        if isinstance(worker, Mapping):
            return (worker.get("employer"), worker.get("personnel")) in keys.workers
        return _is_reference_of(keys, row.get("workerexternalid"))

    def names_key(self, keys: PersonKeys, key: Sequence[str | None]) -> bool:
        """See `PersonSource.names_key`."""
        if key[3] is not None:
            return (_NO_GROUP, key[3]) in keys.owned[DOCUMENTS.name]
        return _is_reference_of(keys, key[0])

    def files_of(self, record: ImportRecord) -> Sequence[BlobRange]:
        """See `PersonSource.files_of`. An upload that failed leaves a file too."""
        return (BlobRange(DOCUMENT_BLOBS, blob_of(record.tenant, record.import_id)),)


def is_drop_of(keys: PersonKeys, name: str) -> bool:
    """Whether the path of a dropped file, tenant/round/worker/file, names the person."""
    parts = name.split("/")
    return len(parts) > 3 and _is_reference_of(keys, unquote(parts[2]))


def _is_reference_of(keys: PersonKeys, reference: Any) -> bool:
    return reference in keys.external_refs or reference in keys.personnel_refs
