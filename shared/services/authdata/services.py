"""The services of authentication data, put together for the composition root."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.clock import Clock, Ids
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.authdata.hashing import HashKey
from shared.services.accept import Intake, PlanLimits
from shared.services.authdata.processing import AuthdataRetrier, Processing
from shared.services.authdata.processor import AuthdataWork, Plans
from shared.services.authdata.staging import Staging, TenantRuleBook
from shared.services.authdata.store import BatchStore, Employees
from shared.services.background import Offload
from shared.services.import_log import ImportLog
from shared.services.results import Payloads
from shared.services.retry_cancel import Retrier
from shared.services.status import Reporting
from shared.storage.ports import Blobs, Tables


@dataclass(frozen=True, slots=True)
class AuthdataLimits:
    """What the settings say; times in seconds."""

    plan: PlanLimits
    keys: Sequence[HashKey]
    cache_seconds: float
    batch_seconds: float
    orphan_seconds: float


class AuthdataParts:
    """What the work on rows needs and what the calls need, made in the order of their needs."""

    def __init__(
        self,
        tables: Tables,
        blobs: Blobs,
        payloads: Payloads,
        imports: ImportLog,
        clock: Clock,
        ids: Ids,
        offload: Offload,
        limits: AuthdataLimits,
    ) -> None:
        self._tables = tables
        self._blobs = blobs
        self._imports = imports
        self._clock = clock
        self._ids = ids
        self._offload = offload
        self._limits = limits
        self._employees = Employees(tables, offload)
        self._rules = TenantRuleBook(tables, clock, limits.cache_seconds)
        self._plans = Plans(
            tables=tables,
            blobs=blobs,
            payloads=payloads,
            employees=self._employees,
            rules=self._rules,
            ids=ids,
            offload=offload,
        )

    def work(self) -> AuthdataWork:
        """The work on the rows of chunks."""
        return AuthdataWork(
            tables=self._tables,
            imports=self._imports,
            employees=self._employees,
            plans=self._plans,
            clock=self._clock,
            offload=self._offload,
        )

    def services(self, intake: Intake, reporting: Reporting) -> AuthdataServices:
        """What triggers and commands call."""
        limits = self._limits
        batches = BatchStore(self._tables, self._blobs, self._offload)
        staging = Staging(
            batches=batches,
            employees=self._employees,
            rules=self._rules,
            keys=limits.keys,
            clock=self._clock,
            offload=self._offload,
            max_rows=limits.plan.max_rows,
            batch_seconds=limits.batch_seconds,
        )
        processing = Processing(
            batches=batches,
            staging=staging,
            plans=self._plans,
            imports=self._imports,
            intake=intake,
            reporting=reporting,
            clock=self._clock,
            ids=self._ids,
            offload=self._offload,
            limits=limits.plan,
            orphan_seconds=limits.orphan_seconds,
        )
        retrier = AuthdataRetrier(staging, intake, reporting, self._offload, limits.plan)
        retriers = {AUTHDATA.name: retrier}
        return AuthdataServices(self._rules, staging, processing, retriers, self.work())


@dataclass(frozen=True, slots=True)
class AuthdataServices:
    """Everything that a trigger or a command may call for authentication data."""

    rules: TenantRuleBook
    staging: Staging
    processing: Processing
    retriers: Mapping[str, Retrier]
    work: AuthdataWork
