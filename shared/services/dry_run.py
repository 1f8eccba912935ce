"""Dry runs: the results that an import would have, without an import.

See docs/contracts.md#0, docs/design.md#invariants.

The code of a run plans and processes the rows, chunk by chunk inside the call, on overlay storage
whose writes only the dry run can see. The dry run comes after all imports in the order, and no
import is open before it, so a missing reference is an error immediately.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

from shared import log
from shared.errors import PreconditionFailedError, TooLargeError, TooManyRequestsError
from shared.imports.files.mapping import ProfileMapping
from shared.imports.import_type import Document, ImportType
from shared.imports.merge_rules import ChangeListener, changed_fields, changes_text
from shared.imports.planning import Plan
from shared.imports.results import RowResult, cap_messages
from shared.services.chunk_messages import is_small
from shared.services.row_processor import Processors
from shared.services.tenant_shares import TenantPlaces
from shared.storage.business_records import load_records
from shared.storage.import_records import LAST_NUMBER, ImportRecord
from shared.storage.ports import Blobs, Delete, Entity, Insert, Merge, Operation, Tables, Upsert

# Overlay storage: reads go to the real storage, writes stay in memory.
#
# A dry run passes it to the services of a run. So the same code decides, reads the writes of
# earlier rows, and cannot write to the real storage (docs/contracts.md#0, dryRun).
#
# Conditions of writes are checked as the service would check them. An entity that was not read
# through the overlay before is read first.

# Sorts after every row key.
_END = "\U0010ffff"


@dataclass(slots=True)
class _PartitionOverlay:
    """The writes of a dry run in a partition, and the entities of the real one that were read.

    `written` has None for a deleted entity. `seen` has the ETags of real entities. Each pair in
    `covered` is a range of row keys that was read as a whole. `absent` are row keys without entity.
    """

    written: dict[str, Entity | None] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    covered: list[tuple[str, str]] = field(default_factory=list)

    def knows(self, row: str) -> bool:
        """Whether it is known if the entity exists."""
        return (
            row in self.written
            or row in self.seen
            or row in self.absent
            or any(first <= row <= last for first, last in self.covered)
        )

    def etag(self, row: str) -> str | None:
        """The ETag of a known entity; None if it does not exist."""
        if row in self.written:
            entity = self.written[row]
            return None if entity is None else entity.etag
        return self.seen.get(row)


class WhatIfTables:
    """`Tables` with an overlay of writes in memory. For one dry run; not shared between tasks."""

    def __init__(self, base: Tables) -> None:
        self._base = base
        self._partitions: defaultdict[tuple[str, str], _PartitionOverlay] = defaultdict(
            _PartitionOverlay
        )
        self._writes = 0

    async def get(self, table: str, partition: str, row: str) -> Entity | None:
        """See `Tables.get`."""
        overlay = self._partitions[table, partition]
        if row in overlay.written:
            return overlay.written[row]
        entity = await self._base.get(table, partition, row)
        if entity is None:
            overlay.absent.add(row)
        else:
            overlay.seen[row] = entity.etag
        return entity

    async def query(
        self,
        table: str,
        partition: str,
        first: str = "",
        last: str | None = None,
        *,
        after: str = "",
        select: Sequence[str] | None = None,
        most: int | None = None,
    ) -> list[Entity]:
        """See `Tables.query`."""
        overlay = self._partitions[table, partition]
        begin = max(first, f"{after}\0" if after else "")
        own_writes = {
            row: item for row, item in overlay.written.items() if begin <= row <= (last or _END)
        }
        limit = None if most is None else most + len(own_writes)
        entities = await self._base.query(
            table, partition, first, last, after=after, select=select, most=limit
        )
        end = entities[-1].row if limit is not None and len(entities) >= limit else last or _END
        overlay.covered.append((begin, end))
        overlay.seen.update((entity.row, entity.etag) for entity in entities)
        merged_rows: dict[str, Entity | None] = {entity.row: entity for entity in entities}
        merged_rows |= {row: entity for row, entity in own_writes.items() if row <= end}
        visible = [entity for _, entity in sorted(merged_rows.items()) if entity is not None]
        return visible[:most]

    async def write(self, table: str, operation: Operation) -> str:
        """See `Tables.write`."""
        await self.transact(table, [operation])
        entity = operation.entity
        return self._partitions[table, entity.partition].etag(entity.row) or ""

    async def transact(self, table: str, operations: Sequence[Operation]) -> None:
        """See `Tables.transact`."""
        partition = operations[0].entity.partition
        await self._read_unknown(table, partition, operations)
        overlay = self._partitions[table, partition]
        for operation in operations:
            _check_condition(operation, overlay.etag(operation.entity.row))
        for operation in operations:
            overlay.written[operation.entity.row] = await self._apply(table, operation)

    async def _read_unknown(
        self, table: str, partition: str, operations: Iterable[Operation]
    ) -> None:
        """Read the unknown entities of the operations that have a condition."""
        overlay = self._partitions[table, partition]
        rows = {each.entity.row for each in operations if not isinstance(each, Upsert)}
        unknown = sorted(row for row in rows if not overlay.knows(row))
        if unknown:
            await load_records(self, table, partition, unknown, select=())

    async def _apply(self, table: str, operation: Operation) -> Entity | None:
        if isinstance(operation, Delete):
            return None
        self._writes += 1
        entity = replace(operation.entity, etag=f"what-if-{self._writes}")
        if not isinstance(operation, Merge):
            return entity
        before = await self.get(table, entity.partition, entity.row)
        return replace(entity, values={**(before.values if before else {}), **entity.values})


def _check_condition(operation: Operation, etag: str | None) -> None:
    """Raises PreconditionFailedError if the condition of the operation fails."""
    if isinstance(operation, Upsert):
        return
    if isinstance(operation, Insert):
        holds = etag is None
    else:
        expected_etag = operation.entity.etag
        holds = etag is not None and expected_etag in ("", etag)
    if not holds:
        raise PreconditionFailedError("another state, as far as a dry run has come")


class WhatIfBlobs:
    """`Blobs` with an overlay of writes in memory."""

    def __init__(self, base: Blobs) -> None:
        self._base = base
        self._written: dict[tuple[str, str], bytes | None] = {}

    @property
    def written(self) -> Mapping[tuple[str, str], bytes | None]:
        """The written blobs by container and name; None for a deleted one."""
        return self._written

    async def put(
        self,
        container: str,
        name: str,
        parts: Iterable[bytes],
        metadata: Mapping[str, str] | None = None,  # noqa: ARG002  (a dry run reads no metadata)
    ) -> None:
        """See `Blobs.put`."""
        self._written[container, name] = b"".join(parts)

    async def read(
        self, container: str, name: str, start: int = 0, length: int | None = None
    ) -> bytes | None:
        """See `Blobs.read`."""
        if (container, name) not in self._written:
            return await self._base.read(container, name, start, length)
        data = self._written[container, name]
        if data is None:
            return None
        return data[start:] if length is None else data[start : start + length]

    async def touch(self, container: str, name: str) -> bool:
        """See `Blobs.touch`."""
        return await self.read(container, name, 0, 1) is not None

    async def delete(self, container: str, name: str) -> None:
        """See `Blobs.delete`."""
        self._written[container, name] = None


# The places for dry runs in one process. Each dry run keeps the writes of its rows in memory.
_LARGE_PLACES = 2
_SMALL_PLACES = 4

# The processors of all types on some storage. They tell `ChangeListener` each change.
MakeProcessors = Callable[[Tables, Blobs, ChangeListener | None], Processors]


@dataclass(frozen=True, slots=True)
class DryRunResult:
    """The results that the rows of a payload would have, in plan order.

    `changes` has the changes of the rows that would take effect, by their index, as `changes_text`.
    It is empty unless it was requested. `skipped` counts the rows that the profile passes over; it
    is None without a profile.
    """

    results: tuple[RowResult, ...] = ()
    changes: Mapping[int, str] = field(default_factory=dict)
    skipped: int | None = None

    def with_columns(self, mapping: ProfileMapping | None, plan: Plan) -> DryRunResult:
        """The same result, with what a profile adds: the columns of the sender in its messages, and
        the count of the skipped rows of the plan.
        """
        if mapping is None:
            return self
        results = tuple(mapping.with_columns(self.results))
        return replace(self, results=results, skipped=plan.payload.skipped)

    def in_order_sent(self) -> list[RowResult]:
        """The results in the order of the payload."""
        return sorted(self.results, key=lambda result: result.index)


class NothingOpen:
    """For `ReferenceReader`: no import is open that may create a missing record."""

    async def oldest_open_before(
        self,
        record: ImportRecord,
        type_name: str,
    ) -> None:
        """None: no import is open."""


class DryRuns:
    """Runs planned payloads on overlay storage."""

    def __init__(
        self,
        *,
        tables: Tables,
        blobs: Blobs,
        make_processors: MakeProcessors,
        max_rows: int,
        max_bytes: int,
        most_waiting: int,
        seconds: float = 200.0,
    ) -> None:
        self._tables = tables
        self._blobs = blobs
        self._make_processors = make_processors
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._small = TenantPlaces(
            "dry runs", places=_SMALL_PLACES, per_tenant=2, most_waiting=most_waiting
        )
        self._large = TenantPlaces(
            "dry runs", places=_LARGE_PLACES, per_tenant=1, most_waiting=most_waiting
        )

    @asynccontextmanager
    async def place(self, tenant: str, rows: int) -> AsyncIterator[None]:
        """Take a place for a dry run of so many rows, for the time of the block.

        A small dry run never waits for a large one, and a tenant gets only some of the places.
        Raises TooManyRequestsError, and TooLargeError if the time of a call does not suffice.
        """
        places = self._small if is_small(rows) else self._large
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._seconds):
                    await stack.enter_async_context(places.place(tenant))
            except TimeoutError:
                raise TooManyRequestsError(
                    "Other dry runs are running: send this one again later.",
                    retry_after=10,
                ) from None
            try:
                async with asyncio.timeout(self._seconds):
                    yield
            except TimeoutError:
                raise TooLargeError(
                    f"The dry run was stopped after {self._seconds:.0f} seconds: send the rows in "
                    "several calls."
                ) from None

    def check_rows(self, plan: Plan, advice: str = "send it in several calls") -> None:
        """Raises TooLargeError for more rows than a dry run accepts."""
        if plan.rows > self._max_rows:
            raise TooLargeError(
                f"The payload has {plan.rows} rows and a dry run takes {self._max_rows}: {advice}."
            )

    async def judge(
        self, kind: ImportType, draft: ImportRecord, plan: Plan, *, with_changes: bool
    ) -> DryRunResult:
        """Run an import of this plan without writing anything.

        `draft` is the record that it would have (`ImportAcceptor.draft`). Raises TooLargeError
        for too many rows, for more changes than an answer holds, and where the time of a
        call does not suffice.
        """
        self.check_rows(plan)
        async with self.place(draft.tenant, plan.rows):
            result = await self._process_rows(kind, draft, plan, with_changes)
        log.event("dry_run.judged", tenant=draft.tenant, type=kind.name, rows=plan.rows)
        return result

    async def _process_rows(
        self, kind: ImportType, draft: ImportRecord, plan: Plan, with_changes: bool
    ) -> DryRunResult:
        recorder = _ChangeRecorder(kind, self._max_bytes) if with_changes else None
        record = replace(draft, number=LAST_NUMBER, trusts_later_stamps=False)
        tables, blobs = WhatIfTables(self._tables), WhatIfBlobs(self._blobs)
        processors = self._make_processors(
            tables, blobs, recorder.record_change if recorder else None
        )
        processor = processors.for_import(record)
        results: list[RowResult] = []
        chunks = iter(plan.lines())
        while (lines := await asyncio.to_thread(next, chunks, None)) is not None:
            results += cap_messages(await processor.run(record, lines, _no_limit))
            if recorder is not None:
                recorder.check_size()
        return DryRunResult(
            tuple(results), recorder.effective_changes(results) if recorder is not None else {}
        )


class _ChangeRecorder:
    """Collects the changes of rows, as text by their index."""

    def __init__(self, kind: ImportType, max_bytes: int) -> None:
        self._is_sensitive = kind.rules.is_sensitive
        self._max_bytes = max_bytes
        self._texts: dict[int, str] = {}
        self._size = 0

    def record_change(self, index: int, before: Document | None, after: Document | None) -> None:
        """Record the changes of a row. If a row is processed again, the last changes count."""
        text = changes_text(changed_fields(before, after, self._is_sensitive))
        self._size += len(text) - len(self._texts.get(index, ""))
        self._texts[index] = text

    def check_size(self) -> None:
        """Raises TooLargeError for more text than an answer holds."""
        if self._size > self._max_bytes:
            raise TooLargeError(
                f"What the rows would change takes more than the {self._max_bytes} bytes of an "
                "answer: send fewer rows, or leave out view=rows."
            )

    def effective_changes(self, results: Sequence[RowResult]) -> dict[int, str]:
        """The changes of the rows that finally took effect."""
        effective = {result.index for result in results if result.outcome.took_effect}
        return {index: text for index, text in self._texts.items() if index in effective}


async def _no_limit() -> None:
    """A dry run cannot be cancelled, and its time is limited as a whole."""
