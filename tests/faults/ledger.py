"""What callers sent and were answered, and what storage holds afterwards: all that is judged.

`read_books` reads storage through the plain SDK; only what opens sealed values and the mapping of
entities are the product's.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient

from shared.app import compose
from shared.imports.authdata import batch_records
from shared.imports.authdata.batch_records import BatchState, PartData
from shared.imports.documents.definition import DOCUMENTS
from shared.imports.import_type import Document
from shared.imports.json_rows import read_lines
from shared.imports.licenses.attachments import blobs_of
from shared.imports.licenses.store import license_from_entity, owner_from_entity
from shared.imports.results import RowResult
from shared.storage import business_records, import_records, result_records
from shared.storage.account import Account
from shared.storage.entities import expand_json
from shared.storage.import_records import ImportRecord
from shared.storage.names import (
    AUTH_BATCHES,
    AUTH_STAGING,
    DOCUMENT_BLOBS,
    DOCUMENT_DROP,
    IMPORT_PAYLOADS,
    IMPORT_RESULT_BLOBS,
    IMPORT_RESULTS,
    IMPORTS,
    LICENSE_DOCUMENTS,
    ROW_DROP,
    ROW_RESULTS,
)
from shared.storage.ports import Entity
from shared.storage.sealed_storage import SealingTables
from tests.builders import Row
from tests.emulator import settings_for

RECORD_TABLES = {"workers": "Workers", "assignments": "Assignments", "authdata": "AuthData"}
"""Types whose records are documents of their own; the table of each."""


class CallKind(StrEnum):
    """What a call asks for. An undo will be one more kind, with the import that it takes back."""

    ROWS = "rows"
    RETRY = "retry"
    CANCEL = "cancel"
    STAGE = "stage"
    PROCESS = "process"
    STAGE_AND_PROCESS = "stage and process"
    UPLOAD = "upload"
    DROP = "drop"
    ROW_DROP = "row drop"
    DRY_RUN = "dry run"


@dataclass(frozen=True)
class Reply:
    """One answer; `status` 0 where there was none. `text` is the start of the body."""

    status: int
    import_id: str = ""
    text: str = ""
    statuses: tuple[str, ...] = ()
    """The vendor's status of each row, where the answer has them."""

    @property
    def accepts(self) -> bool:
        return self.status in (200, 202)

    @property
    def refuses(self) -> bool:
        """Whether the answer promises that nothing was accepted."""
        return 400 <= self.status < 500 or (
            self.status == 503 and "nothing was accepted" in self.text
        )


@dataclass
class SentCall:
    """One call, however often it was sent (again under its Idempotency-Key).

    `mark` is in what was sent and nowhere else, so that the import of the call is known whatever
    became of the answer. `about` is the import that a retry or a cancel speaks of, the batch of
    authentication data, or the path of dropped rows. `size` is that of an uploaded or dropped file.
    """

    mark: str
    tenant: str
    kind: CallKind
    type_name: str
    rows: list[Row] = field(default_factory=list)
    action: str = ""
    about: str = ""
    size: int = 0
    digest: str = ""
    key: str = ""
    replies: list[Reply] = field(default_factory=list)
    is_settled: bool = False

    @property
    def was_accepted(self) -> bool:
        return any(reply.accepts for reply in self.replies)

    @property
    def was_refused(self) -> bool:
        """Whether each time it was sent the answer said that nothing was accepted."""
        return bool(self.replies) and all(reply.refuses for reply in self.replies)


@dataclass
class ImportBook:
    """One import as it is stored; `chunks` are the results of each chunk that has some."""

    record: ImportRecord
    rows: dict[int, Row] | None
    chunks: dict[int, list[RowResult]]

    @property
    def results(self) -> list[RowResult]:
        return [row for chunk in self.chunks.values() for row in chunk]


@dataclass
class License:
    """A stored license."""

    key: str
    document: Document
    blobs: tuple[str, ...]


@dataclass
class BatchBook:
    """A batch of authentication data that is no import yet; `rows` are the staged records.

    `is_closed`: it takes no more records, and its import is still to be accepted.
    """

    rows: list[Row]
    is_closed: bool


