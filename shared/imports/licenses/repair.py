"""Finds stored licenses that cannot be read, with the repair of each (`manage.py records`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from shared.clock import to_iso
from shared.errors import UnreadableDataError
from shared.imports.licenses import store
from shared.imports.licenses.definition import LICENSES
from shared.imports.licenses.license_set import Change, StoredLicense
from shared.imports.licenses.model import employee_of
from shared.services.record_repair import (
    NO_IMPORT,
    BrokenEntry,
    Repair,
    RepairContext,
    readable_json,
    shown_key,
)
from shared.storage.partition_index import record_partitions
from shared.storage.ports import Delete, Entity


async def find_broken_licenses(context: RepairContext, tenant: str) -> AsyncIterator[BrokenEntry]:
    open_numbers = [opened.number for opened in await context.imports.open_of(tenant)]
    for partition in await record_partitions(context.tables, LICENSES.table, tenant):
        licenses: dict[str, StoredLicense] = {}
        async for entity in context.entities(LICENSES.table, partition, "r|", "r|~"):
            key = entity.row.rpartition("|")[2]
            try:
                license_ = store.license_from_entity(entity)
                if await context.is_of_no_import(tenant, license_.number):
                    yield _broken_license(context, tenant, entity, key, NO_IMPORT)
                if license_.document is not None:
                    licenses[key] = license_
            except UnreadableDataError as error:
                yield _broken_license(context, tenant, entity, key, str(error))
                licenses[key] = StoredLicense(key, employee_of({}), None, 0)
        async for entity in context.entities(LICENSES.table, partition, "k|", "k|~"):
            key = entity.row.removeprefix("k|")
            fault = _fault_of_owner(entity, is_there=key in licenses)
            if fault:
                yield _broken_owner(context, entity, licenses.get(key), fault)
        async for entity in context.entities(LICENSES.table, partition, "j|", "j|~"):
            try:
                store.log_from_entity(entity)
            except UnreadableDataError as error:
                number = entity.row.split("|")[1]
                name = shown_key(partition, f"log of import number {int(number)}")
                if int(number) in open_numbers:
                    yield BrokenEntry(LICENSES.name, name, str(error), Repair.NONE)
                else:
                    yield context.removal(
                        LICENSES.name, LICENSES.table, name, str(error), [Delete(entity)]
                    )


def _broken_license(
    context: RepairContext, tenant: str, entity: Entity, key: str, fault: str
) -> BrokenEntry:
    document = readable_json(entity)
    repaired = None
    if document is not None:
        employee = employee_of(document)
        if store.license_row(employee, key) == entity.row:
            repaired = StoredLicense(key, employee, document, 0, entity.text("CreatedAt"))

    async def carry_out() -> None:
        await context.tables.write(LICENSES.table, Delete(entity))
        if repaired is None:
            owner = Entity(entity.partition, store.key_row(key), {})
            await context.tables.write(LICENSES.table, Delete(owner))
        else:
            number = await context.imports.newest_number(tenant)
            await _write_license(context, entity.partition, replace(repaired, number=number))

    name = shown_key(entity.partition, key)
    repair = Repair.REMOVE if repaired is None else Repair.MEND
    return BrokenEntry(LICENSES.name, name, fault, repair, carry_out)


def _broken_owner(
    context: RepairContext, entity: Entity, stored_license: StoredLicense | None, fault: str
) -> BrokenEntry:
    name = shown_key(entity.partition, entity.row.removeprefix("k|"))
    if stored_license is None or stored_license.document is None:
        return context.removal(LICENSES.name, LICENSES.table, name, fault, [Delete(entity)])
    license_ = stored_license

    async def carry_out() -> None:
        await _write_license(context, entity.partition, license_)

    return BrokenEntry(LICENSES.name, name, fault, Repair.MEND, carry_out)


async def _write_license(
    context: RepairContext, partition: str, stored_license: StoredLicense
) -> None:
    change = Change(stored_license.key, None, stored_license, is_reused=True)
    now = to_iso(context.clock.now())
    operations = store.operations_of(partition, change, stored_license.number, now)
    await context.tables.transact(LICENSES.table, operations)


def _fault_of_owner(entity: Entity, *, is_there: bool) -> str:
    try:
        owner = store.owner_from_entity(entity)
    except UnreadableDataError as error:
        return str(error)
    return "" if owner.is_gone or is_there else "the license of this key is not there"
