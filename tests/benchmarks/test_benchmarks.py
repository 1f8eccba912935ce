"""The benchmarks: their figures, the sums of the fault bench, and that each still runs."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.faults import FIRST_SEED, RoundFile
from benchmarks.measuring.access_log import Requests, count
from benchmarks.measuring.figures import in_rounds, middle, percentile, quotient, rounded
from benchmarks.measuring.meters import Meter, spent
from benchmarks.measuring.tables import Line, render
from benchmarks.payloads import Case, body_of
from tests.faults.bench import Tally

# What the figures of the benchmarks are made of.

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


def test_requests_are_counted_by_address_and_polls_are_left_out() -> None:
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


# The slices of the fault bench are added up, commit by commit.


def a_round() -> Tally:
    return Tally(rounds=1, calls=10, faults=Counter({"SIGKILL": 2}), points={"Table GET a"})


def test_slices_of_a_commit_are_added_up_and_continue_after_the_last_seed(tmp_path: Path) -> None:
    file = tmp_path / "rounds.jsonl"
    assert RoundFile(file, "one").next_seed() == FIRST_SEED
    failure = {"seed": 8, "findings": ["lost: …"]}
    RoundFile(file, "one").keep(7, a_round())
    total = a_round()
    total.findings["lost"] = 1
    total.failures.append(failure)
    RoundFile(file, "one").keep(8, total)
    RoundFile(file, "other").keep(70, a_round())

    rounds = RoundFile(file, "one")
    assert rounds.next_seed() == 9
    whole = rounds.whole()
    assert (whole.rounds, whole.calls, whole.faults) == (2, 20, Counter({"SIGKILL": 4}))
    assert whole.points == {"Table GET a"}
    assert whole.findings == Counter(lost=1)
    assert whole.failures == [failure]


def test_an_unknown_kind_of_fault_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["faults", "--kind", "earthquake"], tmp_path) == 1
    assert "no fault 'earthquake'" in capsys.readouterr().err


# A benchmark is no test; that it still runs, and what its JSON looks like, is one.

FLOORS = {"floorA", "floorB"}
IMPORTS = {"new", "unchanged", "changed"}
ROWS = 24


@pytest.mark.e2e
@pytest.mark.slow
def test_the_import_benchmark_runs_and_prints_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import", "--quick", "--rows", str(ROWS), "--json"]
    assert main(words, tmp_path) == 0, capsys.readouterr().err
    document = json.loads(capsys.readouterr().out)["import"]
    [file] = tmp_path.glob("import-*.json")
    assert json.loads(file.read_text("utf-8")) == document
    assert document["rounds"] == 1
    [case] = document["cases"]
    _check_case(case)
    _check_one_row(document["oneRow"])
    assert 0 < document["notComparableBetweenRuns"]["sealMicrosecondsPerRow"] < 1_000


@pytest.mark.e2e
@pytest.mark.slow
def test_the_types_benchmark_runs_and_prints_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["types", "--quick", "--rows", str(ROWS), "--json"]
    assert main(words, tmp_path) == 0, capsys.readouterr().err
    document = json.loads(capsys.readouterr().out)["types"]
    assert set(document["speed"]) == {"assignments ÷ workers", "licenses XML ÷ licenses JSON"}
    assert all(value > 0 for value in document["speed"].values())
    assert all(value > 0 for value in document["requestsPerRow"].values())


@pytest.mark.e2e
@pytest.mark.slow
def test_the_authdata_benchmark_runs_and_prints_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["authdata", "--quick", "--rows", str(ROWS), "--json"]
    assert main(words, tmp_path) == 0, capsys.readouterr().err
    document = json.loads(capsys.readouterr().out)["authdata"]
    assert set(document["speed"]) == {f"{load}/floorB" for load in IMPORTS}
    assert all(value > 0 for value in document["speed"].values())
    assert set(document["requestsPerRow"]) == IMPORTS


def test_the_export_benchmark_runs_and_prints_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "--quick", "--rows", str(ROWS), "--json"]
    assert main(words, tmp_path) == 0, capsys.readouterr().err
    document = json.loads(capsys.readouterr().out)["export"]
    assert set(document["speed"]) == {"ndjson/sdk", "csv/sdk", "json/sdk"}
    assert all(value > 0 for value in document["speed"].values())


def _check_case(case: dict[str, Any]) -> None:
    assert (case["rows"], case["employers"], case["lookupsPerRow"]) == (ROWS, 10, 1)
    assert case["entities"] >= 2 * ROWS, "a worker and a look-up for each row"
    assert case["payloadBytes"] > ROWS * 3_000
    quotients = {"new/floorA", "new/floorB", "unchanged/new", "changed/new"}
    assert set(case["speed"]) == quotients
    assert all(value > 0 for value in case["speed"].values())
    for requests in case["requestsPerRow"].values():
        parts = sum(requests[service] for service in ("tables", "blobs", "queues"))
        assert requests["total"] == pytest.approx(parts, rel=0.01)
    assert set(case["requestsPerRow"]) == IMPORTS
    assert set(case["processorTime"]) == {f"{step}/floorB" for step in IMPORTS}
    assert set(case["peakMemoryOverIdlePerPayload"]) == IMPORTS
    absolute = case["notComparableBetweenRuns"]
    assert set(absolute["rowsPerSecond"]) == FLOORS | IMPORTS
    assert [set(steps) for steps in absolute["rounds"]] == [FLOORS | IMPORTS]


def _check_one_row(one_row: dict[str, Any]) -> None:
    assert one_row["employers"] == 1
    assert one_row["requestsPerCall"] > 0
    assert one_row["p50OverRawRequests"] > 0
    times = one_row["notComparableBetweenRuns"]
    assert 0 < times["p50Milliseconds"] <= times["p95Milliseconds"]
