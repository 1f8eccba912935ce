"""What is stored about a person of licenses: licenses, their keys, files and logs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from shared.clock import ANY_TIME
from shared.errors import UnreadableDataError
from shared.imports.import_type import Document
from shared.imports.licenses.attachments import blobs_of
from shared.imports.licenses.definition import LICENSES
from shared.imports.licenses.license_set import StoredLicense
from shared.imports.licenses.model import (
    IDENTITY_FIELDS,
    Employee,
    employee_of,
    sent_identity,
)
from shared.imports.licenses.store import (
    Owner,
    license_from_entity,
    license_row,
    log_from_entity,
    owner_from_entity,
    with_log_results,
)
from shared.imports.persons import PersonKeys
from shared.imports.results import erased
from shared.services.persons.search import (
    BlobRange,
    PersonSearch,
    Trace,
    deletion_trace,
    former_range,
    former_values_trace,
    shown_record,
)
from shared.storage.business_records import partition_of
from shared.storage.import_records import ImportRecord
from shared.storage.names import LICENSE_DOCUMENTS
from shared.storage.ports import Entity, Replace


class LicensePerson:
    """`PersonSource` of licenses, whose employees are numbered by company and division."""

    has_key_variants = True

    async def find(self, search: PersonSearch) -> AsyncIterator[Trace]:
        """See `PersonSource.find`."""
        keys = search.keys
        for company in sorted({each[0] for each in _employees(keys)}):
            partition = partition_of(search.tenant, company)
            tombstones: dict[str, set[str]] = {}
            async for entity in search.entities(LICENSES.table, partition, "r|", "r|~"):
                try:
                    stored = license_from_entity(entity)
                except UnreadableDataError:
                    search.unreadable[LICENSES.name] += 1
                    continue
                trace = await self._of_license(search, company, entity, stored, tombstones)
                if trace is not None:
                    yield trace
            async for entity in search.entities(LICENSES.table, partition, "k|", "k|~"):
                key = entity.row.removeprefix("k|")
                try:
                    owner = owner_from_entity(entity)
                except UnreadableDataError:
                    owner = Owner({}, is_gone=False)
                is_own = _is_employee(keys, company, employee_of(owner.fields))
                if is_own or (company, key) in keys.owned[LICENSES.name]:
                    keys.owned[LICENSES.name].add((company, key))
                    tombstones.pop(key, None)
                    yield deletion_trace("license keys", LICENSES.table, entity)
                elif key in tombstones:
                    # Another employee has the license by now, with some of its files.
                    tombstones[key] -= await self._files_in_use(search, partition, key, owner)
            if any(tombstones.values()):
                names = {name for names in tombstones.values() for name in names}
                yield _files({f"{search.tenant}/{name}" for name in names})
            async for entity in search.entities(LICENSES.table, partition, "j|", "j|~"):
                trace = self._of_log(search, entity)
                if trace is not None:
                    yield trace
            for trace in await self._all_files(search, company):
                yield trace

    def names_row(self, keys: PersonKeys, row: Mapping[str, Any]) -> bool:
        """See `PersonSource.names_row`."""
        identity = sent_identity(row)
        return self._names(keys, identity, identity.get("licenseKey"))

    def names_key(self, keys: PersonKeys, key: Sequence[str | None]) -> bool:
        """See `PersonSource.names_key`."""
        values: Document = {
            name: text for name, text in zip(IDENTITY_FIELDS, key, strict=True) if text is not None
        }
        return self._names(keys, values, values.get("licenseKey"))

    def files_of(self, record: ImportRecord) -> Sequence[BlobRange]:  # noqa: ARG002
        """See `PersonSource.files_of`. The files of a license are found by its key."""
        return ()

    def _names(self, keys: PersonKeys, values: Document, license_key: str | None) -> bool:
        company = values.get("companyCode")
        owned = keys.owned[LICENSES.name]
        if license_key is not None and any(
            license_key == key and company in (None, group) for group, key in owned
        ):
            return True
        companies = {each[0] for each in _employees(keys)} if company is None else {company}
        employee = employee_of(values)
        return any(_is_employee(keys, each, employee) for each in companies)

    async def _of_license(
        self,
        search: PersonSearch,
        company: str,
        entity: Entity,
        stored: StoredLicense,
        tombstones: dict[str, set[str]],
    ) -> Trace | None:
        former = await search.former(stored)
        before = None if former is None else former.document
        if _is_employee(search.keys, company, stored.employee):
            if stored.document is not None:
                search.keys.owned[LICENSES.name].add((company, stored.key))
            else:
                # The key may belong to a license of another employee by now.
                tombstones[stored.key] = blobs_of((before or {}).get("documents", ()))
                search.keys.related[LICENSES.name].add((company, stored.key))
            return deletion_trace(
                LICENSES.name if stored.document is not None else "deleted records",
                LICENSES.table,
                entity,
                blobs=former_range(stored),
                shown=shown_record(
                    stored.document, former, stored.updated_at, (company, stored.key)
                ),
            )
        if before is not None and _is_employee(search.keys, company, employee_of(before)):
            search.keys.related[LICENSES.name].add((company, stored.key))
            return former_values_trace(
                "former values", LICENSES.table, entity, former_range(stored), before
            )
        return None

    async def _files_in_use(
        self, search: PersonSearch, partition: str, key: str, owner: Owner
    ) -> set[str]:
        row = license_row(employee_of(owner.fields), key)
        entity = await search.tables.get(LICENSES.table, partition, row)
        if entity is None:
            return set()
        document = license_from_entity(entity).document or {}
        return blobs_of(document.get("documents", ()))

    def _of_log(self, search: PersonSearch, entity: Entity) -> Trace | None:
        """The log of an import as it is kept for slow handlers, without what it says of rows."""
        try:
            entry = log_from_entity(entity)
        except UnreadableDataError:
            search.unreadable["logs of licenses"] += 1
            return None
        results = [
            erased(result) if self.names_key(search.keys, result.key) else result
            for result in entry.results
        ]
        if tuple(results) == tuple(entry.results):
            return None
        return Trace("logs of licenses", LICENSES.table, Replace(with_log_results(entity, results)))

    async def _all_files(self, search: PersonSearch, company: str) -> list[Trace]:
        """The files of the person's licenses, former ones too."""
        traces: list[Trace] = []
        for group, key in sorted(search.keys.owned[LICENSES.name]):
            if group != company:
                continue
            prefix = f"{search.tenant}/{key}/"
            names = await search.blobs.names_before(LICENSE_DOCUMENTS, prefix, ANY_TIME)
            if names:
                traces.append(_files(set(names)))
        return traces


def _files(names: set[str]) -> Trace:
    return Trace(
        "files of licenses",
        blobs=tuple(BlobRange(LICENSE_DOCUMENTS, name) for name in sorted(names)),
    )


def _employees(keys: PersonKeys) -> set[tuple[str, str, str]]:
    return keys.license_employees | keys.license_personal_ids


def _is_employee(keys: PersonKeys, company: str, employee: Employee) -> bool:
    division = employee.division or ""
    if employee.number is not None:
        return (company, division, employee.number) in keys.license_employees
    if employee.personal_id is not None:
        return (company, division, str(employee.personal_id)) in keys.license_personal_ids
    return False
