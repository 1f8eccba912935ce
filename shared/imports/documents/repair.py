"""Finds communication rounds that cannot be read (`manage.py records`)."""

from __future__ import annotations

from collections.abc import AsyncIterator

from shared.imports.documents.rounds import RoundStatus
from shared.services.record_repair import SETUP, BrokenEntry, Repair, RepairContext
from shared.storage.entities import decode, encode
from shared.storage.names import COMMUNICATION_ROUNDS


async def find_broken_rounds(context: RepairContext, tenant: str) -> AsyncIterator[BrokenEntry]:
    async for entity in context.entities(COMMUNICATION_ROUNDS, encode(tenant)):
        if entity.text("Status") not in list(RoundStatus):
            fault = "the status of the round cannot be read; mend it with `round set`"
            yield BrokenEntry(SETUP, decode(entity.row), fault, Repair.NONE)
