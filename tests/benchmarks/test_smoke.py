"""A benchmark is no test; that it still runs, and what its JSON looks like, is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
FLOORS = {"floorA", "floorB"}
IMPORTS = {"new", "unchanged", "changed"}
ROWS = 24


def test_the_bench_of_the_import_runs_and_tells_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import", "--quick", "--rows", str(ROWS), "--json"]
    assert main(words, tmp_path) == 0, capsys.readouterr().err
    document = json.loads(capsys.readouterr().out)["import"]
    [kept] = tmp_path.glob("import-*.json")
    assert json.loads(kept.read_text("utf-8")) == document
    assert document["rounds"] == 1
    [case] = document["cases"]
    _check_case(case)
    _check_one_row(document["oneRow"])


def test_the_bench_of_the_types_runs_and_tells_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["types", "--quick", "--rows", str(ROWS), "--json"]
    assert main(words, tmp_path) == 0, capsys.readouterr().err
    document = json.loads(capsys.readouterr().out)["types"]
    assert set(document["speed"]) == {"assignments ÷ workers", "licenses XML ÷ licenses JSON"}
    assert all(value > 0 for value in document["speed"].values())
    assert all(value > 0 for value in document["requestsPerRow"].values())


def test_the_bench_of_authdata_runs_and_tells_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["authdata", "--quick", "--rows", str(ROWS), "--json"]
    assert main(words, tmp_path) == 0, capsys.readouterr().err
    document = json.loads(capsys.readouterr().out)["authdata"]
    assert set(document["speed"]) == {f"{load}/floorB" for load in IMPORTS}
    assert all(value > 0 for value in document["speed"].values())
    assert set(document["requestsPerRow"]) == IMPORTS


def test_the_bench_of_the_export_runs_and_tells_its_figures(
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
