"""What services are made of: the storage, the clock, and the services that most others need."""

from __future__ import annotations

from dataclasses import dataclass

from shared.clock import Clock, Ids, RandomIds
from shared.imports.sender import NamedCaller
from shared.process_stop import ProcessStop
from shared.services.accept import ImportAcceptor, PlanLimits
from shared.services.admin.audit import AuditLog
from shared.services.admin.reference_lists import ReferenceLists
from shared.services.background import (
    Completions,
    Offload,
    SmallImportsFirst,
    to_thread_if_large,
)
from shared.services.chunk_messages import AcceptedImports
from shared.services.chunk_processor import HoldBack
from shared.services.import_log import ImportLog
from shared.services.profiles import ProfileService
from shared.services.results import Payloads, Results
from shared.services.status import Reporting
from shared.settings import Settings
from shared.storage.ports import Queues, RangeTables, StoredBlobs
from shared.storage.sealing import DataKeys


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What services are made of, one of each in a gateway: its storage, its clock, and the services
    that most others need.
    """

    settings: Settings
    tables: RangeTables
    blobs: StoredBlobs
    queues: Queues
    clock: Clock
    ids: Ids
    stop: ProcessStop
    offload: Offload
    completions: Completions
    small_first: SmallImportsFirst
    imports: ImportLog
    accepted: AcceptedImports
    hold_back: HoldBack
    results: Results
    payloads: Payloads
    lists: ReferenceLists
    profiles: ProfileService
    limits: PlanLimits
    intake: ImportAcceptor
    reporting: Reporting
    audit: AuditLog
    data_keys: DataKeys

    @classmethod
    def from_storage(
        cls,
        settings: Settings,
        tables: RangeTables,
        blobs: StoredBlobs,
        queues: Queues,
        clock: Clock,
        stop: ProcessStop,
        *,
        ids: Ids | None = None,
        offload: Offload = to_thread_if_large,
        caller: NamedCaller | None = None,
        data_keys: DataKeys | None = None,
    ) -> Dependencies:
        """The dependencies on that storage, which nothing here connects to yet.

        `caller` is who administers the gateway, for the audit log.
        """
        ids = ids or RandomIds()
        audit = AuditLog(tables, clock, ids, caller)
        imports = ImportLog(tables)
        accepted = AcceptedImports(clock)
        hold_back = HoldBack(imports, queues, settings.imports_at_once)
        results = Results(tables, blobs, offload)
        limits = PlanLimits(settings.max_rows, settings.chunk_rows, settings.chunk_bytes)
        profiles = ProfileService(tables, clock, audit)
        small_first = SmallImportsFirst()
        intake = ImportAcceptor(
            imports=imports,
            accepted=accepted,
            blobs=blobs,
            queues=queues,
            hold_back=hold_back,
            clock=clock,
            ids=ids,
            offload=offload,
            small_first=small_first,
            limits=limits,
            can_seal=bool(settings.data_keys),
        )
        return cls(
            settings=settings,
            tables=tables,
            blobs=blobs,
            queues=queues,
            clock=clock,
            ids=ids,
            stop=stop,
            offload=offload,
            completions=Completions(),
            small_first=small_first,
            imports=imports,
            accepted=accepted,
            hold_back=hold_back,
            results=results,
            payloads=Payloads(blobs),
            lists=ReferenceLists(tables, clock, ids, settings.cache_seconds, audit),
            profiles=profiles,
            limits=limits,
            intake=intake,
            reporting=Reporting(imports, results, clock, profiles),
            audit=audit,
            data_keys=data_keys
            or DataKeys(tables, settings.data_keys, clock, settings.cache_seconds),
        )
