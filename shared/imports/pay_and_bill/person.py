"""What types of Pay & Bill store about a person: a worker, and the records that name it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from shared.errors import UnreadableDataError
from shared.imports.import_type import Document, ImportType
from shared.imports.persons import PersonKeys
from shared.imports.row_reader import usable_reference
from shared.services.persons.search import (
    BlobRange,
    PersonSearch,
    Trace,
    deletion_trace,
    former_range,
    former_values_trace,
    shown_record,
)
from shared.storage.business_records import partition_of, row_of, without_messages
from shared.storage.entities import decode, encode
from shared.storage.import_records import ImportRecord
from shared.storage.ports import Entity, EntityRange, Replace
from shared.storage.record_indexes import PACKED_NAMES, packed_values, unpack_names

_EMPLOYER: Final = "EmployerRef"
_PERSONNEL: Final = "PersonnelRef"
_ASSIGNMENT: Final = "AssignmentRef"
_EXTERNAL: Final = "ExternalWorkerRef"
# Of the names that a worker is found by, the kind of its external reference.
_EXTERNAL_NAME: Final = "external"


class PayAndBillPerson:
    """`PersonSource` of a type whose records are partitioned by employer.

    A record is the person's where it is the worker itself, where it names the worker, or where it
    names an assignment of the worker.
    """

    has_key_variants = False

    def __init__(self, kind: ImportType) -> None:
        self._kind = kind

    @property
    def _fields(self) -> tuple[str, ...]:
        return self._kind.rules.key_fields

    @property
    def _is_worker(self) -> bool:
        return self._fields == (_EMPLOYER, _PERSONNEL)

    async def find(self, search: PersonSearch) -> AsyncIterator[Trace]:
        """See `PersonSource.find`."""
        for worker in sorted(search.keys.workers):
            partition = partition_of(search.tenant, worker[0])
            async for entity in search.entities(self._kind.table, partition, "r|", "r|~"):
                trace = await self._of_record(search, worker, entity)
                if trace is not None:
                    yield trace
            if not self._is_worker:
                continue
            async for entity in search.entities(self._kind.table, partition, "x|", "x|~"):
                if entity.row.endswith(f"|{encode(worker[1])}"):
                    yield deletion_trace("index entries", self._kind.table, entity)
            async for trace in self._names(search, worker):
                yield trace
        if self._is_worker:
            async for trace in self._packed_names(search):
                yield trace

    def names_row(self, keys: PersonKeys, row: Mapping[str, Any]) -> bool:
        """See `PersonSource.names_row`. A row without an employer counts by its other references,
        since it may be the person's.
        """
        employer = usable_reference(row.get(_EMPLOYER.lower()))
        personnel = usable_reference(row.get(_PERSONNEL.lower()))
        # Another worker may have the external reference by now.
        external = usable_reference(row.get(_EXTERNAL.lower())) if personnel is None else None
        assignment = usable_reference(row.get(_ASSIGNMENT.lower()))
        names = [usable_reference(row.get(field.lower())) for field in self._fields]
        return (
            _is_one_of(keys.workers, employer, personnel)
            or _is_one_of(keys.owned["assignments"], employer, assignment)
            or _is_one_of(keys.owned[self._kind.name], *names)
            or _is_one_of(
                {(worker[0], each) for worker in keys.workers for each in keys.external_refs},
                employer,
                external,
            )
        )

    def names_key(self, keys: PersonKeys, key: Sequence[str | None]) -> bool:
        """See `PersonSource.names_key`."""
        known = keys.workers if self._is_worker else keys.owned[self._kind.name]
        return _is_one_of(known, key[0], key[1])

    def files_of(self, record: ImportRecord) -> Sequence[BlobRange]:  # noqa: ARG002
        """See `PersonSource.files_of`. Records of Pay & Bill have no files."""
        return ()

    async def _of_record(
        self, search: PersonSearch, worker: tuple[str, str], entity: Entity
    ) -> Trace | None:
        """The trace of an entity with a record or a tombstone; None if it is not the person's."""
        kind, keys = self._kind, search.keys
        stored = search.read_record(entity)
        is_own_row = self._is_worker and entity.row == row_of(worker[1])
        if stored.is_broken and not is_own_row:
            search.unreadable[kind.name] += 1
            return None
        former = await search.former(stored)
        before = None if former is None else former.document
        present = stored.document
        reference = str((present or before or {}).get(self._fields[1], ""))
        if is_own_row or self._is_named_by(keys, worker, present or before):
            keys.owned[kind.name].add((worker[0], reference or decode(entity.row[2:])))
            keys.external_refs |= {
                document[_EXTERNAL]
                for document in (present, before)
                if self._is_worker and document is not None and document.get(_EXTERNAL)
            }
            return deletion_trace(
                kind.name if present is not None else "deleted records",
                kind.table,
                entity,
                blobs=former_range(stored),
                shown=shown_record(present, former, stored.updated_at, (worker[0], reference)),
            )
        if before is not None and self._is_named_by(keys, worker, before):
            keys.related[kind.name].add((worker[0], reference))
            return former_values_trace(
                "former values", kind.table, entity, former_range(stored), before
            )
        if json.dumps(worker[1], ensure_ascii=False) in stored.stamp.packed:
            write = Replace(without_messages(entity, stored.stamp))
            return Trace("messages on other records", kind.table, write)
        return None

    def _is_named_by(
        self, keys: PersonKeys, worker: tuple[str, str], document: Document | None
    ) -> bool:
        """Whether a record that is no worker names the person."""
        if document is None or self._is_worker:
            return False
        is_assignment = _ASSIGNMENT in self._fields
        assignment = (worker[0], str(document.get(_ASSIGNMENT)))
        return document.get(_PERSONNEL) == worker[1] or (
            not is_assignment and assignment in keys.owned["assignments"]
        )

    async def _names(self, search: PersonSearch, worker: tuple[str, str]) -> AsyncIterator[Trace]:
        """The entities of the worker in the index of names."""
        own = encode(search.tenant)
        range_ = EntityRange(own, own, "w|", "w|~", equal=("Reference", worker[1]))
        async for entity in search.range(self._kind.table, range_):
            if entity.text("Group") == worker[0]:
                _, kind, name, _ = entity.row.split("|")
                if kind == _EXTERNAL_NAME:
                    search.keys.external_refs.add(decode(name))
                yield deletion_trace("index entries", self._kind.table, entity)

    async def _packed_names(self, search: PersonSearch) -> AsyncIterator[Trace]:
        """The packed entities of the index with names of the person's workers.

        All are read, because former names of a worker are there too.
        """
        own = encode(search.tenant)
        async for entity in search.entities(self._kind.table, own, *PACKED_NAMES):
            try:
                names = unpack_names(entity)
            except UnreadableDataError:
                search.unreadable["index entries"] += 1
                continue
            others = []
            for name in names:
                if (name.group, name.reference) not in search.keys.workers:
                    others.append(name)
                elif name.found_by.kind == _EXTERNAL_NAME:
                    search.keys.external_refs.add(name.found_by.name)
            if not others:
                yield deletion_trace("index entries", self._kind.table, entity)
            elif len(others) < len(names):
                write = Replace(replace(entity, values=packed_values(others)))
                yield Trace("index entries", self._kind.table, write)


def _is_one_of(
    known: Collection[tuple[str, str]], group: str | None, reference: str | None
) -> bool:
    """Whether a record is among known ones; of one without its group the reference counts."""
    if reference is None:
        return False
    if group is None:
        return any(reference == name for _, name in known)
    return (group, reference) in known
