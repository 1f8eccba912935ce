"""The erasure of a tenant: everything that is stored of it, but for what the audit log says.

The data keys go first, so that sealed values are unreadable from then on, whatever happens. Then
calls are refused and open imports closed, so that running handlers stop at their next commit. After
the time for which a process may still know the tenant, everything is deleted, again and again until
nothing is found. The record of the tenant goes last, so an erasure that was interrupted is
completed by the same command.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import groupby

from shared import log
from shared.auth.lookups import DISABLED, PARTITION
from shared.clock import Clock, age_of, to_iso
from shared.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PreconditionFailedError,
)
from shared.services.admin.audit import Action, AuditLog
from shared.services.admin.tenants import ERASED_PARTITION, Tenant, TenantService
from shared.services.import_log import ImportLog
from shared.services.import_watch import longest_until_noticed
from shared.storage import import_records as records
from shared.storage.entities import encode
from shared.storage.names import (
    AUDIT,
    CLIENTS,
    FUNCTION_KEYS,
    HOST_CONTAINER,
    IMPORT_RESULT_BLOBS,
    IMPORT_RESULTS,
    IMPORTS,
    INTEGRATIONS,
    TENANTS,
)
from shared.storage.ports import (
    MAX_OPERATIONS,
    Delete,
    Entity,
    EntityRange,
    ListedBlobs,
    Merge,
    Operation,
    RangeTables,
    Upsert,
    query_pages,
    query_range_pages,
)
from shared.storage.result_records import blobs_of

_PAGE = 1_000
_AT_ONCE = 8
# A handler that has noticed that its import is not open any more may be writing.
_COMMIT_SECONDS = 1.0
# A call that began before the tenant was disabled may still store something.
_MOST_PASSES = 20
# First and last row key there are.
_ALL_ROWS = ("", "~")
# Tables whose entities are found by their column `tenant`, because their keys do not name it.
_BY_COLUMN = (FUNCTION_KEYS, CLIENTS)
# Tables whose entities of a tenant are deleted in another way, or kept.
_NOT_BY_PARTITION = frozenset((*_BY_COLUMN, TENANTS, IMPORTS, IMPORT_RESULTS, AUDIT))


# Deletes what the host keeps of blobs of which a function of container and name is true.
ForgetDrops = Callable[[Callable[[str, str], bool], datetime], Awaitable[int]]


class TenantErasure:
    """Erases tenants. `first_tables` are cleared first, then `table_names` and `containers`.

    `cache_seconds` is how long a process may still take a tenant for enabled. `pause` waits.
    """

    def __init__(
        self,
        *,
        tables: RangeTables,
        blobs: ListedBlobs,
        imports: ImportLog,
        tenants: TenantService,
        audit: AuditLog,
        clock: Clock,
        cache_seconds: float,
        first_tables: Sequence[str],
        table_names: Iterable[str],
        containers: Sequence[str],
        forget_drops: ForgetDrops,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._tables = tables
        self._blobs = blobs
        self._imports = imports
        self._tenants = tenants
        self._audit = audit
        self._clock = clock
        self._cache_seconds = cache_seconds
        self._first_tables = first_tables
        self._table_names = [
            name
            for name in dict.fromkeys(table_names)
            if name not in _NOT_BY_PARTITION and name not in first_tables
        ]
        self._containers = [name for name in containers if name != IMPORT_RESULT_BLOBS]
        self._forget_drops = forget_drops
        self._pause = pause

    async def erase(self, reference: str, confirmation: str) -> Mapping[str, int]:
        """Erase a tenant. Returns the number of deleted entities and blobs by table and container.

        Raises NotFoundError for a tenant of which nothing is stored, InvalidRequestError if
        `confirmation` is not the id of the tenant, and ConflictError if something of it is stored
        again and again.
        """
        tenant = await self._find(reference)
        if confirmation != tenant.id:
            raise InvalidRequestError(
                f"Nothing was erased: repeat the id of the tenant, --confirm {tenant.id}."
            )
        target = {"tenant": tenant.id}
        async with self._audit.act("", Action.TENANT_ERASE, target) as act:
            deleted = await self._erase(tenant.id)
            act.after = {"deleted": dict(deleted)}
        log.event("tenant.erased", tenant=tenant.id, done=deleted.total())
        return dict(deleted)

    async def _find(self, reference: str) -> Tenant:
        """The tenant, also one that was erased before: a call that was still running then may have
        stored something since.
        """
        try:
            return await self._tenants.find(reference)
        except NotFoundError:
            erased = await self._tables.get(TENANTS, ERASED_PARTITION, encode(reference))
            if erased is None:
                raise
            return Tenant(erased.row, "", "")

    async def _erase(self, tenant: str) -> Counter[str]:
        deleted: Counter[str] = Counter()
        for table in self._first_tables:
            deleted[table] += await self._delete_partitions(table, tenant)
        is_known = await self._disable(tenant)
        noticed_after = await self._close_imports(tenant)
        if is_known or noticed_after:
            noticed_after = max(noticed_after, longest_until_noticed(0))
            await self._pause(self._cache_seconds + noticed_after + _COMMIT_SECONDS)
        for _ in range(_MOST_PASSES):
            swept = await self._sweep(tenant)
            if not swept.total():
                break
            deleted += swept
        else:
            raise ConflictError(
                f"Something of tenant {tenant} is stored again and again: let the calls that still "
                "run end, then repeat the command."
            )
        erased = Entity(ERASED_PARTITION, encode(tenant), {"at": to_iso(self._clock.now())})
        await self._tables.write(TENANTS, Upsert(erased))
        if is_known:
            with suppress(PreconditionFailedError):
                await self._tables.write(TENANTS, Delete(Entity(PARTITION, encode(tenant), {})))
            deleted[TENANTS] += 1
        return +deleted

    async def _disable(self, tenant: str) -> bool:
        """Refuse every call of the tenant; whether it was still there."""
        try:
            disabled = Entity(PARTITION, encode(tenant), {DISABLED: True})
            await self._tables.write(TENANTS, Merge(disabled))
        except PreconditionFailedError:
            return False
        return True

    async def _close_imports(self, tenant: str) -> float:
        """Close the open imports, so that their handlers stop.

        Returns the seconds until all of them have noticed it; 0 where nothing was open.
        """
        now = to_iso(self._clock.now())
        noticed_after = 0.0
        for open_import in await self._imports.open_of(tenant):
            record = await self._imports.read(tenant, open_import.number)
            age = age_of("" if record is None else record.accepted_at, self._clock.now())
            open_seconds = math.inf if age is None else age.total_seconds()
            noticed_after = max(noticed_after, longest_until_noticed(open_seconds))
            row = records.record_row(open_import.number)
            ended = Entity(tenant, row, {"EndedAt": now, "IsBroken": True})
            with suppress(PreconditionFailedError):
                await self._tables.write(IMPORTS, Merge(ended))
            await self._imports.forget_open(open_import)
        return noticed_after

    async def _sweep(self, tenant: str) -> Counter[str]:
        """Delete everything that is there now."""
        await self._close_imports(tenant)
        deleted: Counter[str] = Counter()
        for table in (*self._first_tables, INTEGRATIONS, *self._table_names):
            deleted[table] += await self._delete_partitions(table, tenant)
        for table in _BY_COLUMN:
            range_ = EntityRange("", "~", *_ALL_ROWS, equal=("tenant", tenant), select=())
            deleted[table] += await self._delete_range(table, range_)
        for container in self._containers:
            deleted[container] += await self._delete_blobs(container, f"{tenant}/")
        deleted[HOST_CONTAINER] += await self._forget_drops(
            lambda _container, name: name.startswith(f"{tenant}/"), self._later()
        )
        await self._delete_imports(tenant, deleted)
        return deleted

    async def _delete_imports(self, tenant: str, deleted: Counter[str]) -> None:
        """Delete the imports, each after its results, which are found by its id alone."""
        first, last = records.RECORDS
        async for page in query_pages(
            self._tables, IMPORTS, tenant, first, last, select=["ImportId"], most=100
        ):
            for entity in page:
                import_id = entity.text("ImportId")
                if import_id:
                    deleted[IMPORT_RESULT_BLOBS] += await self._delete_blobs(
                        IMPORT_RESULT_BLOBS, blobs_of(import_id)
                    )
                    range_ = EntityRange(import_id, import_id, *_ALL_ROWS, select=())
                    deleted[IMPORT_RESULTS] += await self._delete_range(IMPORT_RESULTS, range_)
            deleted[IMPORTS] += await self._delete_entities(IMPORTS, page)
        for first_row, last_row in (("", "n"), ("n~", "~")):
            range_ = EntityRange(tenant, tenant, first_row, last_row, select=())
            deleted[IMPORTS] += await self._delete_range(IMPORTS, range_)

    async def _delete_partitions(self, table: str, tenant: str) -> int:
        """Delete the tenant's own partition of a table, and those of its groups."""
        own = encode(tenant)
        deleted = 0
        for first, last in ((own, own), (f"{own}|", f"{own}|~")):
            range_ = EntityRange(first, last, *_ALL_ROWS, select=())
            deleted += await self._delete_range(table, range_)
        return deleted

    async def _delete_range(self, table: str, range_: EntityRange) -> int:
        deleted = 0
        async for entities in query_range_pages(self._tables, table, range_, _PAGE):
            deleted += await self._delete_entities(table, entities)
        return deleted

    async def _delete_entities(self, table: str, entities: Sequence[Entity]) -> int:
        """Delete entities, whatever they say by now."""
        deleted = 0
        for partition, group in groupby(entities, key=lambda each: each.partition):
            operations = [Delete(Entity(partition, each.row, {})) for each in group]
            batches: list[Sequence[Operation]] = [
                operations[at : at + MAX_OPERATIONS]
                for at in range(0, len(operations), MAX_OPERATIONS)
            ]
            for at in range(0, len(batches), _AT_ONCE):
                counts = await asyncio.gather(
                    *(self._delete_batch(table, batch) for batch in batches[at : at + _AT_ONCE])
                )
                deleted += sum(counts)
        return deleted

    async def _delete_batch(self, table: str, batch: Sequence[Operation]) -> int:
        try:
            await self._tables.transact(table, batch)
        except PreconditionFailedError:
            # One of them went meanwhile.
            for operation in batch:
                with suppress(PreconditionFailedError):
                    await self._tables.write(table, operation)
        return len(batch)

    async def _delete_blobs(self, container: str, prefix: str) -> int:
        names = await self._blobs.names_before(container, prefix, self._later())
        for at in range(0, len(names), _AT_ONCE):
            await asyncio.gather(
                *(self._blobs.delete(container, name) for name in names[at : at + _AT_ONCE])
            )
        return len(names)

    def _later(self) -> datetime:
        """After the last write of any blob, whose time is that of storage."""
        return self._clock.now() + timedelta(days=1)
