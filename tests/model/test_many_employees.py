"""Many thousand employees loaded, loaded again, and a twentieth of them changed.

The real services on counted storage in memory: what is shown is what is written and how often
storage is asked; `AUTHDATA_EMPLOYEES=50000` is a load of the size that was asked for. The same on
the emulator, with fewer records, is `tests/integration/test_authdata.py`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

import pytest

from shared.app import compose_chunks
from shared.clock import RandomIds, SystemClock
from shared.dependencies import Dependencies
from shared.imports.authdata.model import BatchCall
from shared.imports.authdata.services import compose_authdata
from shared.process_stop import ProcessStop
from shared.services.chunk_messages import ChunkMessage
from tests.emulator import settings_for
from tests.memory_storage import CountedRequests, MemoryBlobs, MemoryQueues, MemoryTables

EMPLOYEES = int(os.environ.get("AUTHDATA_EMPLOYEES", "20000"))
CHANGED = range(0, EMPLOYEES, 20)
REQUESTS = {"first": 0.035, "again": 0.015, "changed": 0.025}
"""The most per record, staged and processed; of 50,000: 0.0317, 0.0125, 0.0196."""
IN_FLIGHT = 4


class Small:
    """The services that authentication data needs, on storage in memory."""

    def __init__(self) -> None:
        requests = CountedRequests()
        self.requests = requests.counts
        self.tables = MemoryTables(requests)
        self.queues = MemoryQueues(requests)
        blobs = MemoryBlobs(requests)
        settings = settings_for("nothing connects to it", imports_at_once=8)
        dependencies = Dependencies.from_storage(
            settings, self.tables, blobs, self.queues, SystemClock(), ProcessStop()
        )
        self.imports = dependencies.imports
        self.authdata = compose_authdata(dependencies)
        self.chunks = compose_chunks(dependencies, self.authdata)

    async def load(self, rows: list[Mapping[str, str]]) -> dict[str, int]:
        """Stage and process; the totals of the answer."""
        call = BatchCall(None, validate=True, allow_no_auth=False, commit=True, rows=rows)
        staged = await self.authdata.staging.stage("acme", call, RandomIds().new())
        assert sum(self.requests.values()) < 150, "staging is cheap whatever its size"
        record = await self.authdata.processing.begin("acme", staged.file_log_id)
        assert record is not None
        while self.queues.messages:
            some = self.queues.messages[:IN_FLIGHT]
            del self.queues.messages[:IN_FLIGHT]
            messages = [ChunkMessage.from_text(message.text) for message in some]
            await asyncio.gather(*(self.chunks.process(message) for message in messages))
        ended = await self.imports.find("acme", record.import_id)
        assert ended is not None
        answer = await self.authdata.processing.answer(ended)
        return {name: answer[f"total{name}"] for name in ("New", "Updates", "NoChange", "Records")}


def employees(*, is_changed: bool) -> list[Mapping[str, str]]:
    return [
        {
            "employeeid": f"EMPLOYEE{at:06d}",
            "employeestatus": "Active",
            "authvalue1": f"Surname {at}",
            "authvalue2": f"19{at % 90 + 10}",
            "authvalue3": f"changed {at}" if is_changed and at in CHANGED else f"{at}",
        }
        for at in range(EMPLOYEES)
    ]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_many_employees_are_loaded_and_the_same_again_writes_nothing() -> None:
    async def run() -> None:
        small = Small()
        expected = {
            "first": (False, {"New": EMPLOYEES, "Updates": 0, "NoChange": 0}, 2 * EMPLOYEES),
            "again": (False, {"New": 0, "Updates": 0, "NoChange": EMPLOYEES}, 0),
            "changed": (
                True,
                {"New": 0, "Updates": len(CHANGED), "NoChange": EMPLOYEES - len(CHANGED)},
                3 * len(CHANGED),
            ),
        }
        for name, (is_changed, counts, writes) in expected.items():
            small.requests.clear()
            small.tables.written.clear()
            found = await small.load(employees(is_changed=is_changed))
            assert found == {**counts, "Records": EMPLOYEES}
            assert small.tables.written["AuthData"] == writes, name
            per_record = sum(small.requests.values()) / EMPLOYEES
            assert per_record <= REQUESTS[name], (name, per_record)

    asyncio.run(run())
