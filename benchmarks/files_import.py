"""Bench `files`: the same workers as JSON, NDJSON, CSV and XLSX, imported over HTTP, and the memory
that reading them takes.

Speeds are divided by that of JSON in the same round. Memory is the growth of a process of its own
that reads a file, plans it and makes its lines, divided by the size of the file. Where JSON would
be too long for one body (`--rows 100000`), the rows are short workers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.catalogue import Outcome
from benchmarks.large_import import ROWS_PER_EMPLOYER
from benchmarks.measuring.figures import in_rounds, middle, rounded
from benchmarks.measuring.meters import Meter
from benchmarks.measuring.rig import Rig, running_rig
from benchmarks.measuring.tables import Line, number, render
from benchmarks.measuring.waiting import BenchError
from benchmarks.options import Options
from benchmarks.payloads import Case, body_of
from benchmarks.type_payloads import Sending
from local_host.setup.messages import note
from local_host.setup.paths import ROOT
from shared.imports import csv_export
from shared.imports.files.formats import XLSX_TYPE
from shared.imports.workers.definition import WORKERS

_EMPLOYERS: Final = 10
_MOST_WHOLE_ROWS: Final = 20_000
_ROWS_IN_MEMORY: Final = 100_000
_LARGE_CSV: Final = "csv, largest"


def run(options: Options) -> Outcome:
    """Measure. Raises BenchError or SetupError."""
    case = _case(options.rows[-1])
    rows = case.rows
    sending = _sendings(case)
    memory = {each.name: _memory(each) for each in sending}
    large = _case(rows if options.is_quick else _ROWS_IN_MEMORY)
    note(f"reading a file of CSV: {large.title}")
    memory[_LARGE_CSV] = _memory(csv_of(large))
    rounds: list[Mapping[str, float]] = []
    with running_rig(options.folder / "logs") as rig:
        for count in range(1, options.rounds + 1):
            note(f"round {count} of {options.rounds}")
            rounds.append(_round(rig, sending, rows))
    return _outcome(rows, rounds, memory, {each.name: len(each.body) for each in sending})


def _case(rows: int) -> Case:
    # The emulator's time for a write grows with the partition, so many rows have more employers.
    employers = max(_EMPLOYERS, rows // ROWS_PER_EMPLOYER)
    return Case(rows, employers, has_lookups=False, is_short=rows > _MOST_WHOLE_ROWS)


def _sendings(case: Case) -> list[Sending]:
    texts, columns = _texts(case)
    return [
        Sending("json", WORKERS.address, "application/json", body_of(case)),
        Sending("ndjson", WORKERS.address, "application/x-ndjson", "\n".join(texts).encode()),
        csv_of(case),
        Sending("xlsx", WORKERS.address, XLSX_TYPE, _sheet(columns, texts)),
    ]


def csv_of(case: Case) -> Sending:
    """The payload as a file of CSV."""
    texts, columns = _texts(case)
    lines = [csv_export.record_header(columns)]
    lines += (csv_export.record_line(columns, text) for text in texts)
    return Sending("csv", WORKERS.address, "text/csv", "".join(lines).encode())


def _texts(case: Case) -> tuple[list[str], csv_export.Columns]:
    """Each row as JSON, and the columns of them all."""
    texts = [json.dumps(row, ensure_ascii=False) for row in json.loads(body_of(case))]
    columns: csv_export.Columns = {}
    for text in texts:
        csv_export.note_columns(columns, text)
    return texts, columns


def _sheet(columns: csv_export.Columns, texts: list[str]) -> bytes:
    import xlsxwriter

    out = BytesIO()
    book = xlsxwriter.Workbook(out, {"constant_memory": True})
    sheet = book.add_worksheet()
    sheet.write_row(0, 0, list(columns.values()))
    for at, text in enumerate(texts, 1):
        cells = {path.lower(): value for path, value in csv_export.leaves_of(json.loads(text))}
        for place, name in enumerate(columns):
            value = cells.get(name)
            if isinstance(value, str):
                sheet.write_string(at, place, value)
            elif value is not None:
                sheet.write(at, place, value)
    book.close()
    return out.getvalue()


def _round(rig: Rig, sending: list[Sending], rows: int) -> Mapping[str, float]:
    """Rows per second of each format."""
    speeds: dict[str, float] = {}
    for each in sending:
        rig.empty()
        with rig.connect(rig.new_sender()) as connection:
            connection.check_health()
            report = connection.send(each.address, each.media_type, each.body)
            rig.wait_until_idle()
            counts = connection.counts_of(report.import_id)
        if counts["new"] != rows:
            raise BenchError(f"not every row as {each.name} is new: {counts}")
        speeds[each.name] = rows / report.seconds
    return speeds


def _memory(sending: Sending) -> float:
    """The peak of a process that reads the file, the file included, by the size of the file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "body"
        path.write_bytes(sending.body)
        command = [sys.executable, "-m", "benchmarks.files_import", str(path), sending.media_type]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise BenchError(f"{sending.name} could not be read: {ran.stderr[-500:]}")
    return int(ran.stdout) / len(sending.body)


def _read(path: Path, media_type: str) -> int:
    """Read a file as a call does; how many bytes the process has grown by at most."""
    from shared.imports.files.formats import (
        FileFormat,
        ReadOptions,
        format_of_media_type,
        reader_of,
    )
    from shared.imports.planning import plan
    from shared.services.record_processor import sort_key_reader

    options = ReadOptions(max_bytes=2**40)
    reader = reader_of(format_of_media_type(media_type) or FileFormat.JSON, WORKERS.rules, options)
    sort_key = sort_key_reader(WORKERS, "bench")
    meter = Meter(os.getpid())
    before = meter.resident_bytes() or 0
    body = path.read_bytes()
    planned = plan(reader(body, sort_key, 2**40), chunk_rows=1_000, chunk_bytes=4_000_000)
    if sum(map(len, planned.lines())) != planned.size:
        raise BenchError("the lines have another size than planned")
    return (meter.peak_bytes() or 0) - before


def _outcome(
    rows: int,
    rounds: list[Mapping[str, float]],
    memory: Mapping[str, float],
    sizes: Mapping[str, int],
) -> Outcome:
    of_json = [each["json"] for each in rounds]
    speed = {
        name: middle(in_rounds([each[name] for each in rounds], of_json))
        for name in sizes
        if name != "json"
    }
    document: dict[str, Any] = {
        "rows": rows,
        "bytes": dict(sizes),
        "speedByJson": {name: rounded(value) for name, value in speed.items()},
        "memoryByBody": {name: rounded(value) for name, value in memory.items()},
        "notComparableBetweenRuns": {"rowsPerSecond": [dict(each) for each in rounds]},
    }
    lines = [
        Line(f"{_case(rows).title}, rows per second by those of JSON"),
        *(Line(f"  {name}", (number(value),)) for name, value in speed.items()),
        Line("memory that reading takes, by the size of the file"),
        *(Line(f"  {name}", (number(value),)) for name, value in memory.items()),
    ]
    figures = {
        "csv/json": speed["csv"],
        "xlsx/json": speed["xlsx"],
        "memory/csv": memory[_LARGE_CSV],
    }
    return Outcome(document, render(lines), figures)


if __name__ == "__main__":
    print(_read(Path(sys.argv[1]), sys.argv[2]))
