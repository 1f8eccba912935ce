"""Retention: what has been kept long enough goes (DESIGN 6; CONTRACTS 5).

It is a list of small steps, each with a time of its own; whoever stores something that is not kept
for ever adds a step in `shared/composition/retention.py`. A step goes through one tenant at a time
and yields whenever something has gone, so that a run can stop between two things; what it leaves,
the next run finds. Every step can be repeated, and can be run by two processes at once.

The timer runs it every hour; each tenant has its turn once a day. `manage.py purge` runs it by
hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared import log
from shared.clock import Clock
from shared.imports.documents.definition import DOCUMENTS
from shared.services.documents.processor import blob_of
from shared.services.import_log import ImportLog
from shared.services.moments import age_of, iso
from shared.services.upkeep import UpkeepFaults
from shared.storage.business_records import from_entity
from shared.storage.document_blobs import DocumentBlobs
from shared.storage.entities import encode
from shared.storage.names import DOCUMENT_REJECTED, IMPORTS
from shared.storage.ports import Entity, ListedBlobs, Tables, Upsert

Expire = Callable[[str, datetime], AsyncIterator[int]]
"""expire(tenant, before): lets go what has had its time before that moment; yields how many things
have gone since it yielded last.
"""

_MARK = "retention"
"""Row key, in the tenant's partition of `Imports`, of the entity that says when it had its turn."""
_EVERY = timedelta(hours=23)
"""A little under a day, or a tenant's hour would move on."""
_SECONDS = 240.0
"""How long a run of the timer goes on: some plans of the platform give a function five minutes."""


@dataclass(frozen=True, slots=True)
class RetentionStep:
    """One kind of thing that goes after its time.

    `name` is what `manage.py purge` calls it. `least` is how long it is kept whatever a purge by
    hand asks for: what may belong to a call that is still running.
    """

    name: str
    keep: timedelta
    expire: Expire
    least: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Purged:
    """How many things went, by the name of the step; which steps failed for which tenants."""

    went: Mapping[str, int]
    failed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Done:
    went: int
    is_over: bool = False
    has_failed: bool = False


def counted(expire: Callable[[str, datetime], Awaitable[int]]) -> Expire:
    """A step's `expire` from a function that does it in one go and returns how many went."""

    async def steps(tenant: str, before: datetime) -> AsyncIterator[int]:
        yield await expire(tenant, before)

    return steps


class Retention:
    """Runs the steps. `tenants` lists the ids of all tenants."""

    def __init__(
        self,
        steps: Sequence[RetentionStep],
        tables: Tables,
        clock: Clock,
        tenants: Callable[[], Awaitable[list[str]]],
        seconds: float = _SECONDS,
    ) -> None:
        self._steps = steps
        self._tables = tables
        self._clock = clock
        self._tenants = tenants
        self._seconds = seconds

    async def run(self) -> None:
        """Give every tenant that has not had one today its turn, while there is time."""
        end = self._clock.elapsed() + self._seconds
        faults = UpkeepFaults("retention.failed")
        for tenant in await self._tenants():
            try:
                is_over = await self._run_tenant(tenant, end, faults)
            except Exception as error:
                faults.note(error, tenant=tenant)
                continue
            if is_over:
                return

    async def _run_tenant(self, tenant: str, end: float, faults: UpkeepFaults) -> bool:
        """Whether the time is up. A tenant whose storage failed has its turn again next time."""
        if not await self._is_due(tenant):
            return False
        for step in self._steps:
            done = await self._run_step(step, tenant, step.keep, end, faults)
            if done.went:
                log.event("retention.expired", tenant=tenant, step=step.name, done=done.went)
            if done.is_over:
                return True
        await self._note_turn(tenant)
        return False

    async def purge(self, tenants: Sequence[str], keep: timedelta | None) -> Purged:
        """Run every step for these tenants now. A step that fails does not stop the others.

        `keep` takes the place of the times of the settings. Raises StorageUnavailableError where
        storage is away.
        """
        went: Counter[str] = Counter({step.name: 0 for step in self._steps})
        failed: list[tuple[str, str]] = []
        faults = UpkeepFaults("retention.failed")
        for tenant in tenants:
            for step in self._steps:
                time = step.keep if keep is None else max(keep, step.least)
                done = await self._run_step(step, tenant, time, None, faults)
                went[step.name] += done.went
                if done.has_failed:
                    failed.append((tenant, step.name))
        return Purged(dict(went), tuple(failed))

    async def _run_step(
        self,
        step: RetentionStep,
        tenant: str,
        keep: timedelta,
        end: float | None,
        faults: UpkeepFaults,
    ) -> _Done:
        """What a step did. One step's fault stops no other."""
        went = 0
        try:
            async for some in step.expire(tenant, self._clock.now() - keep):
                went += some
                if end is not None and self._clock.elapsed() > end:
                    return _Done(went, is_over=True)
        except Exception as error:
            faults.note(error, tenant=tenant, step=step.name)
            return _Done(went, has_failed=True)
        faults.note_success()
        return _Done(went)

    async def _is_due(self, tenant: str) -> bool:
        mark = await self._tables.get(IMPORTS, tenant, _MARK)
        age = None if mark is None else age_of(mark.text("At"), self._clock.now())
        return age is None or age >= _EVERY

    async def _note_turn(self, tenant: str) -> None:
        mark = Entity(tenant, _MARK, {"At": iso(self._clock.now())})
        await self._tables.write(IMPORTS, Upsert(mark))


