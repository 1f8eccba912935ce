"""No entry takes more time or memory for a byte than its budget, whatever the bytes are."""

from __future__ import annotations

import asyncio
import math
import time
import tracemalloc
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from shared.errors import GatewayError, TooLargeError
from shared.imports.files.formats import FileFormat, ReadOptions, reader_of
from shared.imports.files.mapping import ProfileMapping
from shared.imports.files.profile import ProfileRef, read_profile
from shared.imports.import_type import ReadRow
from shared.imports.json_rows import fold_names
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.license_set import LicenseSet, StoredLicense, as_tombstone
from shared.imports.licenses.model import Employee, employee_of, explicit_key, result_key
from shared.imports.licenses.row_groups import group_rows, outline_row
from shared.imports.licenses.rules import LicenseRules
from shared.imports.licenses.transactions import build_transactions
from shared.imports.messages import Message
from shared.imports.workers.definition import WORKERS
from shared.services.background import to_thread_if_large
from tests.budgets.entries import entries
from tests.budgets.measuring import Entry, measure
from tests.files_of_rows import shared_text
from tests.unit.imports.licenses.company import TENANT, import_on

ENTRIES = tuple(entries())


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
def test_every_input_costs_no_more_than_the_budget_of_its_entry(entry: Entry) -> None:
    faults = [fault for name in entry.worst for fault in measure(entry, name).faults()]
    assert not faults, "\n".join(faults)


# What a small file can become is bounded: a cell of a spreadsheet refers to a text that many cells
# share, and each row of a file has the names of its columns.


_LONG = "x" * 900_000
_NAMES = ",".join(f"{number}{'n' * 990}" for number in range(480)).encode()
_PROFILE = ProfileMapping(
    ProfileRef("p", 1),
    read_profile('{"type": "workers", "columns": {"E": "EmployerRef", "P": "PersonnelRef"}}'),
)
GROWING_FILES: dict[str, tuple[FileFormat, Callable[[], bytes], ProfileMapping | None]] = {
    "rows of one shared text": (FileFormat.XLSX, lambda: shared_text(_LONG, 100, 1), None),
    "one row of a shared text": (FileFormat.XLSX, lambda: shared_text(_LONG, 1, 16_000), None),
    "rows of shared blanks": (FileFormat.XLSX, lambda: shared_text(" " * 900_000, 100, 1), None),
    "a header of a shared text": (FileFormat.XLSX, lambda: shared_text(_LONG, 0, 16_000), None),
    "rows of a shared text, mapped": (
        FileFormat.XLSX,
        lambda: shared_text(_LONG, 100, 1, "E"),
        _PROFILE,
    ),
    "long names": (
        FileFormat.CSV,
        lambda: b"EmployerRef,%b\n%b" % (_NAMES, b"E%b\n" % (b",1" * 480) * 200),
        None,
    ),
    "long names, mapped": (
        FileFormat.CSV,
        lambda: b"E,%b\n%b" % (_NAMES, b"E\n" * 200),
        _PROFILE,
    ),
    "one long row": (
        FileFormat.CSV,
        lambda: b"EmployerRef,Surname,Title\n1,%b,%b\n" % ((b"\x01" * 5_000_000,) * 2),
        None,
    ),
    "short rows of many columns": (
        FileFormat.CSV,
        lambda: b"EmployerRef%b\n%b" % (b"," * 19_000, b"E\n" * 2_000),
        None,
    ),
}


