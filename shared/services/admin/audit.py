"""The audit log: every administrative act, who did it, when, and what it changed.

An entry is written before its act, so that no act is without one, and is updated with the outcome
after it. If the process dies in between, the entry stays `begun`: the act may have been carried
out. An entry that has ended is never changed, and no entry is deleted (docs/contracts.md#8).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from shared import log
from shared.clock import Clock, Ids, RandomIds, SystemClock, to_iso
from shared.errors import PreconditionFailedError, RefusedError
from shared.imports.sender import NamedCaller
from shared.storage.audit_records import (
    AuditEntry,
    AuditState,
    audit_entry,
    audit_partition,
    audit_range,
    audit_row,
    beginning,
    ending,
)
from shared.storage.names import AUDIT
from shared.storage.ports import EntityRange, RangeTables, Tables

Content = Mapping[str, Any]


class Action(StrEnum):
    """The kind of an administrative act, as the log names it."""

    TENANT_CREATE = "tenant.create"
    TENANT_RENAME = "tenant.rename"
    TENANT_ENABLE = "tenant.enable"
    TENANT_DISABLE = "tenant.disable"
    TENANT_ERASE = "tenant.erase"
    INTEGRATION_ADD = "integration.add"
    INTEGRATION_SET = "integration.set"
    INTEGRATION_ENABLE = "integration.enable"
    INTEGRATION_DISABLE = "integration.disable"
    KEY_ADD = "key.add"
    KEY_REVOKE = "key.revoke"
    KEY_ROTATE = "key.rotate"
    CLIENT_ADD = "client.add"
    CLIENT_SET = "client.set"
    CLIENT_REVOKE = "client.revoke"
    SECRET_ADD = "secret.add"  # noqa: S105 (a name)
    SECRET_REVOKE = "secret.revoke"  # noqa: S105 (a name)
    FEATURE_ENABLE = "feature.enable"
    FEATURE_DISABLE = "feature.disable"
    ROUND_ADD = "round.add"
    ROUND_SET = "round.set"
    THRESHOLD_SET = "threshold.set"
    FORMAT_SET = "format.set"
    REFERENCE_LOAD = "reference.load"
    PROFILE_SET = "profile.set"
    PROFILE_DELETE = "profile.delete"
    SIGNING_KEY_ROTATE = "signing-key.rotate"
    DATA_KEY_ROTATE = "data-key.rotate"
    POISON_REQUEUE = "poison.requeue"
    RECORDS_REPAIR = "records.repair"
    RECORDS_EXPORT = "records.export"
    PURGE = "purge"
    PERSON_EXPORT = "person.export"
    PERSON_ERASE = "person.erase"
    PERSON_HOLD = "person.hold"
    PERSON_RELEASE = "person.release"


@dataclass(slots=True)
class Act:
    """A running act. It can set `after`, which its entry then gets."""

    after: Content | None = None


_ACTING: ContextVar[NamedCaller | None] = ContextVar("acting", default=None)


@contextmanager
def acting(caller: NamedCaller) -> Iterator[None]:
    """In the block, this caller of the gateway administers, and entries name it."""
    token = _ACTING.set(caller)
    try:
        yield
    finally:
        _ACTING.reset(token)


class AuditLog:
    """Writes the log. `caller` acts, unless a call or an entry names another one."""

    def __init__(
        self,
        tables: Tables,
        clock: Clock | None = None,
        ids: Ids | None = None,
        caller: NamedCaller | None = None,
    ) -> None:
        self._tables = tables
        self._clock = clock or SystemClock()
        self._ids = ids or RandomIds()
        self._caller = caller

    @asynccontextmanager
    async def act(
        self,
        tenant: str,
        action: Action,
        target: Content,
        *,
        before: Content | None = None,
        after: Content | None = None,
    ) -> AsyncIterator[Act]:
        """Log the block as an act. `tenant` is "" for an act on the gateway itself.

        If both `before` and `after` are given, only their differences are stored. They must not
        contain secrets. Raises StorageUnavailableError if the entry cannot be written; the block
        does not run then.
        """
        entry = replace(
            self._entry(tenant, action, target),
            before=_differing(before, after),
            after=_differing(after, before),
        )
        etag = await self._tables.write(AUDIT, beginning(entry))
        act = Act()
        try:
            yield act
        except (RefusedError, PreconditionFailedError):
            await self._end(entry, etag, AuditState.REFUSED, None)
            raise
        await self._end(entry, etag, AuditState.DONE, act.after)

    async def note(
        self, tenant: str, action: Action, target: Content, caller: NamedCaller | None = None
    ) -> None:
        """Write the entry of an act that changes nothing, before its result is shown."""
        entry = self._entry(tenant, action, target)
        entry = replace(entry, caller=caller or entry.caller, state=AuditState.DONE)
        await self._tables.write(AUDIT, beginning(entry))

    def _entry(self, tenant: str, action: Action, target: Content) -> AuditEntry:
        now = self._clock.now()
        return AuditEntry(
            tenant=tenant,
            row=audit_row(now, self._ids.new()),
            at=to_iso(now),
            action=action.value,
            caller=_ACTING.get() or self._caller,
            target=target,
        )

    async def _end(
        self, entry: AuditEntry, etag: str, state: AuditState, after: Content | None
    ) -> None:
        try:
            await self._tables.write(AUDIT, ending(entry, etag, state, after))
        except Exception as error:
            # The act is done, and a key that it issued must be shown. The entry stays begun.
            log.failure("audit.not_ended", error, tenant=entry.tenant, step=entry.action)


def _differing(content: Content | None, other: Content | None) -> Content | None:
    if content is None or other is None:
        return content
    return {
        name: value for name, value in content.items() if name not in other or other[name] != value
    }


@dataclass(frozen=True, slots=True)
class AuditPage:
    """A part of the log, newest first. `following` is "" at the end."""

    entries: Sequence[AuditEntry]
    following: str


class AuditReader:
    """Reads the log of a tenant, or of the gateway itself ("")."""

    def __init__(self, tables: RangeTables) -> None:
        self._tables = tables

    async def page(
        self,
        tenant: str,
        size: int,
        *,
        action: Action | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: str = "",
    ) -> AuditPage:
        """Up to `size` entries after row `after`, of one action or of all."""
        partition = audit_partition(tenant)
        first, last = audit_range(since, until)
        range_ = EntityRange(
            partition,
            partition,
            first,
            last,
            equal=("Action", action.value) if action else None,
        )
        place = (partition, after) if after else None
        page = await self._tables.query_range(AUDIT, range_, place, size)
        entries = [audit_entry(entity) for entity in page.entities]
        following = "" if page.is_last or not entries else entries[-1].row
        return AuditPage(entries, following)