# Files that no document refers to go after their time (see `retention`; CONTRACTS 4).
#
# Each upload is a file of its own, so a document that was replaced, and an upload that failed,
# leave one behind. When a file was replaced is written nowhere; retention marks it when it first
# meets it without a document, and removes it when the mark is old enough.

_DOCUMENTS_PER_PAGE = 1_000
_A_CALL_IS_OVER = timedelta(days=1)
"""After this time a file belongs to a document or to nobody."""


class ExpiringFiles:
    """A step that goes through the files of a tenant's documents."""

    def __init__(
        self, tables: Tables, files: DocumentBlobs, imports: ImportLog, clock: Clock
    ) -> None:
        self._tables = tables
        self._files = files
        self._imports = imports
        self._clock = clock

    async def files(self, tenant: str, before: datetime) -> AsyncIterator[int]:
        """Files that were found without a document before then.

        Raises UnreadableDataError where a document cannot be read: any file may be its own.
        """
        open_ids = {opened.import_id for opened in await self._imports.open_of(tenant)}
        kept = {blob_of(tenant, import_id) for import_id in open_ids}
        kept |= await self._referred_to(tenant)
        settled = self._clock.now() - _A_CALL_IS_OVER
        for file in await self._files.kept_of(tenant):
            if file.name in kept:
                continue
            if file.is_marked and file.changed_at < before:
                await self._files.remove(file)
                yield 1
            elif not file.is_marked and file.changed_at < settled:
                await self._files.mark(file)

    async def _referred_to(self, tenant: str) -> set[str]:
        names: set[str] = set()
        after = ""
        while True:
            found = await self._tables.query(
                DOCUMENTS.table, encode(tenant), "r|", "r|~", after=after, most=_DOCUMENTS_PER_PAGE
            )
            for entity in found:
                document = from_entity(entity).document
                if document is not None:
                    names.add(blob_of(tenant, document["importId"]))
            if len(found) < _DOCUMENTS_PER_PAGE:
                return names
            after = found[-1].row


class ExpiringRejections:
    """A step that goes through the rejected drops of a tenant."""

    def __init__(self, blobs: ListedBlobs) -> None:
        self._blobs = blobs

    async def files(self, tenant: str, before: datetime) -> AsyncIterator[int]:
        """Drops that were rejected before then."""
        for name in await self._blobs.names_before(DOCUMENT_REJECTED, f"{tenant}/", before):
            await self._blobs.delete(DOCUMENT_REJECTED, name)
            yield 1
