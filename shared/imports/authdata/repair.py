"""Finds staged batches that cannot be read (`manage.py records`)."""

from __future__ import annotations

from collections.abc import AsyncIterator

from shared.errors import UnreadableDataError
from shared.imports.authdata import batch_records
from shared.services.record_repair import BrokenEntry, Repair, RepairContext
from shared.storage.entities import encode
from shared.storage.names import AUTH_STAGING

BATCHES = "batches"


async def find_broken_batches(context: RepairContext, tenant: str) -> AsyncIterator[BrokenEntry]:
    async for index_entity in context.entities(AUTH_STAGING, encode(tenant), "b|", "b|~"):
        file_log_id = index_entity.text("Batch")
        partition = batch_records.partition_of(tenant, file_log_id)
        entity = await context.tables.get(AUTH_STAGING, partition, batch_records.BATCH_ROW)
        try:
            if entity is not None:
                batch_records.from_entity(tenant, file_log_id, entity)
        except UnreadableDataError as error:
            # The upkeep of batches removes it.
            yield BrokenEntry(BATCHES, file_log_id, str(error), Repair.NONE)
