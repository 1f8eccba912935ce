"""The benchmarks: their figures, their report, the sums of the fault bench, and that they run."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.__main__ import main
from benchmarks.catalogue import BENCHES
from benchmarks.faults import FIRST_SEED, RoundFile
from benchmarks.measuring.access_log import Requests, count
from benchmarks.measuring.figures import in_rounds, middle, percentile, quotient, rounded
from benchmarks.measuring.meters import Meter, spent
from benchmarks.measuring.stage_sampler import STAGES
from benchmarks.measuring.tables import Line, render
from benchmarks.parts import Card, Part, Parts
from benchmarks.payloads import Case, body_of
from benchmarks.report import PAGE, target_lines, write_page
from benchmarks.targets import TARGETS
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


# The page of figures has a line for each target, and each target has its bench.


def a_part(**figures: float) -> Part:
    card = Card("c0ffee", "2026-11-28T01:00:00+00:00", 60.0, 0.1, 1.2, (1_000,), 3, {"python": "3"})
    return Part(card, figures, {}, (), ("django: PostgreSQL is not installed",))


def test_the_page_of_performance_has_a_line_for_every_target() -> None:
    table = PAGE.read_text("utf-8").partition("<!-- bench: targets -->\n")[2].partition("<!-- /")[0]
    lines = [line.split(" | ") for line in table.splitlines()[2:]]
    assert [line[0].removeprefix("| ") for line in lines] == [each.title for each in TARGETS]
    assert [line[5].split("`")[1] for line in lines] == [each.bench for each in TARGETS]


def test_every_target_is_a_figure_of_a_bench_of_the_whole_run() -> None:
    assert len({each.name for each in TARGETS}) == len(TARGETS)
    assert {each.bench for each in TARGETS} <= {n for n, b in BENCHES.items() if b.is_in_whole}


def test_a_target_is_missed_reached_or_at_its_aim() -> None:
    parts = {"export": a_part(**{"ndjson/sdk": 0.6}), "two": a_part()}
    [line] = [each for each in target_lines(parts) if each.startswith("export")]
    assert line.split()[-7:] == ["0.8", "0.6", "must", "3", "0.1", "to", "1.2"]
    limit = next(each for each in TARGETS if each.name == "idle/processor")
    assert [limit.is_met(figure, limit.must) for figure in (0.04, 0.05, 0.06)] == [
        True,
        True,
        False,
    ]
    assert limit.shown(0.0123) == "0.0123 core"


def test_the_report_writes_the_figures_and_the_plots(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "performance.md"
    page.parent.mkdir()
    page.write_text(PAGE.read_text("utf-8"), "utf-8")
    large = {"notComparableBetweenRuns": {"rowsPerSecond": {"10000": 900.0, "100000": 800.0}}}
    parts = {"large": replace(a_part(**{"largest/first": 0.89}), document=large)}
    write_page(page, parts)
    text = page.read_text("utf-8")
    assert "| ≥ 0.9 | ≥ 1 | 0.89 | missed | `large`, 1,000, 3, 0.1 to 1.2 |" in text
    assert "* large: django: PostgreSQL is not installed" in text
    for name in ("rows-per-second", "latency"):
        ElementTree.fromstring((page.parent / "images" / f"{name}.svg").read_text("utf-8"))
    assert "gateway, short rows" in (page.parent / "images" / "rows-per-second.svg").read_text(
        "utf-8"
    )
    write_page(page, parts)
    assert page.read_text("utf-8") == text


def test_every_stage_names_functions_of_the_gateway() -> None:
    for module, name in (place for places in STAGES.values() for place in places):
        if module.startswith("shared/"):
            code = (PAGE.parents[1] / module).read_text("utf-8")
            assert not name or f"def {name}(" in code, f"{module} has no {name}"


def test_the_page_shows_the_stages(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("<!-- bench: stages -->\n<!-- /bench -->\n", "utf-8")
    times = {"decide": {"new": 109.3, "unchanged": 74.2, "changed": 160.0}}
    write_page(page, {"stages": replace(a_part(), document={"microsecondsPerRow": times})})
    assert "| decide | 109 | 74 | 160 |" in page.read_text("utf-8")


def test_a_run_that_died_goes_on_after_the_last_bench(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["cold-start", "--rounds", "1", "--resume"]
    assert main(words, tmp_path) == 0
    assert "measured already" not in capsys.readouterr().err
    assert main(words, tmp_path) == 0
    assert "cold-start: measured already" in capsys.readouterr().err
    part = Parts(tmp_path).last("cold-start")
    assert part is not None
    assert part.figures["coldStart"] is not None
    Parts(tmp_path).keep("cold-start", replace(part, card=replace(part.card, commit="other")))
    assert main(words, tmp_path) == 0
    assert "measured already" not in capsys.readouterr().err


# A benchmark is no test; that it still runs, and what its JSON looks like, is one.

FLOORS = {"floorA", "floorB", "floorC"}
IMPORTS = {"new", "unchanged", "changed"}
ROWS = 24
GROUPS = (
    ("import", "tutorial", "one-row", "growth"),
    ("types", "files", "export", "authdata"),
    ("stages",),
)
"""Those left out start gateways of their own, or take seconds to tell anything."""


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("names", GROUPS, ids=lambda names: names[0])
def test_the_benchmarks_run_and_find_the_figures_of_their_targets(
    names: Sequence[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*names, "--quick", "--rows", str(ROWS), "--json"], tmp_path) == 0, (
        capsys.readouterr().err
    )
    parts = json.loads(capsys.readouterr().out)
    assert {name: set(part["figures"]) for name, part in parts.items()} == {
        name: {target.name for target in TARGETS if target.bench == name} for name in names
    }
    assert all(None not in part["figures"].values() for part in parts.values())
    for part in parts.values():
        for case in part["document"].get("cases", ()):
            _check_case(case)


def _check_case(case: dict[str, Any]) -> None:
    assert (case["rows"], case["employers"], case["lookupsPerRow"]) == (ROWS, 10, 1)
    assert case["entities"] >= 2 * ROWS, "a worker and a look-up for each row"
    assert case["payloadBytes"] > ROWS * 3_000
    quotients = {"new/floorA", "new/floorB", "new/floorC", "unchanged/new", "changed/new"}
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
