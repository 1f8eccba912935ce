"""The erasure of a person: an import of one row, with its own place in the order.

While it is open, every later import of the tenant waits, so nothing is written while it searches.
It is accepted only if no earlier import that names the person is open: so what was accepted before
it has ended, and nothing brings the person back. Rows of the person in kept payloads are
overwritten, so that retries leave them out; results lose their keys, so that an undo finds no
record; a repeated call with an Idempotency-Key is refused.

Every step can be repeated. What leads to other things goes last: payloads after the results of
their rows, records after everything that is found by their keys. The last step overwrites the row
of the erasure itself, which has the names of the person until then.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any

from shared import log
from shared.clock import Clock, Ids, to_iso
from shared.errors import (
    ConflictError,
    InvalidRequestError,
    PreconditionFailedError,
    StorageUnavailableError,
    UnreadableDataError,
)
from shared.imports.import_type import Options
from shared.imports.json_rows import line_of, read_lines
from shared.imports.messages import Message
from shared.imports.persons import ERASURE_KEY, PERSON_ERASURE, Identity, PersonKeys
from shared.imports.planning import Chunk
from shared.imports.results import Outcome, RowResult, failed
from shared.imports.sender import NO_SENDER, Sender
from shared.services.idempotency import IdempotencyStore
from shared.services.import_log import AcceptanceCheck, ImportLog
from shared.services.persons.dropped_rows import UNSEARCHED, DroppedCopies, DroppedRows
from shared.services.persons.imports import NamedImport, PersonImports
from shared.services.persons.register import ErasureReport, PersonRegister
from shared.services.persons.search import (
    BlobRange,
    PersonSearch,
    Sources,
    Trace,
    find_traces,
    key_count,
)
from shared.services.row_processor import BeforeCommit
from shared.storage import import_records
from shared.storage.import_records import EVERYTHING, ImportRecord
from shared.storage.names import IMPORTS
from shared.storage.ports import (
    MAX_OPERATIONS,
    Operation,
    RangeTables,
    Replace,
    StoredBlobs,
)

_IDENTITIES = "identities"
_MOST_PASSES = 10
# An entity of these traces may have 1 MiB, and a transaction 4 MiB.
_OPERATIONS_AT_ONCE = 3
_MOST_TRIES = 20
# How often a running erasure notes that it runs, in seconds; the sweep leaves it alone meanwhile.
_HEARTBEAT_SECONDS = 15.0

# Deletes what the host keeps of the person's dropped files; returns how much.
ForgetDrops = Callable[[str, PersonKeys], Awaitable[int]]
# The batches that are still to be processed and name the person.
FindBatches = Callable[[PersonSearch], Awaitable[Sequence[str]]]


class PersonErasure:
    """Accepts erasures and, as the row processor of their type, carries them out."""

    def __init__(
        self,
        *,
        tables: RangeTables,
        blobs: StoredBlobs,
        imports: ImportLog,
        person_imports: PersonImports,
        answers: IdempotencyStore,
        register: PersonRegister,
        sources: Sources,
        clock: Clock,
        ids: Ids,
        forget_drops: ForgetDrops,
        find_batches: FindBatches,
        dropped_rows: DroppedRows,
    ) -> None:
        self._tables = tables
        self._blobs = blobs
        self._imports = imports
        self._person_imports = person_imports
        self._answers = answers
        self._register = register
        self._sources = sources
        self._clock = clock
        self._ids = ids
        self._forget_drops = forget_drops
        self._find_batches = find_batches
        self._dropped_rows = dropped_rows
        self._beaten_at = 0.0

    async def accept(
        self, tenant: str, identities: Sequence[Identity], sender: Sender = NO_SENDER
    ) -> ImportRecord:
        """Accept the erasure of a person, or find the one that was interrupted.

        Raises ConflictError while there is a hold on the person, while an open import or a staged
        batch names the person, or while another person is being erased; DataKeysNotSetError,
        StorageUnavailableError.
        """
        hashes = await self._register.hashes(tenant, identities)
        interrupted = await self._find_open(tenant, ",".join(hashes))
        if interrupted is not None:
            return interrupted
        await self._register.check_not_held(tenant, hashes)
        search = self._search(tenant, PersonKeys.of(identities))
        row = {ERASURE_KEY: ",".join(hashes), _IDENTITIES: [each.pack() for each in identities]}
        line = line_of(0, json.dumps(row, separators=(",", ":")))
        draft = ImportRecord(
            tenant=tenant,
            number=0,
            import_id=self._ids.new(),
            type_name=PERSON_ERASURE.name,
            rows=1,
            chunks=(Chunk(0, 0, len(line), 1, EVERYTHING),),
            options=Options(),
            accepted_at=to_iso(self._clock.now()),
            inline=line.decode(),
            sender=sender,
        )
        return await self._imports.accept(draft, self._check(search, hashes))

    async def run(
        self,
        record: ImportRecord,
        lines: bytes,
        before_commit: BeforeCommit,  # noqa: ARG002
    ) -> list[RowResult]:
        """See `RowProcessor`. It is not limited in time, since it would begin again."""
        [(_, row)] = read_lines(lines)
        person = str(row[ERASURE_KEY])
        if _IDENTITIES in row:
            identities = [Identity.unpack(each) for each in row[_IDENTITIES]]
            await self._erase(record, PersonKeys.of(identities))
            await self._register.add_tombstones(record, person.split(","))
            await self._forget_identities(record, person)
        report = await self._register.report(record)
        outcome = Outcome.UPDATED if report.counts else Outcome.UNCHANGED
        return [RowResult(0, (person,), outcome)]

    async def end(self, record: ImportRecord, lines: bytes, code: int) -> list[RowResult]:
        """See `RowProcessor`. The next erasure of the person completes what this one began."""
        [(_, row)] = read_lines(lines)
        person = str(row[ERASURE_KEY])
        await self._forget_identities(record, person)
        return [failed(0, (person,), Message(code))]

    def is_readable(self, index: int, row: Mapping[str, Any]) -> bool:
        """See `RowProcessor`."""
        return index == 0 and isinstance(row[ERASURE_KEY], str)

    def _search(self, tenant: str, keys: PersonKeys) -> PersonSearch:
        return PersonSearch(tenant, keys, self._tables, self._blobs)

    async def _find_open(self, tenant: str, person: str) -> ImportRecord | None:
        """The open erasure of the same person. Raises ConflictError if another one is open."""
        for open_import in await self._imports.open_of(tenant):
            if open_import.type_name != PERSON_ERASURE.name:
                continue
            record = await self._imports.read(tenant, open_import.number)
            if record is None or not record.is_open:
                continue
            with suppress(UnreadableDataError):
                [(_, row)] = read_lines(record.inline.encode())
                if row.get(ERASURE_KEY) == person:
                    return record
            raise ConflictError(
                f"Another person is being erased, by import {record.import_id}: repeat the command "
                "when that has ended."
            )
        return None

    def _check(self, search: PersonSearch, hashes: Sequence[str]) -> AcceptanceCheck:
        """Make the check before each attempt to accept the erasure."""
        # Imports that are known not to name the person: their payloads do not change.
        others: set[str] = set()

        async def check() -> None:
            open_imports = await self._imports.open_of(search.tenant)
            # Searched after the open imports were read: what is not among them has ended, so that
            # its records are found.
            before = key_count(search.keys)
            await find_traces(search, self._sources)
            # A hold counts under each of the person's names, also those that the search has found.
            named = await self._register.hashes(search.tenant, [*search.keys.identities()])
            await self._register.check_not_held(search.tenant, [*hashes, *named])
            # A record that was the person's before may become so again by its undo.
            for name, names in search.keys.related.items():
                search.keys.owned[name] |= names
            if key_count(search.keys) != before:
                others.clear()
            for open_import in open_imports:
                if open_import.is_barrier or open_import.import_id in others:
                    continue
                record = await self._imports.read(search.tenant, open_import.number)
                if record is None or not record.is_open or record.is_broken:
                    continue
                if record.type_name == PERSON_ERASURE.name or await self._is_named(search, record):
                    raise ConflictError(
                        f"Import {record.import_id} ({record.type_name}) is open and names the "
                        "person: let it end, or cancel it, then repeat the command."
                    )
                others.add(record.import_id)
            await self._check_drops(search)
            for batch in await self._find_batches(search):
                raise ConflictError(
                    f"Batch {batch} of authentication data is staged and names the person: process "
                    "it, or let it expire, then repeat the command."
                )

        return check

    async def _check_drops(self, search: PersonSearch) -> None:
        """Raises ConflictError while a dropped file of rows that names the person is worked on."""
        for import_id in await self._dropped_rows.unsettled(search.tenant):
            record = await self._imports.find(search.tenant, import_id)
            if record is not None and await self._person_imports.is_named(record, search.keys):
                raise ConflictError(
                    f"The results of import {import_id}, which names the person, are being "
                    "written: repeat the command in a minute."
                )
        await self._dropped_rows.check_waiting(search)

    async def _is_named(self, search: PersonSearch, record: ImportRecord) -> bool:
        if record.batch and search.keys.employee_ids:
            # A new id in it may be the person's, which only its plan decides.
            return True
        return await self._person_imports.is_named(record, search.keys)

    async def _erase(self, record: ImportRecord, keys: PersonKeys) -> None:
        """Erase until nothing is found any more."""
        beat = partial(self._beat, record)
        # Files that do not name the person, by the keys as they were.
        others: set[BlobRange] = set()
        for _ in range(_MOST_PASSES):
            await self._beat(record, is_due=True)
            search = self._search(record.tenant, keys)
            before = key_count(keys)
            traces = await find_traces(search, self._sources)
            if key_count(keys) != before:
                others.clear()
            found_imports = self._person_imports.find(
                record.tenant, keys, beat, search.unreadable, record.number
            )
            named = [each async for each in found_imports]
            ids = {each.record.import_id for each in named}
            dropped = await self._dropped_rows.copies(search, ids, others, beat)
            others |= dropped.others
            counts = _count(traces, named, dropped)
            await self._register.keep_report(
                record, ErasureReport(dict(counts), dict(search.unreadable))
            )
            answers = await self._forget_answers(record, keys, named)
            if not counts and not answers:
                return
            await self._delete_blobs(dropped.blobs)
            for each in named:
                await self._beat(record)
                await self._erase_import(record, keys, each)
            # Once more, since results may have been written until the records said that they are
            # erased.
            again = await self._dropped_rows.copies(search, ids, others, beat)
            await self._delete_blobs(again.blobs)
            await self._forget_drops(record.tenant, keys)
            await self._erase_traces(record, traces)
        raise StorageUnavailableError("the data of a person keep changing")

    async def _forget_answers(
        self, record: ImportRecord, keys: PersonKeys, named: Sequence[NamedImport]
    ) -> int:
        ids = {each.record.import_id for each in named}
        quoted = [f'"{text}"' for text in keys.texts()] + [f">{text}<" for text in keys.texts()]

        def is_of_person(import_id: str, body: bytes) -> bool:
            text = body.decode("utf-8", "replace")
            return import_id in ids or any(each in text for each in quoted)

        count = 0
        async for _ in self._answers.forget_bodies(record.tenant, is_of_person):
            count += 1
        return count

    async def _erase_import(
        self, record: ImportRecord, keys: PersonKeys, named: NamedImport
    ) -> None:
        """Erase what an import says of the person; the next pass does it if it has changed."""
        for blob in self._person_imports.files_of(named.record):
            await self._blobs.delete(blob.container, blob.name)
        with suppress(PreconditionFailedError):
            await self._person_imports.erase(named, keys, record.number)

    async def _delete_blobs(self, files: Iterable[BlobRange]) -> None:
        for file in files:
            await self._blobs.delete(file.container, file.name)

    async def _erase_traces(self, record: ImportRecord, traces: Iterable[Trace]) -> None:
        """Carry out the writes of traces, their blobs first, since records name them."""
        ordered = sorted(
            (trace for trace in traces if trace.operation is not None),
            key=lambda trace: (trace.table, trace.partition),
        )
        for trace in traces:
            await self._beat(record)
            for blob in trace.blobs:
                await self._erase_blob(blob)
        for (table, _), group in groupby(ordered, key=lambda each: (each.table, each.partition)):
            operations = [each.operation for each in group if each.operation is not None]
            for at in range(0, len(operations), MAX_OPERATIONS):
                await self._beat(record)
                await self._write(table, operations[at : at + MAX_OPERATIONS])

    async def _write(self, table: str, operations: Sequence[Operation]) -> None:
        large = any(isinstance(each, Replace) for each in operations)
        step = _OPERATIONS_AT_ONCE if large else MAX_OPERATIONS
        for at in range(0, len(operations), step):
            batch = operations[at : at + step]
            try:
                await self._tables.transact(table, batch)
            except PreconditionFailedError:
                for operation in batch:
                    with suppress(PreconditionFailedError):
                        await self._tables.write(table, operation)

    async def _erase_blob(self, blob: BlobRange) -> None:
        if blob.length is None:
            await self._blobs.delete(blob.container, blob.name)
            return
        for _ in range(_MOST_TRIES):
            stored = await self._blobs.read_whole(blob.container, blob.name)
            if stored is None:
                return
            data, etag = stored
            end = blob.start + blob.length
            new = data[: blob.start] + bytes(len(data[blob.start : end])) + data[end:]
            try:
                await self._blobs.replace(blob.container, blob.name, [new], etag)
                return
            except PreconditionFailedError:
                continue

    async def _forget_identities(self, record: ImportRecord, person: str) -> None:
        """Overwrite the row of the erasure itself, which keeps its place and its hashes."""
        for _ in range(_MOST_TRIES):
            row = import_records.record_row(record.number)
            entity = await self._tables.get(IMPORTS, record.tenant, row)
            if entity is None:
                return
            text = json.dumps({ERASURE_KEY: person}, separators=(",", ":"))
            length = record.chunks[0].end - record.chunks[0].start
            line = line_of(0, text)
            line = line_of(0, text.ljust(len(text) + length - len(line)))
            current = replace(import_records.from_entity(entity), inline=line.decode())
            write = Replace(import_records.rewritten_entity(entity, current))
            try:
                await self._tables.write(IMPORTS, write)
                return
            except PreconditionFailedError:
                continue
        raise StorageUnavailableError("the record of an erasure keeps changing")

    async def _beat(self, record: ImportRecord, *, is_due: bool = False) -> None:
        """Say now and then that the erasure goes on, so that the sweep does not begin it again."""
        now = self._clock.elapsed()
        if is_due or now - self._beaten_at > _HEARTBEAT_SECONDS:
            self._beaten_at = now
            await self._imports.note_progress(record, to_iso(self._clock.now()))


def _count(
    traces: Sequence[Trace], named: Sequence[NamedImport], dropped: DroppedCopies
) -> Counter[str]:
    """What was found, by area."""
    counts: Counter[str] = Counter(trace.area for trace in traces)
    counts["dropped files"] += len(dropped.files)
    counts["results of dropped files"] += len(dropped.results)
    counts[UNSEARCHED] += len(dropped.unsearched)
    counts["imports"] = len(named)
    counts["rows of payloads"] = sum(len(each.rows) for each in named)
    counts["results of rows"] = sum(len(each.results) for each in named)
    log.event("person.found", done=counts.total())
    return +counts


def check_identities(identities: Sequence[Identity]) -> None:
    """Raises InvalidRequestError if a person is not named."""
    if not identities:
        raise InvalidRequestError(
            "Name the person: --employer with --personnel, --company with --employee-number or "
            "--personal-id, or --employee-id."
        )
