"""After a new data key: values under older keys are sealed anew, and unused keys are removed.

A rotation only adds a key (`shared.storage.sealing`). The housekeeping timer does the rest in
slices, each of which may be repeated or left out:

1. Data keys are wrapped under the first key of GATEWAY_DATA_KEYS.
2. Records are sealed under the tenant's current key, each by a write on condition that it has not
   changed. A process may seal under the key before for as long as it remembers the tenant's keys,
   so the pass over the records begins MARGIN after the rotation.
3. Payloads and former values in blobs are not written anew, because they expire. An older key goes
   when all imports of its time have ended, and the time for which they are kept has passed.

A key that no key of the setting opens never goes, since what it has sealed cannot be sealed anew.
Where the setting opens other keys than it did when the pass over the records began, the pass begins
again: a key that has come back may have sealed any of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import groupby
from typing import Final

from shared import log
from shared.clock import Clock, age_of, to_iso
from shared.errors import ConflictError, PreconditionFailedError
from shared.services.admin.audit import Action, AuditLog
from shared.services.background import UpkeepFaults
from shared.services.import_log import ImportLog
from shared.storage.entities import encode
from shared.storage.names import SIGNING_KEYS
from shared.storage.ports import (
    MAX_OPERATIONS,
    EntityRange,
    Operation,
    StoredTables,
    query_range_pages,
)
from shared.storage.sealed_storage import RESEALED_COLUMNS, key_numbers, resealed
from shared.storage.sealing import GATEWAY, DataKeys, StoredDataKey

# By how much the pass over the records begins later than the rotation: longer than any process
# remembers data keys and repeats a write.
MARGIN: Final = timedelta(minutes=10)
# How much longer than payloads and results are kept an older key stays, since retention is not
# punctual.
_GRACE: Final = timedelta(days=2)
_PAGE: Final = 500
# The time of a run of the timer: some plans of the platform limit a function to five minutes.
_SECONDS: Final = 200.0
# The partitions of `SigningKeys`: the keys of tokens, and the key for hashes of bodies.
_SIGNING_PARTITIONS: Final = ("signing", "fingerprints")


@dataclass(frozen=True, slots=True)
class DataKeyState:
    """A data key for an operator. `is_opened`: a key of the setting opens it.

    `records` is how many records still have values under it; None if they were not counted.
    """

    key: StoredDataKey
    is_current: bool
    is_opened: bool
    records: int | None = None


class DataKeyRotation:
    """Rotates data keys, seals anew, removes keys. `tables` read and write without sealing.

    `record_tables` are the tables of records with sensitive fields, `keep` is how long payloads and
    results are kept.
    """

    def __init__(
        self,
        *,
        tables: StoredTables,
        data_keys: DataKeys,
        record_tables: Callable[[], Sequence[str]],
        imports: ImportLog,
        tenants: Callable[[], Awaitable[list[str]]],
        clock: Clock,
        audit: AuditLog,
        keep: timedelta,
    ) -> None:
        self._tables = tables
        self._data_keys = data_keys
        self._record_tables = record_tables
        self._imports = imports
        self._tenants = tenants
        self._clock = clock
        self._audit = audit
        self._keep = keep

    async def owners(self) -> list[str]:
        """The tenants, and the gateway itself, that have data keys of their own."""
        return [GATEWAY, *await self._tenants()]

    async def rotate(self, owner: str, *, is_lost: bool = False) -> int:
        """Make a new data key; its number.

        `is_lost`: even if no key of the setting opens the current one. Raises ConflictError, and
        DataKeysNotSetError.
        """
        keys = await self._data_keys.stored(owner)
        if self._data_keys.are_set and keys and not is_lost:
            current = keys[-1]
            if self._data_keys.unwrapped(current) is None:
                raise ConflictError(
                    f"No key of GATEWAY_DATA_KEYS opens the data key of {owner}, which is under "
                    f"{current.under}: put that key back into the setting. If it is lost for good, "
                    "add --lost: what is sealed under it then stays unreadable."
                )
        tenant = "" if owner == GATEWAY else owner
        async with self._audit.act(tenant, Action.DATA_KEY_ROTATE, {}) as act:
            number = await self._data_keys.rotate(owner)
            if is_lost:
                await self._data_keys.replace_lost_hash_key(owner)
            act.after = {"key": number}
        log.event("data_key.rotated", tenant=owner, number=number)
        return number

    async def states(self, owner: str, *, counts: bool = False) -> list[DataKeyState]:
        """The data keys of a tenant, the current one last; `counts` the records under each."""
        stored = await self._data_keys.stored(owner)
        under = await self._records_by_key(owner, stored) if counts else {}
        return [
            DataKeyState(
                key=key,
                is_current=key is stored[-1],
                is_opened=self._data_keys.unwrapped(key) is not None,
                records=under.get(key.number, 0) if counts else None,
            )
            for key in stored
        ]

    async def run(self) -> None:
        """One slice of the work on all tenants: what the timer does."""
        if not self._data_keys.are_set:
            return
        end = self._clock.elapsed() + _SECONDS
        faults = UpkeepFaults("data_keys.failed")
        for owner in await self.owners():
            try:
                await self.work_on(owner, end)
            except Exception as error:
                faults.note(error, tenant=owner)
                continue
            faults.note_success()
            if self._clock.elapsed() > end:
                return

    async def work_on(self, owner: str, end: float) -> None:
        """Do what is left for a tenant, until `end` of the clock's elapsed time."""
        await self._data_keys.rewrap(owner)
        if owner == GATEWAY:
            await self._reseal_signing_keys()
        keys = await self._data_keys.stored(owner)
        if len(keys) < 2:
            return
        current = keys[-1]
        if (age_of(current.created_at, self._clock.now()) or MARGIN) < MARGIN:
            return
        opened = [key for key in keys[:-1] if self._data_keys.unwrapped(key) is not None]
        if owner != GATEWAY:
            numbers = " ".join(str(key.number) for key in opened)
            if current.progress.get("ResealedKeys") != numbers:
                begin = {"ResealedKeys": numbers, "ResealAfter": "", "ResealedAt": ""}
                await self._data_keys.note(current, **begin)
                current = replace(current, progress={**current.progress, **begin})
            if not current.progress.get("ResealedAt"):
                await self._reseal_records(owner, current, end)
                return
            if not await self._is_out_of_use(owner, current):
                return
        for key in opened:
            await self._data_keys.remove(key)
            log.event("data_key.removed", tenant=owner, number=key.number)

    async def reseal(self, owner: str) -> int:
        """Seal the values of a tenant under its current key at once; how many records were not."""
        await self._data_keys.rewrap(owner)
        if owner == GATEWAY:
            return await self._reseal_signing_keys()
        self._data_keys.forget(owner)
        changed = 0
        for table in self._record_tables():
            for range_ in _ranges(owner):
                after: tuple[str, str] | None = None
                while True:
                    after, count = await self._reseal_page(owner, table, range_, after)
                    changed += count
                    if after is None:
                        break
        return changed

    async def _reseal_records(self, owner: str, current: StoredDataKey, end: float) -> None:
        """The next pages of the pass over the records."""
        places = [(table, at) for table in self._record_tables() for at in (0, 1)]
        at, after = _read_place(str(current.progress.get("ResealAfter", "")))
        while at < len(places):
            table, number = places[at]
            after, _ = await self._reseal_page(owner, table, _ranges(owner)[number], after)
            at += after is None
            place = str(at) if after is None else " ".join((str(at), *after))
            await self._data_keys.note(current, ResealAfter=place)
            if self._clock.elapsed() > end:
                return
        await self._data_keys.note(current, ResealedAt=to_iso(self._clock.now()))
        log.event("data_key.records_resealed", tenant=owner, number=current.number)

    async def _reseal_page(
        self, owner: str, table: str, range_: EntityRange, after: tuple[str, str] | None
    ) -> tuple[tuple[str, str] | None, int]:
        """Seal one page anew: where the next one begins (None: nowhere), and what was changed."""
        sealer = await self._data_keys.sealer(owner)
        page = await self._tables.query_range(table, range_, after, _PAGE)
        count = 0
        for _, group in groupby(page.entities, key=lambda each: each.partition):
            operations = [
                operation
                for entity in group
                if key_numbers(entity) - {sealer.current}
                and (operation := resealed(table, entity, sealer)) is not None
            ]
            count += len(operations)
            for at in range(0, len(operations), MAX_OPERATIONS):
                await self._write_unchanged(table, operations[at : at + MAX_OPERATIONS])
        if page.is_last or not page.entities:
            return None, count
        last = page.entities[-1]
        return (last.partition, last.row), count

    async def _write_unchanged(self, table: str, operations: Sequence[Operation]) -> None:
        """Write these, but those whose entity has changed: it was sealed by who changed it."""
        try:
            await self._tables.transact(table, operations)
        except PreconditionFailedError:
            for each in operations:
                with suppress(PreconditionFailedError):
                    await self._tables.write(table, each)

    async def _reseal_signing_keys(self) -> int:
        sealer = await self._data_keys.sealer(GATEWAY)
        count = 0
        for partition in _SIGNING_PARTITIONS:
            for entity in await self._tables.query(SIGNING_KEYS, partition):
                operation = resealed(SIGNING_KEYS, entity, sealer)
                if operation is not None:
                    await self._write_unchanged(SIGNING_KEYS, [operation])
                    count += 1
        return count

    async def _is_out_of_use(self, owner: str, current: StoredDataKey) -> bool:
        """Whether nothing that expires is left under older keys."""
        progress = current.progress
        if "LastNumber" not in progress:
            newest = await self._imports.newest_number(owner)
            await self._data_keys.note(current, LastNumber=newest)
            return False
        if not progress.get("ImportsEndedAt"):
            last = int(progress["LastNumber"])
            if all(each.number > last for each in await self._imports.open_of(owner)):
                await self._data_keys.note(current, ImportsEndedAt=to_iso(self._clock.now()))
            return False
        age = age_of(str(progress["ImportsEndedAt"]), self._clock.now())
        return age is not None and age > self._keep + _GRACE

    async def _records_by_key(self, owner: str, stored: Sequence[StoredDataKey]) -> dict[int, int]:
        counts = {key.number: 0 for key in stored}
        for table in self._record_tables():
            for range_ in _ranges(owner):
                async for page in query_range_pages(self._tables, table, range_, _PAGE):
                    for number in (number for entity in page for number in key_numbers(entity)):
                        counts[number] = counts.get(number, 0) + 1
        return counts


def _ranges(owner: str) -> tuple[EntityRange, EntityRange]:
    """The records of a tenant: in its own partition, and in those of its groups."""
    own = encode(owner)
    rows = ("r|", "r|~")
    return (
        EntityRange(own, own, *rows, select=RESEALED_COLUMNS),
        EntityRange(f"{own}|", f"{own}|~", *rows, select=RESEALED_COLUMNS),
    )


def _read_place(text: str) -> tuple[int, tuple[str, str] | None]:
    """Where a pass goes on: the number of its range, and the record behind which that begins."""
    number, *keys = text.split(" ")
    at = int(number) if number.isdecimal() else 0
    return at, (keys[0], keys[1]) if len(keys) == 2 else None
