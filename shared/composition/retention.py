"""What goes after its time: the list of retention's steps (a part of the composition root).

Whoever stores something that is not kept for ever adds a line here. Steps run in this order:
payloads go before the tombstones that keep their rows from being retried wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from shared.bootstrap import Gateway
from shared.clock import Clock, SystemClock
from shared.imports.import_type import RecordRules
from shared.imports.licenses.definition import LICENSES
from shared.imports.registry import IMPORT_TYPES
from shared.services.name_index import NameIndex
from shared.services.retention import (
    ExpiringFiles,
    ExpiringImports,
    ExpiringRejections,
    ExpiringTombstones,
    Retention,
    RetentionStep,
    counted,
)
from shared.storage.license_records import log_up_to

_A_DAY = timedelta(days=1)
_AN_HOUR = timedelta(hours=1)


def retention_of(gateway: Gateway, clock: Clock | None = None) -> Retention:
    """The retention of a gateway."""
    time = clock or SystemClock()
    steps = [*_of_imports(gateway, time), *_of_documents(gateway, time), *_of_calls(gateway)]
    return Retention(steps, gateway.account.tables, time, gateway.tenants.list_ids)


async def fill_indexes(gateway: Gateway) -> None:
    """Enter the records of tenants that are older than the index of names."""
    names = NameIndex(gateway.account.tables)
    for tenant in await gateway.tenants.list_ids():
        for kind in IMPORT_TYPES.values():
            rules = kind.rules
            if isinstance(rules, RecordRules) and rules.has_names:
                await names.fill(kind, tenant)


def _of_imports(gateway: Gateway, clock: Clock) -> Iterator[RetentionStep]:
    settings, tables = gateway.settings, gateway.account.tables
    imports = ExpiringImports(tables, gateway.account.blobs, gateway.imports, clock)
    logs = {kind.table: None for kind in IMPORT_TYPES.values()} | {LICENSES.table: log_up_to}
    tombstones = ExpiringTombstones(tables, gateway.imports, logs)
    rows = timedelta(days=settings.keep_payload_days)
    kept = timedelta(days=settings.keep_result_days)
    marks = rows + timedelta(days=settings.keep_tombstone_days)
    yield RetentionStep("payloads", rows, imports.payloads)
    yield RetentionStep("results", kept, imports.results)
    yield RetentionStep("tombstones", marks, tombstones.tombstones, least=_A_DAY)
    yield RetentionStep("stray payloads", _A_DAY, imports.strays, least=_A_DAY)


def _of_documents(gateway: Gateway, clock: Clock) -> Iterator[RetentionStep]:
    account = gateway.account
    files = ExpiringFiles(account.tables, account.documents, gateway.imports, clock)
    kept = timedelta(days=gateway.settings.keep_replaced_days)
    yield RetentionStep("replaced documents", kept, files.files)
    # A rejected drop is what the payload of another import is: the rows that failed, as sent.
    rejected = timedelta(days=gateway.settings.keep_payload_days)
    yield RetentionStep("rejected drops", rejected, ExpiringRejections(account.blobs).files)


def _of_calls(gateway: Gateway) -> Iterator[RetentionStep]:
    """What calls leave behind beside their import."""
    settings = gateway.settings

    remembered, keys = timedelta(seconds=settings.idempotency_seconds), gateway.repeats.expire
    kept = timedelta(days=settings.keep_result_days)
    yield RetentionStep("idempotency keys", remembered, counted(keys), least=_AN_HOUR)
    batches = counted(gateway.authdata.processing.forget_before)
    yield RetentionStep("authentication batches", kept, batches, least=_A_DAY)
