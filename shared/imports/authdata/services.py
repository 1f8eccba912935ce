"""Composes the services of authentication data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.dependencies import Dependencies
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.authdata.processing import AuthdataRetrier, BatchProcessing
from shared.imports.authdata.processor import AuthdataProcessor, Plans
from shared.imports.authdata.staging import Staging, TenantRuleBook
from shared.imports.authdata.store import BatchStore, Employees
from shared.services.retry_cancel import Retrier
from shared.services.row_processor import RowProcessor


@dataclass(frozen=True, slots=True)
class AuthdataServices:
    rules: TenantRuleBook
    staging: Staging
    processing: BatchProcessing
    retriers: Mapping[str, Retrier]
    processors: Mapping[str, RowProcessor]


def compose_authdata(dependencies: Dependencies) -> AuthdataServices:
    """The services for triggers and commands, and the row processor."""
    tables, offload = dependencies.tables, dependencies.offload
    employees = Employees(tables, offload)
    rules = TenantRuleBook(
        tables, dependencies.clock, dependencies.settings.cache_seconds, dependencies.audit
    )
    batches = BatchStore(tables, dependencies.blobs, offload)
    staging = Staging(dependencies, batches, employees, rules)
    plans = Plans(dependencies, employees, rules)
    return AuthdataServices(
        rules=rules,
        staging=staging,
        processing=BatchProcessing(dependencies, batches, staging, plans),
        retriers={AUTHDATA.name: AuthdataRetrier(dependencies, staging)},
        processors={AUTHDATA.name: AuthdataProcessor(dependencies, employees, plans)},
    )
