"""What services are made of: the account, the clock, and the services that most others need."""

from __future__ import annotations

from dataclasses import dataclass

from shared.clock import Clock, Ids, RandomIds
from shared.process_stop import ProcessStop
from shared.services.accept import Intake, PlanLimits
from shared.services.admin.reference_lists import ReferenceLists
from shared.services.background import Offload, to_thread_if_large
from shared.services.chunk_processor import HoldBack
from shared.services.completions import Completions
from shared.services.import_log import ImportLog
from shared.services.results import Payloads, Results
from shared.services.status import Reporting
from shared.settings import Settings
from shared.storage.account import Account


@dataclass(frozen=True, slots=True)
class Parts:
    """One of each in a gateway."""

    settings: Settings
    account: Account
    clock: Clock
    ids: Ids
    stop: ProcessStop
    offload: Offload
    completions: Completions
    imports: ImportLog
    hold_back: HoldBack
    results: Results
    payloads: Payloads
    lists: ReferenceLists
    limits: PlanLimits
    intake: Intake
    reporting: Reporting


def parts_of(settings: Settings, clock: Clock, stop: ProcessStop) -> Parts:
    """The parts of a gateway with these settings; nothing connects yet."""
    account, ids = Account(settings.storage), RandomIds()
    imports = ImportLog(account.tables)
    hold_back = HoldBack(imports, account.queues, settings.imports_at_once)
    results = Results(account.tables, account.blobs, to_thread_if_large)
    limits = PlanLimits(settings.max_rows, settings.chunk_rows, settings.chunk_bytes)
    return Parts(
        settings=settings,
        account=account,
        clock=clock,
        ids=ids,
        stop=stop,
        offload=to_thread_if_large,
        completions=Completions(),
        imports=imports,
        hold_back=hold_back,
        results=results,
        payloads=Payloads(account.blobs),
        lists=ReferenceLists(account.tables, clock, ids, settings.cache_seconds),
        limits=limits,
        intake=Intake(
            imports=imports,
            blobs=account.blobs,
            queues=account.queues,
            hold_back=hold_back,
            clock=clock,
            ids=ids,
            offload=to_thread_if_large,
            limits=limits,
        ),
        reporting=Reporting(imports, results, clock),
    )
