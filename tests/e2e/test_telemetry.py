"""A trace of one import from its call across the queue to the commit, and the metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import a_worker
from tests.e2e.gateway_process import GatewayProcess, started_as
from tests.e2e.traced_host import FOLDER
from tests.emulator import Emulator
from tests.tenants import Sender, a_sender
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
SECRET = "12345678"
Span = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("telemetry")


@pytest.fixture(scope="module")
def storage(emulator: Emulator) -> str:
    return emulator.account("telemetry")


@pytest.fixture(scope="module")
def gateway(storage: str, folder: Path) -> Iterator[GatewayProcess]:
    settings = {FOLDER: str(folder), "GATEWAY_TELEMETRY": "opentelemetry"}
    with started_as("tests.e2e.traced_host", storage, folder, **settings) as process:
        yield process


@pytest.fixture(scope="module")
def sender(storage: str) -> Sender:
    return a_sender(storage)


@pytest.fixture(scope="module")
def spans(gateway: GatewayProcess, sender: Sender, folder: Path) -> list[Span]:
    """All spans of a call that imports two workers, one of them bad."""
    rows = [
        a_worker("W1", PrimaryBankDetails={"BankAccountNumber": SECRET}),
        a_worker("W2", DateOfBirth="tomorrow"),
    ]
    answer = gateway.post(sender, rows, traceparent=PARENT)
    assert [row["importStatus"] for row in answer.results] == ["OK", "Error"]

    def read() -> list[Span] | None:
        lines = (folder / "spans").read_text().splitlines()
        found = [
            span for line in lines if TRACE in (span := json.loads(line))["context"]["trace_id"]
        ]
        is_whole = any(span["parent_id"] == f"0x{PARENT[36:52]}" for span in found) and any(
            span["name"] == "chunk.process" for span in found
        )
        return found if is_whole else None

    return wait_until(read, "the spans of the call and of the chunk, which may end after it")


def test_a_trace_goes_from_the_call_across_the_queue_to_the_commit(spans: list[Span]) -> None:
    assert tree(spans) == (ROOT / "tests/golden/trace.txt").read_text()
    assert tree(spans) in (ROOT / "docs/operate.md").read_text()


def test_spans_name_the_import_and_no_value(spans: list[Span], sender: Sender) -> None:
    chunk = next(span for span in spans if span["name"] == "chunk.process")
    assert chunk["kind"] == "SpanKind.CONSUMER"
    assert chunk["attributes"]["gateway.tenant"] == sender.tenant
    assert chunk["attributes"]["gateway.type"] == "workers"
    assert SECRET not in json.dumps(spans)
    assert "tomorrow" not in json.dumps(spans)


def test_metrics_count_rows_by_type_and_outcome(
    spans: list[Span], gateway: GatewayProcess, folder: Path
) -> None:
    assert spans
    # The first refusal of all: no key.
    assert gateway.call("POST", "/api/import/workers", b"[]").status == 401

    def read() -> dict[str, list[dict[str, Any]]] | None:
        points = {
            metric["name"]: metric["data"]["data_points"]
            for line in (folder / "metrics").read_text().splitlines()
            for resource in json.loads(line)["resource_metrics"]
            for scope in resource["scope_metrics"]
            for metric in scope["metrics"]
        }
        calls = points.get("gateway.call.duration", [])
        return points if any(p["attributes"]["gateway.status"] == 401 for p in calls) else None

    points = wait_until(read, "the refusal in the metrics")
    rows = {
        point["attributes"]["gateway.outcome"]: point["value"]
        for point in points["gateway.rows"]
        if point["attributes"]["gateway.type"] == "workers"
    }
    assert rows == {"new": 1, "updated": 0, "unchanged": 0, "failed": 1}
    assert points["gateway.chunk.duration"][0]["count"] == 1
    assert points["gateway.queue.wait"][0]["max"] < 60


def tree(spans: list[Span]) -> str:
    """The spans as a tree, in the order of their start; siblings of one name once."""
    by_parent: dict[str, list[Span]] = {}
    for span in sorted(spans, key=lambda each: each["start_time"]):
        by_parent.setdefault(span["parent_id"], []).append(span)

    def lines(parent: str, depth: int) -> Iterator[str]:
        names: set[str] = set()
        for span in by_parent.get(parent, ()):
            if span["name"] not in names:
                names.add(span["name"])
                yield f"{'  ' * depth}{span['name']}\n"
                yield from lines(span["context"]["span_id"], depth + 1)

    return "".join(lines(f"0x{PARENT[36:52]}", 0))
