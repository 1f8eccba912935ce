"""What a tenant says about its batches: thresholds, and the formats of the fields.

Both are properties of the tenant's record, as text, so that an operator sees what was configured.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from shared import log
from shared.auth.lookups import CachedLookups
from shared.auth.tenant_lookups import PARTITION
from shared.clock import Clock
from shared.errors import (
    InvalidRequestError,
    NotFoundError,
    PreconditionFailedError,
    UnreadableDataError,
)
from shared.imports.authdata.patterns import PatternError, compile_pattern
from shared.imports.authdata.reading import Formats
from shared.imports.authdata.records import FIELDS
from shared.imports.authdata.thresholds import Thresholds, percent_text
from shared.storage.entities import encode
from shared.storage.names import TENANTS
from shared.storage.ports import Entity, Merge, Tables, reading

MOST_PERCENT = 1_000
_NAMES = ("added", "updated", "errors")
_PERCENT = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,4})?) ?%?")


@dataclass(frozen=True, slots=True)
class TenantRules:
    """What holds for the batches of one tenant."""

    thresholds: Thresholds = field(default_factory=Thresholds)
    formats: Formats = field(default_factory=Formats)


class TenantRuleBook:
    """Reads and changes the rules; a change is in force within `cache_seconds`."""

    def __init__(self, tables: Tables, clock: Clock, cache_seconds: float) -> None:
        self._tables = tables
        self._lookups: CachedLookups[TenantRules] = CachedLookups(self._read, clock, cache_seconds)

    async def of(self, tenant: str) -> TenantRules:
        """The rules of a tenant; those of an unknown one are empty."""
        return await self._lookups.get(tenant) or TenantRules()

    async def set_thresholds(self, tenant: str, changes: Mapping[str, str | None]) -> Thresholds:
        """Set the named thresholds (added, updated, errors), remove those that are None.

        Raises InvalidRequestError, NotFoundError.
        """
        values = {
            _property(name): "" if text is None else percent_text(_percent(name, text))
            for name, text in changes.items()
        }
        await self._merge(tenant, values)
        return (await self._now(tenant)).thresholds

    async def set_formats(self, tenant: str, changes: Mapping[str, str | None]) -> Formats:
        """Set the regular expressions of the named fields, remove those that are None.

        Raises InvalidRequestError, NotFoundError.
        """
        patterns = dict((await self._now(tenant)).formats.patterns)
        for name, pattern in changes.items():
            if pattern is None:
                patterns.pop(name, None)
            else:
                patterns[name] = _checked_pattern(name, pattern)
        await self._merge(tenant, {"authdataFormats": json.dumps(patterns)})
        return Formats(patterns)

    async def _merge(self, tenant: str, values: Mapping[str, str]) -> None:
        try:
            await self._tables.write(TENANTS, Merge(Entity(PARTITION, encode(tenant), values)))
        except PreconditionFailedError:
            raise NotFoundError(
                f"There is no tenant {tenant!r}; `tenant list` shows them all."
            ) from None

    async def _now(self, tenant: str) -> TenantRules:
        """The rules as they are stored; those that cannot be read count as not set."""
        try:
            return await self._read(tenant) or TenantRules()
        except UnreadableDataError as error:
            log.failure("tenant_rules.unreadable", error, tenant=tenant)
            return TenantRules()

    async def _read(self, tenant: str) -> TenantRules | None:
        entity = await self._tables.get(TENANTS, PARTITION, encode(tenant))
        if entity is None:
            return None
        return _rules(entity)


@reading("thresholds or formats of the tenant")
def _rules(entity: Entity) -> TenantRules:
    """Raises UnreadableDataError: without its thresholds a batch must not be processed."""
    texts = (entity.text(_property(name)) for name in _NAMES)
    added, updated, errors = (Decimal(text) if text else None for text in texts)
    patterns = json.loads(entity.text("authdataFormats", "{}"))
    if not all(isinstance(pattern, str) for pattern in patterns.values()):
        raise ValueError("a format is no text")
    return TenantRules(Thresholds(added, updated, errors), Formats(patterns))


def _property(name: str) -> str:
    return f"threshold{name.capitalize()}"


def _percent(name: str, text: str) -> Decimal:
    wrong = InvalidRequestError(
        f"The threshold {name} must be a percentage from 0 to {MOST_PERCENT}, such as 5 or 2.5."
    )
    match = _PERCENT.fullmatch(text.strip())
    if match is None or Decimal(match[1]) > MOST_PERCENT:
        raise wrong
    return Decimal(match[1])


def _checked_pattern(name: str, pattern: str) -> str:
    if name not in FIELDS:
        raise InvalidRequestError(f"There is no field {name!r}; name one of {', '.join(FIELDS)}.")
    try:
        compile_pattern(pattern)
    except PatternError as error:
        raise InvalidRequestError(f"The format of {name} {error}; correct it.") from None
    return pattern
