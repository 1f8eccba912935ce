"""What is kept of persons themselves: keyed hashes of erased ones, and holds.

Table `Persons`, partition tenant:

t|<hash>      the tombstone of an erased person: number and id of the erasure, its time
h|<hash>      a hold, which refuses the erasure: reason, time, who set it
e|<number>    how much an erasure has found, by area; a run that completes it reports that

A hash is HMAC-SHA-256 of one name of the person under a key of the tenant (`DataKeys.hash_key`), so
that nothing here says who the person is, and names cannot be tried out without that key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from shared.clock import Clock, to_iso
from shared.errors import ConflictError, NotFoundError, PreconditionFailedError
from shared.imports.persons import Identity
from shared.storage.entities import encode, join_text, split_text
from shared.storage.import_records import ImportRecord
from shared.storage.names import PERSONS
from shared.storage.ports import Delete, Entity, Insert, Tables, Upsert, Value, reading
from shared.storage.sealing import DataKeys

_HASH_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class ErasureReport:
    """What an erasure found, by area, and what cannot be read, so that it was kept."""

    counts: Mapping[str, int] = field(default_factory=dict)
    unreadable: Mapping[str, int] = field(default_factory=dict)

    def to_document(self) -> dict[str, Any]:
        """For programs."""
        kept = [
            {"what": area, "count": count, "reason": "it cannot be read"}
            for area, count in self.unreadable.items()
        ]
        return {"found": dict(self.counts), "erased": dict(self.counts), "kept": kept}


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a person must not be erased; `at` is ISO text."""

    reason: str
    at: str
    by: str


class PersonRegister:
    """Reads and writes the table `Persons`."""

    def __init__(self, tables: Tables, data_keys: DataKeys, clock: Clock) -> None:
        self._tables = tables
        self._data_keys = data_keys
        self._clock = clock

    async def hashes(self, tenant: str, identities: Sequence[Identity]) -> list[str]:
        """The hash of each name of a person. Raises DataKeysNotSetError."""
        key = await self._data_keys.hash_key(tenant)
        texts = [json.dumps(["person", *identity.pack()]) for identity in identities]
        return [
            hmac.digest(key, text.encode(), hashlib.sha256).hex()[:_HASH_CHARACTERS]
            for text in texts
        ]

    async def hold(self, tenant: str, hashes: Sequence[str], reason: str, by: str) -> None:
        """Refuse the erasure of a person until the hold is released; a new reason replaces it."""
        values: dict[str, Value] = {
            "Reason": reason,
            "At": to_iso(self._clock.now()),
            "By": by,
        }
        for each in hashes:
            await self._tables.write(PERSONS, Upsert(Entity(encode(tenant), f"h|{each}", values)))

    async def release(self, tenant: str, hashes: Sequence[str]) -> None:
        """Remove the holds of a person. Raises NotFoundError if there is none."""
        if not [each for each in hashes if await self.find_hold(tenant, [each])]:
            raise NotFoundError("There is no hold on this person: check the references.")
        for each in hashes:
            with suppress(PreconditionFailedError):
                await self._tables.write(PERSONS, Delete(Entity(encode(tenant), f"h|{each}", {})))

    async def find_hold(self, tenant: str, hashes: Sequence[str]) -> Hold | None:
        """The first hold on a person."""
        for each in hashes:
            entity = await self._tables.get(PERSONS, encode(tenant), f"h|{each}")
            if entity is not None:
                return Hold(entity.text("Reason"), entity.text("At"), entity.text("By"))
        return None

    async def check_not_held(self, tenant: str, hashes: Sequence[str]) -> None:
        """Raises ConflictError if there is a hold on a person."""
        hold = await self.find_hold(tenant, hashes)
        if hold is not None:
            raise ConflictError(
                f"A hold of {hold.at[:10]} refuses the erasure of this person: {hold.reason}. "
                "Release the hold first, with `person release`."
            )

    async def add_tombstones(self, record: ImportRecord, hashes: Sequence[str]) -> None:
        """Note that a person was erased."""
        values: dict[str, Value] = {
            "Number": record.number,
            "ImportId": record.import_id,
            "At": to_iso(self._clock.now()),
        }
        for each in hashes:
            tombstone = Entity(encode(record.tenant), f"t|{each}", values)
            await self._tables.write(PERSONS, Upsert(tombstone))

    async def erased_at(self, tenant: str, hashes: Sequence[str]) -> str:
        """When a person was erased last, as ISO text; "" if it never was."""
        tombstones = [
            await self._tables.get(PERSONS, encode(tenant), f"t|{each}") for each in hashes
        ]
        return max((entity.text("At") for entity in tombstones if entity is not None), default="")

    async def keep_report(self, record: ImportRecord, report: ErasureReport) -> None:
        """Keep what an erasure found, before it erases anything; the first report counts."""
        text = json.dumps([dict(report.counts), dict(report.unreadable)])
        row = f"e|{record.number:012d}"
        with suppress(PreconditionFailedError):
            entity = Entity(encode(record.tenant), row, split_text("Report", text))
            await self._tables.write(PERSONS, Insert(entity))

    async def report(self, record: ImportRecord) -> ErasureReport:
        """What an erasure found; an empty report if it has not got so far."""
        row = f"e|{record.number:012d}"
        entity = await self._tables.get(PERSONS, encode(record.tenant), row)
        return ErasureReport() if entity is None else _report(entity)


@reading("the report of an erasure")
def _report(entity: Entity) -> ErasureReport:
    counts, unreadable = json.loads(join_text("Report", entity.values))
    return ErasureReport(dict(counts), dict(unreadable))
