"""Bench `export`: stored workers read back over HTTP, by the bare SDK's query of the same entities.

The query is asynchronous, asks for pages of 1,000 and does nothing with what it reads. The gateway
stands still meanwhile. The caller may read sensitive values, so nothing is masked.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Mapping
from typing import Any, Final

from azure.data.tables.aio import TableServiceClient

from benchmarks.catalogue import Outcome
from benchmarks.measuring.figures import in_rounds, middle, rounded
from benchmarks.measuring.gateway_calls import WORKERS as IMPORT
from benchmarks.measuring.gateway_calls import Connection
from benchmarks.measuring.rig import Rig, running_rig
from benchmarks.measuring.tables import Line, number, render
from benchmarks.measuring.waiting import BenchError
from benchmarks.options import Options
from benchmarks.payloads import Case, body_of
from local_host.setup.messages import note
from shared.imports.workers.definition import WORKERS

_SDK: Final = "sdk"
_FORMS: Final = {
    "ndjson": ("application/x-ndjson", 10_000),
    "csv": ("text/csv", 10_000),
    "json": ("application/json", 1_000),
}
_ADDRESS: Final = "/api/records/workers"
_EMPLOYERS: Final = 10


def run(options: Options) -> Outcome:
    """Measure. Raises BenchError or SetupError."""
    rows = options.rows[-1]
    rounds: list[Mapping[str, float]] = []
    with running_rig(options.folder / "logs") as rig:
        note(f"storing {rows:,} workers")
        sender = rig.new_sender()
        with rig.connect(sender) as connection:
            connection.send(IMPORT, "application/json", body_of(Case(rows, _EMPLOYERS)))
            for form in _FORMS:
                _export(connection, form, rows)
            for count in range(1, options.rounds + 1):
                note(f"round {count} of {options.rounds}")
                rounds.append(_round(rig, connection, sender.tenant, rows))
    return _outcome(rows, rounds)


def _round(rig: Rig, connection: Connection, tenant: str, rows: int) -> Mapping[str, float]:
    """Records per second of the query and of each form of export."""
    with rig.standing_still():
        speeds = {_SDK: rows / asyncio.run(_query(rig.connection_string, tenant, rows))}
    connection.check_health()
    return speeds | {form: rows / _export(connection, form, rows) for form in _FORMS}


async def _query(storage: str, tenant: str, rows: int) -> float:
    """The seconds that the SDK takes to read the records."""
    partitions = f"PartitionKey ge '{tenant}|' and PartitionKey le '{tenant}|~'"
    query = f"{partitions} and RowKey ge 'r|' and RowKey le 'r|~'"
    gc.collect()
    async with TableServiceClient.from_connection_string(storage) as service:
        table = service.get_table_client(WORKERS.table)
        begun = time.perf_counter()
        found = [entity async for entity in table.query_entities(query, results_per_page=1_000)]
        seconds = time.perf_counter() - begun
    if len(found) != rows:
        raise BenchError(f"the query has read {len(found)} of {rows} records")
    return seconds


def _export(connection: Connection, form: str, rows: int) -> float:
    """The seconds until the last byte of the last page is there."""
    media_type, size = _FORMS[form]
    begun = time.perf_counter()
    pages = connection.read_pages(f"{_ADDRESS}?pageSize={size}", media_type)
    seconds = time.perf_counter() - begun
    count = sum(page.count(b'"WORKER') for page in pages)
    if count < rows:
        raise BenchError(f"the export as {form} has {count} of {rows} records")
    return seconds


def _outcome(rows: int, rounds: list[Mapping[str, float]]) -> Outcome:
    floors = [each[_SDK] for each in rounds]
    speed = {
        f"{form}/{_SDK}": middle(in_rounds([each[form] for each in rounds], floors))
        for form in _FORMS
    }
    document: dict[str, Any] = {
        "rows": rows,
        "rounds": len(rounds),
        "speed": {name: rounded(value) for name, value in speed.items()},
        "notComparableBetweenRuns": {"rowsPerSecond": [dict(each) for each in rounds]},
    }
    lines = [
        Line(f"{rows:,} workers of {_EMPLOYERS} employers read back, by the SDK's query"),
        *(Line(f"  {name}", (number(value),)) for name, value in speed.items()),
    ]
    return Outcome(document, render(lines), {"ndjson/sdk": speed[f"ndjson/{_SDK}"]})
