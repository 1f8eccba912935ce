"""How often storage is asked: staging is a few requests whatever its size, processing a few in a
hundred records, and a file that comes again writes nothing.

What 50,000 employees take is shown by `tests/model/test_many_employees.py`.
"""

from __future__ import annotations

import pytest

from tests.emulator import Emulator
from tests.integration.authdata_stage import AuthdataStage, Row, an_employee, play

pytestmark = pytest.mark.integration
EMPLOYEES = 2_000
CHANGED = EMPLOYEES // 20
MOST = {"first": 0.06, "again": 0.035, "changed": 0.045}
"""Requests per record, staged and processed together."""
OTHERS = 3
"""Transactions on other tables: the call in its batch, the import accepted, the import closed."""


def load(changed: int = 0) -> list[Row]:
    return [
        an_employee(f"E{at:05d}", f"one-{at}", "other" if at % 20 == 0 and changed else "two")
        for at in range(EMPLOYEES)
    ]


def test_storage_is_asked_seldom_and_the_same_file_again_writes_nothing(
    emulator: Emulator, delivered: str
) -> None:
    async def scenario(stage: AuthdataStage) -> None:
        async def counted(rows: list[Row]) -> tuple[float, int]:
            watch = emulator.watch("delivered")
            staged = await stage.stage(rows)
            for_staging = [each for each in watch.requests() if not each.is_poll]
            assert len(for_staging) <= 15
            await stage.process(staged.file_log_id)
            found = [each for each in watch.requests() if not each.is_poll]
            messages = [each for each in found if "/messages/" in each.path]
            writes = [each for each in found if each.path.startswith(("/$batch", "/AuthData"))]
            written = [each for each in writes if each.method != "GET"]
            return (len(found) - len(messages)) / len(rows), len(written) - OTHERS

        first, writes = await counted(load())
        assert writes == EMPLOYEES // 50, "a record and its look-up for each"
        before = await stage.entities()
        again, none = await counted(load())
        assert none == 0
        assert await stage.entities() == before
        changed, some = await counted(load(CHANGED))
        assert 0 < some <= 3 * CHANGED / 100 + 4
        assert len(await stage.employees()) == EMPLOYEES
        figures = {"first": first, "again": again, "changed": changed}
        assert {name: value for name, value in figures.items() if value > MOST[name]} == {}

    play(delivered, scenario)
