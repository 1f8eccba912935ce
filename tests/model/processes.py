"""The processes of the order model: real services on storage in memory, sharing nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.app import changed_types
from shared.imports.licenses.definition import LICENSES
from shared.process_stop import ProcessStop
from shared.services.accept import ImportAcceptor, PlanLimits
from shared.services.admin.reference_lists import ReferenceLists
from shared.services.changes import ChangeFeed
from shared.services.chunk_processor import ChunkProcessor, HoldBack
from shared.services.completions import Completions
from shared.services.import_log import ImportLog
from shared.services.licenses.processor import LicenseProcessor
from shared.services.record_processor import RecordProcessor
from shared.services.references import ReferenceReader
from shared.services.results import Payloads, Results
from shared.services.retry_cancel import Cancelling, Retrying
from shared.services.row_processor import Processors
from shared.services.status import FailedRows, Reporting
from shared.services.sweep import Sweep
from shared.storage.ports import Blobs, Queues, Tables

TENANT = "tenant"
LICENSE_OPERATIONS = 6
"""In one transaction: so few that a handful of licenses takes several."""


class ModelClock:
    """Time that passes when the scheduler says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def elapsed(self) -> float:
        return self.seconds


class CountedIds:
    """Ids in order, so that a run can be repeated."""

    def __init__(self) -> None:
        self._count = 0

    def new(self) -> str:
        self._count += 1
        return f"import-{self._count:04d}"


async def at_once(size: int, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """`Offload` without threads: an interleaving must be repeatable."""
    return work(*args, **kwargs)


@dataclass
class Process:
    """One process of the gateway: services that share nothing with the other one's."""

    imports: ImportLog
    intake: ImportAcceptor
    chunks: ChunkProcessor
    sweep: Sweep
    cancelling: Cancelling
    failed_rows: FailedRows
    retrying: Retrying
    changes: ChangeFeed


def a_process(
    tables: Tables,
    blobs: Blobs,
    queues: Queues,
    clock: ModelClock,
    ids: CountedIds,
    chunk_rows: int,
    handler_seconds: float,
    imports_at_once: int = 8,
) -> Process:
    """A process that cuts payloads into chunks of so many rows."""
    imports, completions = ImportLog(tables), Completions()
    hold_back = HoldBack(imports, queues, imports_at_once)
    payloads, results = Payloads(blobs), Results(tables, blobs, at_once)
    failed_rows = FailedRows(Reporting(imports, results, clock), payloads)
    lists = ReferenceLists(tables, clock, ids, cache_seconds=1e9)
    keyed = RecordProcessor(
        tables=tables,
        blobs=blobs,
        imports=imports,
        references=ReferenceReader(tables, imports, lists),
        clock=clock,
        offload=at_once,
    )
    licenses = LicenseProcessor(
        tables=tables, blobs=blobs, clock=clock, offload=at_once, operations=LICENSE_OPERATIONS
    )
    chunks = ChunkProcessor(
        payloads=payloads,
        queues=queues,
        hold_back=hold_back,
        imports=imports,
        results=results,
        processors=Processors(keyed, {LICENSES.name: licenses}),
        completions=completions,
        clock=clock,
        stop=ProcessStop(),
        handler_seconds=handler_seconds,
    )
    intake = ImportAcceptor(
        imports=imports,
        blobs=blobs,
        queues=queues,
        hold_back=hold_back,
        clock=clock,
        ids=ids,
        offload=at_once,
        limits=PlanLimits(1000, chunk_rows, 100_000),
    )
    sweep = Sweep(
        imports=imports,
        queues=queues,
        hold_back=hold_back,
        completions=completions,
        clock=clock,
        tenants=_one_tenant,
        quiet_seconds=60,
        run_here=chunks.process,
        end_here=chunks.end_as_failed,
        here_seconds=60,
    )
    return Process(
        imports,
        intake,
        chunks,
        sweep,
        Cancelling(imports, queues, clock),
        failed_rows,
        Retrying(failed_rows, intake, at_once, 1000, {}),
        ChangeFeed(imports, results, changed_types),
    )


async def _one_tenant() -> list[str]:
    return [TENANT]