@dataclass
class TenantBooks:
    """Everything of one tenant. Records by (partition, row key), tombstones left out.

    `batches` are those that are no import yet, by their ids.
    `owners` is whose license has a key, by (company's partition, key). `files` are the digests of
    uploaded files by the id of their import, `license_files` the names of those of licenses.
    `drops` are the files that still wait, `row_results` what was written beside dropped rows.
    """

    tenant: str
    imports: list[ImportBook] = field(default_factory=list)
    open_imports: list[str] = field(default_factory=list)
    batches: dict[str, BatchBook] = field(default_factory=dict)
    records: dict[str, dict[tuple[str, str], Document]] = field(default_factory=dict)
    lookups: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    licenses: dict[str, list[License]] = field(default_factory=dict)
    owners: dict[tuple[str, str], Document] = field(default_factory=dict)
    documents: dict[str, Document] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    license_files: set[str] = field(default_factory=set)
    drops: list[str] = field(default_factory=list)
    row_results: list[str] = field(default_factory=list)

    @property
    def is_unfinished(self) -> bool:
        """Whether something has not ended; what was read may also be older than the rest."""
        is_open = any(book.record.is_open for book in self.imports)
        is_closed = any(batch.is_closed for batch in self.batches.values())
        return is_open or is_closed or bool(self.open_imports) or bool(self.drops)


@dataclass
class Ledger:
    """All that is judged. `poisoned` are chunks (import id, number) that failed too often."""

    calls: list[SentCall]
    books: dict[str, TenantBooks]
    poisoned: set[tuple[str, int]] = field(default_factory=set)


def read_books(storage: str, tenants: Iterable[str]) -> dict[str, TenantBooks]:
    """What is stored of these tenants."""
    with (
        TableServiceClient.from_connection_string(storage) as tables,
        BlobServiceClient.from_connection_string(storage) as blobs,
        asyncio.Runner() as runner,
    ):
        account = runner.run(_open_account(storage))
        try:
            return {
                tenant: _Reader(tables, blobs, account, runner, tenant).read() for tenant in tenants
            }
        finally:
            runner.run(account.close())


async def _open_account(storage: str) -> Account:
    """The account as a gateway opens it: what is sealed is opened by it."""
    return compose(settings_for(storage)).account


