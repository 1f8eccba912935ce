"""Every order of the requests by which an import ends and a chunk begins to wait for its end.

Two processes on storage in memory. Whatever the order, the waiting chunk gets a message.
"""

from __future__ import annotations

import asyncio
import itertools
import json

from shared.auth.callers import Caller
from shared.auth.integrations import Integration
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_messages import ChunkMessage
from tests.builders import a_worker
from tests.memory_storage import MemoryBlobs, MemoryQueues, MemoryTables
from tests.model.harness import TENANT, CountedIds, Fate, ModelClock, Turnstile, make_process

_CALLER = Caller(TENANT, "S", "S", Integration(TENANT, "S", "S"))
_BODY = json.dumps([a_worker("P1")]).encode()
_ENDING, _WAITING = 1, 2
# Requests of each after the first ones, which do not matter to the other: it has not begun.
_ENDING_BEFORE, _WAITING_BEFORE = 4, 3


async def _messages_of_second(order: tuple[int, ...]) -> tuple[int, int]:
    """How many messages the second import gets, and how many requests were made in that order."""
    gate, clock, ids = Turnstile(), ModelClock(), CountedIds()
    tables, blobs, queues = MemoryTables(gate), MemoryBlobs(gate), MemoryQueues(gate)
    first, second = (
        make_process(tables, blobs, queues, clock, ids, handler_seconds=300) for _ in range(2)
    )
    await gate.release(gate.start(_ENDING, lambda: first.intake.accept(WORKERS, _CALLER, _BODY)))
    message = ChunkMessage.from_text(queues.messages.pop().text)
    tasks = {
        _ENDING: gate.start(_ENDING, lambda: first.chunks.process(message)),
        _WAITING: gate.start(_WAITING, lambda: second.intake.accept(WORKERS, _CALLER, _BODY)),
    }
    released = 0
    rest = itertools.chain(
        [_ENDING] * _ENDING_BEFORE, [_WAITING] * _WAITING_BEFORE, order, itertools.cycle(tasks)
    )
    for actor in rest:
        if all(task.done() for task in tasks.values()):
            break
        while not tasks[actor].done():
            await asyncio.sleep(0)
            step = next((step for step in gate.waiting if step.actor == actor), None)
            if step is not None:
                gate.waiting.remove(step)
                step.released.set_result(Fate.DONE)
                released += 1
                break
    for task in tasks.values():
        task.result()
    return len(queues.messages), released


def test_a_chunk_that_begins_to_wait_while_the_import_ends_gets_a_message() -> None:
    async def play() -> None:
        seen = set()
        for order in itertools.product((_ENDING, _WAITING), repeat=8):
            messages, released = await _messages_of_second(order)
            assert messages >= 1, order
            seen.add(released)
        assert len(seen) > 1, "the orders must make a difference"

    asyncio.run(play())