@pytest.mark.parametrize("name", GROWING_FILES)
def test_what_a_small_file_becomes_is_refused_before_it_is_in_memory(name: str) -> None:
    file_format, make, mapping = GROWING_FILES[name]
    body = make()
    reader = reader_of(
        file_format, WORKERS.rules, ReadOptions(mapping=mapping, max_bytes=1_500_000)
    )
    start = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError, match="which is the limit: "):
            reader(body, lambda _: None, 100_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60_000_000 + 2 * len(body)
    assert time.process_time() - start < 10


# While a worst-case body is read, the event loop goes on: other calls are answered meanwhile.
#
# What holds up the loop is the time that its own thread computes between two turns. That is
# measured as CPU time of the thread, so that a machine that is busy with something else does not
# count.


MOST_SECONDS = 0.6
"""Generous: a body of 8 KiB takes a tenth of it, and one of 100 KB several times as much."""
_TURN_SECONDS = 0.005

SMALL_ENTRIES = {entry.name: entry for entry in entries() if entry.bytes == 8_000}
WORST = [
    ("JSON rows of assignments", "empty objects in lists"),
    ("JSON rows of licenses", "rows that say nothing"),
    ("forms of licenses", "rows"),
    ("XML of licenses", "rows of 9,000 unknown elements"),
    ("authentication data", "records of marks"),
]


async def _longest_turn(work: Awaitable[object]) -> float:
    """The most CPU time that the thread of the loop took between two turns, in seconds."""
    longest = 0.0
    task = asyncio.ensure_future(work)
    last = time.thread_time()
    while not task.done():
        await asyncio.wait([task], timeout=_TURN_SECONDS)
        now = time.thread_time()
        longest, last = max(longest, now - last), now
    with suppress(GatewayError):
        task.result()
    return longest


@pytest.mark.parametrize("size", [8_000, 100_000])
@pytest.mark.parametrize(("name", "worst"), WORST)
def test_a_worst_case_body_leaves_the_loop(name: str, worst: str, size: int) -> None:
    entry = SMALL_ENTRIES[name]
    body = entry.worst[worst](size)

    async def play() -> float:
        return await _longest_turn(to_thread_if_large(len(body), entry.read, body))

    assert asyncio.run(play()) < MOST_SECONDS


# Deciding rows of licenses takes a time that is linear in the rows, however they hang together.


ROWS = 20_000
_MOST_GROWTH = 3.2
"""Twice the rows; quadratic work would take four times as long."""
_NOISE_SECONDS = 0.3

Row = dict[str, Any]


def _key(number: int) -> str:
    return str(uuid.UUID(int=number + 1))


def _row(employee: int, license_: int, **more: Any) -> Row:
    return {
        "companyCode": "C1",
        "employeeNumber": f"E{employee}",
        "licenseTypeCode": "RN",
        "licenseNumber": f"L{license_}",
        **more,
    }


def chained(count: int) -> list[Row]:
    """Each key is given for two employees, so that all rows are one unit."""
    return [_row(place // 2, place, licenseKey=_key((place + 1) // 2)) for place in range(count)]


def of_one_employee(count: int) -> list[Row]:
    return [_row(1, place) for place in range(count)]


def of_one_license(count: int) -> list[Row]:
    return [_row(1, 1, notes=str(place)) for place in range(count)]


def with_bad_ones(count: int) -> list[Row]:
    """In a chain, every second employee has a row that fails, so that Replace undoes its others."""
    return [
        row if place % 4 else {**row, "issuedDate": "x"} for place, row in enumerate(chained(count))
    ]


def of_keys(count: int) -> list[Row]:
    """Rows that name no employee."""
    return [{"companyCode": "C1", "licenseKey": _key(place)} for place in range(count)]


def nothing(_rows: Sequence[Row]) -> list[StoredLicense]:
    return []


def tombstones(rows: Sequence[Row]) -> list[StoredLicense]:
    """Each license was there and was removed."""
    return [as_tombstone(each, 1) for each in stored(rows)]


def stored(rows: Sequence[Row]) -> list[StoredLicense]:
    """Each row's license is there, under a key of its own."""
    return [
        StoredLicense(
            row.get("licenseKey", _key(place)),
            employee_of(row),
            {**row, "licenseKey": row.get("licenseKey", _key(place)), "notes": "old"},
            1,
        )
        for place, row in enumerate(rows)
    ]


def _seconds(
    make: Callable[[int], list[Row]],
    there: Callable[[Sequence[Row]], list[StoredLicense]],
    action: LicenseAction,
    count: int,
) -> float:
    rows = make(count)
    work = import_on(LicenseSet(there(rows)), action, 2)
    sketches = [outline_row(TENANT, index, 0, 0, fold_names(row)) for index, row in enumerate(rows)]
    units = group_rows(sketches, {}, action)
    read: list[list[tuple[ReadRow, Employee]]] = [
        [(_read(row.index, rows[row.index]), row.employee) for row in unit.rows] for unit in units
    ]
    started = time.process_time()
    results = _all(work, read)
    seconds = time.process_time() - started
    assert results == count
    return seconds


def _read(index: int, row: Row) -> ReadRow:
    """The row as reading leaves it; one with a wrong date has failed."""
    messages = (Message(1006, "issuedDate"),) if "issuedDate" in row else ()
    return ReadRow(index, result_key(row, explicit_key(row)), dict(row), messages)


def _all(work: LicenseRules, read: list[list[tuple[ReadRow, Employee]]]) -> int:
    indexes = {
        result.index
        for segment in build_transactions(work, "partition", read, "now", 99)
        for result in segment.results
    }
    return len(indexes)


@pytest.mark.parametrize(
    ("make", "there", "action"),
    [
        (chained, nothing, LicenseAction.REPLACE),
        (chained, stored, LicenseAction.REPLACE),
        (with_bad_ones, stored, LicenseAction.REPLACE),
        (of_one_employee, stored, LicenseAction.REPLACE),
        (of_one_employee, tombstones, LicenseAction.OVERRIDE),
        (chained, tombstones, LicenseAction.MERGE),
        (of_keys, tombstones, LicenseAction.REPLACE),
        (of_one_license, nothing, LicenseAction.OVERRIDE),
        (of_one_employee, stored, LicenseAction.DELETE),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_twice_the_rows_take_no_more_than_twice_the_time(
    make: Callable[[int], list[Row]],
    there: Callable[[Sequence[Row]], list[StoredLicense]],
    action: LicenseAction,
) -> None:
    count = ROWS if (make, there) == (chained, stored) else ROWS // 7
    half, whole = 0.0, math.inf
    for _ in range(3):
        half = max(half, _seconds(make, there, action, count // 2))
        whole = min(whole, _seconds(make, there, action, count))
        if whole <= half * _MOST_GROWTH + _NOISE_SECONDS:
            break
    assert whole <= half * _MOST_GROWTH + _NOISE_SECONDS