class _Reader:
    def __init__(
        self,
        tables: TableServiceClient,
        blobs: BlobServiceClient,
        account: Account,
        runner: asyncio.Runner,
        tenant: str,
    ) -> None:
        self._tables = tables
        self._blobs = blobs
        self._account = account
        self._runner = runner
        self._books = TenantBooks(tenant)

    def read(self) -> TenantBooks:
        # Batches come first: one that becomes an import meanwhile is found as that.
        self._read_batches()
        self._read_imports()
        for name, table in RECORD_TABLES.items():
            self._read_records(name, table)
        self._read_licenses()
        self._read_documents()
        books = self._books
        books.license_files = set(self._names(LICENSE_DOCUMENTS))
        books.drops = [*self._names(DOCUMENT_DROP), *self._names(ROW_DROP)]
        books.row_results = list(self._names(ROW_RESULTS))
        return books

    def _read_imports(self) -> None:
        own = f"PartitionKey eq '{self._books.tenant}'"
        for entity in self._entities(IMPORTS, f"{own} and RowKey ge 'n|' and RowKey lt 'n}}'"):
            record = import_records.from_entity(entity)
            self._books.imports.append(
                ImportBook(record, self._rows_of(record), self._results_of(record))
            )
        self._books.imports.sort(key=lambda book: book.record.number)
        for book in self._books.imports:
            self._books.batches.pop(book.record.batch, None)
        opened = self._entities(IMPORTS, f"{own} and RowKey ge 'open|' and RowKey lt 'open}}'")
        self._books.open_imports = [entity.text("ImportId") for entity in opened]

    def _read_batches(self) -> None:
        batches: dict[str, dict[str, Entity]] = defaultdict(dict)
        for entity in self._of_tenant(AUTH_STAGING):
            batches[entity.partition][entity.row] = entity
        for partition, entities in batches.items():
            stored = entities.get(batch_records.BATCH_ROW)
            if stored is None:
                continue
            batch_id = partition.removeprefix(f"{self._books.tenant}|")
            batch = batch_records.from_entity(self._books.tenant, batch_id, stored)
            if batch.state not in (BatchState.STAGED, BatchState.PROCESSING):
                continue
            rows: list[Row] = []
            for part in batch.parts:
                if added := entities.get(batch_records.part_row(part)):
                    rows += self._staged_rows(batch_records.part_from_entity(added, part))
            self._books.batches[batch_id] = BatchBook(
                rows, is_closed=batch.state is BatchState.PROCESSING
            )

    def _staged_rows(self, added: PartData) -> list[Row]:
        data = added.data
        if added.blob:
            stored = self._read_blob(AUTH_BATCHES, added.blob)
            if stored is None:
                return []
            data = stored
        return list(expand_json(data))

    def _rows_of(self, record: ImportRecord) -> dict[int, Row] | None:
        if record.inline:
            data = record.inline.encode()
        else:
            stored = self._read_blob(IMPORT_PAYLOADS, record.blob_name)
            if stored is None:
                return None
            data = stored
        return dict(read_lines(data))

    def _results_of(self, record: ImportRecord) -> dict[int, list[RowResult]]:
        results: dict[int, list[RowResult]] = {}
        for entity in self._entities(IMPORT_RESULTS, f"PartitionKey eq '{record.import_id}'"):
            stored = result_records.from_entity(entity)
            data = stored.data
            if stored.spilled:
                data = self._read_blob(IMPORT_RESULT_BLOBS, stored.spilled) or b""
            results[stored.chunk] = list(result_records.rows_of(data))
        return results

    def _read_records(self, name: str, table: str) -> None:
        records: dict[tuple[str, str], Document] = {}
        lookups: set[tuple[str, str]] = set()
        for entity in self._of_tenant(table):
            if entity.row.startswith("r|"):
                document = business_records.from_entity(entity).document
                if document is not None:
                    records[entity.partition, entity.row] = document
            elif entity.row.startswith("x|"):
                lookups.add((entity.partition, entity.row))
        self._books.records[name] = records
        self._books.lookups[name] = lookups

    def _read_licenses(self) -> None:
        licenses: dict[str, list[License]] = defaultdict(list)
        for entity in self._of_tenant("Licenses"):
            if entity.row.startswith("r|"):
                license_ = license_from_entity(entity)
                if license_.document is not None:
                    files = tuple(sorted(blobs_of(license_.document.get("documents", []))))
                    licenses[entity.partition].append(
                        License(license_.key, license_.document, files)
                    )
            elif entity.row.startswith("k|"):
                owner = owner_from_entity(entity)
                if not owner.is_gone:
                    key = entity.row.removeprefix("k|")
                    self._books.owners[entity.partition, key] = owner.fields
        self._books.licenses = dict(licenses)

    def _read_documents(self) -> None:
        books = self._books
        for entity in self._of_tenant(DOCUMENTS.table):
            if entity.row.startswith("r|"):
                document = business_records.from_entity(entity).document
                if document is not None:
                    books.documents[document["documentId"]] = document
        container = self._blobs.get_container_client(DOCUMENT_BLOBS)
        for name in self._names(DOCUMENT_BLOBS):
            content = container.download_blob(f"{books.tenant}/{name}").readall()
            books.files[name] = digest_of(content)

    def _names(self, container: str) -> Iterator[str]:
        """The names of the tenant's blobs, without the tenant."""
        prefix = f"{self._books.tenant}/"
        names = self._blobs.get_container_client(container).list_blob_names(name_starts_with=prefix)
        yield from (name.removeprefix(prefix) for name in names)

    def _of_tenant(self, table: str) -> Iterator[Entity]:
        """Entities of the tenant's own partition and of those of its employers and companies."""
        tenant = self._books.tenant
        yield from self._entities(table, f"PartitionKey eq '{tenant}'")
        yield from self._entities(
            table, f"PartitionKey ge '{tenant}|' and PartitionKey lt '{tenant}}}'"
        )

    def _entities(self, table: str, query: str) -> Iterator[Entity]:
        sealed: list[Entity] = []
        for item in self._tables.get_table_client(table).query_entities(query):
            values = {
                name: getattr(value, "value", value)
                for name, value in item.items()
                if name not in ("PartitionKey", "RowKey")
            }
            sealed.append(Entity(item["PartitionKey"], item["RowKey"], values))
        tables = self._account.tables
        assert isinstance(tables, SealingTables)
        yield from self._runner.run(tables._opened(table, sealed))

    def _read_blob(self, container: str, name: str) -> bytes | None:
        return self._runner.run(self._account.blobs.read(container, name))


def digest_of(content: bytes) -> str:
    """To compare files by."""
    return hashlib.sha256(content).hexdigest()


def same_json(one: object, other: object) -> bool:
    """Whether two rows are the same JSON."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def by_mark(calls: Iterable[SentCall]) -> Mapping[str, SentCall]:
    """The calls by their marks."""
    return {call.mark: call for call in calls}


def mark_of(rows: Iterable[Mapping[str, Any]], field_name: str) -> str:
    """The mark that some row has under this field; "" where none has one."""
    marks = (str(row.get(field_name, "")) for row in rows)
    return next((mark for mark in marks if mark.startswith("call-")), "")
