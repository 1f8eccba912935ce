"""What the figures of the benchmarks are made of."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmarks.measuring.access_log import Requests, count
from benchmarks.measuring.figures import in_rounds, middle, percentile, quotient, rounded
from benchmarks.measuring.meters import Meter, spent
from benchmarks.measuring.tables import Line, render
from benchmarks.payloads import Case, body_of

LOG = "\n".join(
    f'127.0.0.1 - - [21/Nov/2026:23:34:50 +0000] "{request} HTTP/1.1" 200 -'
    for request in (
        "POST /devstoreaccount1/$batch",
        "GET /devstoreaccount1/Workers()?$filter=PartitionKey%20eq%20%27a%27",
        "PUT /devstoreaccount1/import-payloads/tenant/x.lines",
        "POST /devstoreaccount1/import-workers/messages",
        "GET /devstoreaccount1/import-workers/messages?numofmessages=4",
        "GET /devstoreaccount1/import-workers/messages?numofmessages=4",
        "PUT /devstoreaccount1/import-workers/messages/1?popreceipt=a&visibilitytimeout=3",
        "DELETE /devstoreaccount1/import-workers/messages/1?popreceipt=b",
    )
)


def test_requests_are_told_apart_by_their_address_and_polls_do_not_count() -> None:
    counted = count(LOG)
    assert counted == Requests(tables=2, blobs=1, queues=3, sends=1, deletes=1, polls=2)
    assert counted.total == 7, "one poll is put back for the message that was sent"


def test_a_quotient_is_made_within_each_round() -> None:
    assert in_rounds([2.0, 6.0, None], [1.0, 2.0, 1.0]) == [2.0, 3.0, None]
    assert middle([2.0, 3.0, None]) == 2.5
    assert middle([None]) is None
    assert quotient(1.0, 0.0) is None


def test_percentiles_are_values_that_were_read() -> None:
    values = [float(value) for value in range(50, 0, -1)]
    assert percentile(values, 50) == 25.0
    assert percentile(values, 95) == 48.0
    assert percentile([7.0], 95) == 7.0


@pytest.mark.parametrize(
    ("value", "shown"),
    [(123456.0, 123500.0), (0.0123456, 0.01235), (0.0, 0.0), (-1.23456, -1.235), (None, None)],
)
def test_four_digits_are_kept(value: float | None, shown: float | None) -> None:
    assert rounded(value) == shown


def test_a_meter_of_a_process_that_is_not_there_reads_nothing() -> None:
    assert Meter(2**30).processor_seconds() is None
    assert Meter(2**30).peak_bytes() is None
    assert spent(None, 1.0) is None


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc")
def test_a_meter_reads_time_and_memory() -> None:
    meter = Meter(os.getpid())
    resident, peak = meter.resident_bytes(), meter.peak_bytes()
    assert peak is not None
    assert resident is not None
    # The kernel counts both in batches, so one may run a little ahead of the other.
    assert peak > 0.9 * resident > 1_000_000
    assert meter.processor_seconds() is not None


def test_a_table_has_its_figures_below_their_heads() -> None:
    lines = [Line("rows", ["1,000", "24"]), Line("speed"), Line("  first", ["1.00", "20.00"])]
    assert render(lines) == [
        "rows     1,000     24",
        "speed",
        "  first   1.00  20.00",
    ]


def test_rows_have_keys_of_their_own_and_employers_in_turn() -> None:
    rows = json.loads(body_of(Case(5, 2)))
    assert [row["EmployerRef"] for row in rows] == ["ER1", "ER2", "ER1", "ER2", "ER1"]
    assert (
        len({row["PersonnelRef"] for row in rows} | {row["ExternalWorkerRef"] for row in rows})
        == 10
    )
    assert len(body_of(Case(1, 1))) > 3_000


def test_rows_without_look_ups_have_their_own_key_as_external_reference() -> None:
    [row] = json.loads(body_of(Case(1, 1, has_lookups=False)))
    assert row["ExternalWorkerRef"] == row["PersonnelRef"]
