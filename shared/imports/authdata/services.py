"""The services of authentication data, put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.dependencies import Dependencies
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.authdata.processing import AuthdataRetrier, Processing
from shared.imports.authdata.processor import AuthdataProcessor, Plans
from shared.imports.authdata.staging import Staging, TenantRuleBook
from shared.imports.authdata.store import BatchStore, Employees
from shared.services.retry_cancel import Retrier


@dataclass(frozen=True, slots=True)
class AuthdataServices:
    """The services for authentication data."""

    rules: TenantRuleBook
    staging: Staging
    processing: Processing
    retriers: Mapping[str, Retrier]
    processor: AuthdataProcessor


def compose_authdata(dependencies: Dependencies) -> AuthdataServices:
    """What triggers and commands call for authentication data, and the work on its rows."""
    tables, blobs = dependencies.tables, dependencies.blobs
    clock, offload, limits = dependencies.clock, dependencies.offload, dependencies.limits
    settings, imports = dependencies.settings, dependencies.imports
    employees = Employees(tables, offload)
    rules = TenantRuleBook(tables, clock, settings.cache_seconds)
    plans = Plans(
        tables=tables,
        blobs=blobs,
        payloads=dependencies.payloads,
        employees=employees,
        rules=rules,
        ids=dependencies.ids,
        offload=offload,
    )
    batches = BatchStore(tables, blobs, offload)
    staging = Staging(
        batches=batches,
        employees=employees,
        rules=rules,
        keys=settings.authdata_keys,
        clock=clock,
        offload=offload,
        max_rows=limits.max_rows,
        batch_seconds=settings.batch_seconds,
    )
    processing = Processing(
        batches=batches,
        staging=staging,
        plans=plans,
        imports=imports,
        intake=dependencies.intake,
        reporting=dependencies.reporting,
        clock=clock,
        ids=dependencies.ids,
        offload=offload,
        limits=limits,
        orphan_seconds=settings.sweep_after_seconds,
    )
    retrier = AuthdataRetrier(staging, dependencies.intake, dependencies.reporting, offload, limits)
    work = AuthdataProcessor(
        tables=tables,
        imports=imports,
        employees=employees,
        plans=plans,
        clock=clock,
        offload=offload,
    )
    return AuthdataServices(rules, staging, processing, {AUTHDATA.name: retrier}, work)
