"""Imports that are accepted and not worked on: the test delivers their messages itself."""

from __future__ import annotations

from shared.auth.callers import Caller
from shared.clock import RandomIds, SystemClock
from shared.errors import StorageUnavailableError
from shared.gateway import Gateway
from shared.imports.workers.definition import WORKERS
from shared.services.accept import ImportAcceptor, PlanLimits
from shared.services.background import to_thread_if_large
from shared.services.chunk_processor import HoldBack
from shared.storage.import_records import ImportRecord


class RefusingQueues:
    """A queue service that is away: what is sent there is lost."""

    async def send(self, queue: str, text: str, *, delay: int = 0) -> None:
        """See `Queues.send`."""
        raise StorageUnavailableError("the queue is away")


async def accept_without_messages(
    gateway: Gateway, caller: Caller, body: bytes, chunk_rows: int = 1_000
) -> ImportRecord:
    """An accepted import of workers whose messages got lost on the way."""
    queues = RefusingQueues()
    intake = ImportAcceptor(
        imports=gateway.imports,
        blobs=gateway.account.blobs,
        queues=queues,
        hold_back=HoldBack(gateway.imports, queues, 8),
        clock=SystemClock(),
        ids=RandomIds(),
        offload=to_thread_if_large,
        limits=PlanLimits(100_000, chunk_rows, 4 * 1024 * 1024),
    )
    record = await intake.accept(WORKERS, caller, body)
    assert record is not None
    return record
