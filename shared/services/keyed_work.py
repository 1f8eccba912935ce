"""The work of types whose rows each name one record by its key (workers, assignments).

Rows of a record are folded and written once; records are read and written by the hundred.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from shared.clock import Clock
from shared.imports.catalogue import import_type
from shared.imports.definition import ImportType, Reference
from shared.imports.folding import Noticed, all_failed
from shared.imports.messages import Message
from shared.imports.outcomes import RowResult
from shared.services.chunk_rows import ChunkRows, Reading, read_by_rules, read_key_only, read_slices
from shared.services.groups import GroupRegister
from shared.services.name_index import NameIndex
from shared.services.offload import Offload
from shared.services.references import EarlierImports, ReferenceReader
from shared.services.resolving import results_without_key, rules_resolver
from shared.services.settling import BYTES_PER_ROW, KeyRows, Resolver, Settler
from shared.services.stamps import closed_through, ending
from shared.services.work import BeforeCommit
from shared.storage.import_records import ImportRecord
from shared.storage.ports import Tables


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
        type_of: Callable[[str], ImportType] | None = None,
    ) -> None:
        self._tables = tables
        self._imports = imports
        self._references = references
        self._groups = GroupRegister(tables)
        self._names = NameIndex(tables)
        self._clock = clock
        self._offload = offload
        self._noticed = noticed
        self._type_of = type_of

    async def run(
        self, record: ImportRecord, lines: bytes, before_commit: BeforeCommit
    ) -> list[RowResult]:
        """See `Work`; rows wait for a record that an earlier open import may still bring."""
        results: list[RowResult] = []
        async for part in self._parts(record, lines, read_by_rules):
            results += await self._settle_by_rules(record, part, before_commit)
        return results

    async def end(self, record: ImportRecord, lines: bytes, code: int) -> list[RowResult]:
        """See `Work`."""
        kind = self._type(record)
        message = Message(code)
        resolve = ending(record, message, await closed_through(self._imports, kind, record))
        results: list[RowResult] = []
        async for part in self._parts(record, lines, read_key_only):
            settled = await self._settle(record, kind, part.keys, resolve, _never_stops)
            results += _in_order(part, [*all_failed(part.without_key, message), *settled])
        return results

    def _type(self, record: ImportRecord) -> ImportType:
        if self._type_of is not None:
            return self._type_of(record.type_name)
        return import_type(record.type_name, record.type_version)

    def is_readable(self, index: int, row: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """See `Work`: what a row says is the rules' business."""
        return True

    async def _settle_by_rules(
        self, record: ImportRecord, part: ChunkRows, before_commit: BeforeCommit
    ) -> list[RowResult]:
        kind = self._type(record)
        await self._names.begin(kind, record.tenant)
        await self._groups.note(kind.table, record.tenant, part.groups)
        rows = [row for key in part.keys for row in key.rows]
        references = await self._references.read(kind, record, [*rows, *part.without_key])
        size = BYTES_PER_ROW * len(part.without_key)
        settled = await self._offload(
            size, results_without_key, kind, record, references, part.without_key
        )
        keys = part.keys
        while keys:
            unread: set[Reference] = set()
            resolve = rules_resolver(
                kind, record, references, self._clock.now(), self._noticed, unread
            )
            settled += await self._settle(record, kind, keys, resolve, before_commit)
            if not unread:
                break
            # A row and its stored record together may name what neither names alone.
            references = await self._references.read_more(record, references, unread)
            done = {result.index for result in settled}
            keys = [key for key in keys if key.rows[0].index not in done]
        return _in_order(part, settled)

    async def _settle(
        self,
        record: ImportRecord,
        kind: ImportType,
        keys: Sequence[KeyRows],
        resolve: Resolver,
        before_commit: BeforeCommit,
    ) -> list[RowResult]:
        settler = Settler(
            self._tables,
            kind.table,
            resolve,
            before_commit,
            record.import_id,
            self._offload,
            record.number,
            enter=partial(self._names.note, kind, record.tenant),
        )
        return await settler.settle(keys)

    async def _parts(
        self, record: ImportRecord, lines: bytes, reading: Reading
    ) -> AsyncIterator[ChunkRows]:
        kind = self._type(record)
        slices = read_slices(kind, record.tenant, lines, reading)
        while (part := await self._offload(len(lines), next, slices, None)) is not None:
            yield part


def _in_order(part: ChunkRows, results: Sequence[RowResult]) -> list[RowResult]:
    by_index = {result.index: result for result in results}
    return [by_index[index] for index in part.order if index in by_index]


async def _never_stops() -> None:
    """Ending rows has no time limit of its own: it writes one small thing per record."""
