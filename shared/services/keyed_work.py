"""The work of types whose rows each name one record by its key (workers, assignments).

Rows of a record are folded and written once; records are read and written by the hundred.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from shared.clock import Clock
from shared.imports.catalogue import import_type
from shared.imports.definition import ImportType
from shared.imports.folding import Noticed
from shared.imports.messages import Message
from shared.imports.outcomes import RowResult
from shared.services.chunk_rows import BY_RULES, ChunkRows, Reading, keys_only, read_slices
from shared.services.groups import GroupRegister
from shared.services.offload import Offload
from shared.services.references import EarlierImports, ReferenceReader
from shared.services.resolving import rules_resolver
from shared.services.settling import Resolver, Settler
from shared.services.stamps import closed_through, ending
from shared.services.work import BeforeCommit
from shared.storage.import_records import ImportRecord
from shared.storage.tables import Tables


class KeyedWork:
    """`Work` on rows with keys; `noticed` is told what each row changes."""

    def __init__(
        self,
        *,
        tables: Tables,
        imports: EarlierImports,
        references: ReferenceReader,
        clock: Clock,
        offload: Offload,
        noticed: Noticed | None = None,
    ) -> None:
        self._tables = tables
        self._imports = imports
        self._references = references
        self._groups = GroupRegister(tables)
        self._clock = clock
        self._offload = offload
        self._noticed = noticed

    async def run(
        self, record: ImportRecord, lines: bytes, before_commit: BeforeCommit
    ) -> list[RowResult]:
        """See `Work`; rows wait for a record that an earlier open import may still bring."""
        results: list[RowResult] = []
        async for part in self._parts(record, lines, BY_RULES):
            results += await self._settle_by_rules(record, part, before_commit)
        return results

    async def end(self, record: ImportRecord, lines: bytes, code: int) -> list[RowResult]:
        """See `Work`."""
        kind = import_type(record.type_name)
        message = Message(code)
        resolve = ending(record, message, await closed_through(self._imports, record))
        results: list[RowResult] = []
        async for part in self._parts(record, lines, keys_only(message)):
            results += await self._settle(record, kind, part, resolve, _never_stops)
        return results

    async def _settle_by_rules(
        self, record: ImportRecord, part: ChunkRows, before_commit: BeforeCommit
    ) -> list[RowResult]:
        kind = import_type(record.type_name)
        await self._groups.note(kind.table, record.tenant, part.groups)
        rows = [row for key in part.keys for row in key.rows]
        references = await self._references.read(kind, record, rows)
        resolve = rules_resolver(kind, record, references, self._clock.now(), self._noticed)
        return await self._settle(record, kind, part, resolve, before_commit)

    async def _settle(
        self,
        record: ImportRecord,
        kind: ImportType,
        part: ChunkRows,
        resolve: Resolver,
        before_commit: BeforeCommit,
    ) -> list[RowResult]:
        settler = Settler(
            self._tables, kind.table, resolve, before_commit, record.import_id, self._offload
        )
        settled = await settler.settle(part.keys)
        by_index = {result.index: result for result in (*part.without_key, *settled)}
        return [by_index[index] for index in part.order if index in by_index]

    async def _parts(
        self, record: ImportRecord, lines: bytes, reading: Reading
    ) -> AsyncIterator[ChunkRows]:
        kind = import_type(record.type_name)
        slices = read_slices(kind, record.tenant, lines, reading)
        while (part := await self._offload(len(lines), next, slices, None)) is not None:
            yield part


async def _never_stops() -> None:
    """Ending rows has no time limit of its own: it writes one small thing per record."""
