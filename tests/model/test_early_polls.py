"""A large call asks the host to poll its bulk queue early, and nothing depends on it."""

from __future__ import annotations

import asyncio
import json

from shared.auth.callers import Caller
from shared.auth.integrations import Integration
from shared.errors import StorageUnavailableError
from shared.imports.licenses.definition import LICENSES
from shared.imports.workers.definition import WORKERS
from shared.services.early_polls import EARLY_POLL, EarlyPolls
from tests.builders import a_worker
from tests.memory_storage import MemoryQueues
from tests.model.harness import TENANT, CountedProcess

_CALLER = Caller(TENANT, "S", "S", Integration(TENANT, "S", "S"))
_LARGE = 1024 * 1024


class _RefusingQueues:
    """A queue service that is away."""

    def __init__(self) -> None:
        self.attempts = 0

    async def send(self, queue: str, text: str, *, delay: int = 0, expires: int = -1) -> None:
        self.attempts += 1
        raise StorageUnavailableError("the queue is away")


def _early_polls_of(rows: int, notes: int) -> list[tuple[str, str]]:
    """What a call with so many workers, each with a note of that length, sends early."""

    async def play() -> list[tuple[str, str]]:
        gateway = CountedProcess()
        sent = [a_worker(f"P{at}", PersonnelNotes="x" * notes) for at in range(rows)]
        assert await gateway.process.intake.accept(WORKERS, _CALLER, json.dumps(sent).encode())
        await gateway.process_all()
        return [(message.queue, message.text) for message in gateway.queues.early_polls]

    return asyncio.run(play())


def test_a_large_call_asks_for_one_early_poll_of_its_bulk_queue() -> None:
    assert _early_polls_of(1_000, 1_000) == [(WORKERS.bulk_queue, EARLY_POLL)]


def test_calls_whose_messages_follow_at_once_ask_for_none() -> None:
    assert _early_polls_of(1, 0) == []
    assert _early_polls_of(1_000, 0) == []


def test_many_large_calls_ask_twice_a_second_for_each_queue() -> None:
    async def play() -> list[str]:
        queues = MemoryQueues()
        polls = EarlyPolls(queues)
        for wait in (0, 0, 0.6):
            await asyncio.sleep(wait)
            for queue in (WORKERS.bulk_queue, LICENSES.bulk_queue):
                polls.ask(queue, _LARGE)
        await asyncio.sleep(0)
        return [message.queue for message in queues.early_polls]

    assert asyncio.run(play()) == [WORKERS.bulk_queue, LICENSES.bulk_queue] * 2


def test_a_queue_service_that_is_away_does_not_disturb_the_call() -> None:
    async def play() -> int:
        queues = _RefusingQueues()
        EarlyPolls(queues).ask(WORKERS.bulk_queue, _LARGE)
        faults: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, it: faults.append(str(it)))
        await asyncio.sleep(0.01)
        assert faults == []
        return queues.attempts

    assert asyncio.run(play()) == 1
