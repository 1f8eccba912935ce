"""Telemetry that is off costs nothing, and says so where its packages are missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import StatusCode

from shared import telemetry

ROOT = Path(__file__).parents[2]


def test_nothing_of_opentelemetry_is_imported_while_it_is_off() -> None:
    code = (
        "import functions.late_imports, sys; "
        "print([name for name in sys.modules if 'opentelemetry' in name])"
    )
    assert output_of(code) == "[]\n"


def test_off_there_are_no_spans_and_no_trace() -> None:
    with telemetry.span("chunk.process", "00-1-2-01", rows=1) as span:
        assert span is None
    assert telemetry.current_trace() == ""
    telemetry.note(telemetry.ROWS, 1, type="workers", outcome="new")


FAILS = """
import asyncio
from shared import telemetry
telemetry.turn_on()

@telemetry.traced("rows.commit")
async def fail():
    raise ValueError("a value of a row")

try:
    asyncio.run(fail())
except ValueError as error:
    # Without a provider there is no trace to belong to.
    print([str(error), telemetry.current_trace()])
"""


def test_an_error_passes_through_a_span_and_leaves_its_class_alone() -> None:
    """In a process of its own, since telemetry stays on where it was turned on."""
    assert output_of(FAILS) == "['a value of a row', '']\n"


def output_of(program: str) -> str:
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_missing_packages_leave_telemetry_off_and_the_gateway_working(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    telemetry.turn_on()
    assert [line.split()[0] for line in caplog.messages] == ["telemetry.packages_missing"]
    with telemetry.span("chunk.process") as span:
        assert span is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, StatusCode.UNSET), (404, StatusCode.UNSET), (503, StatusCode.ERROR)],
)
def test_a_call_has_failed_from_500_on(status: int, expected: StatusCode) -> None:
    span = TracerProvider().get_tracer("test").start_span("import_workers")
    assert isinstance(span, ReadableSpan)
    telemetry.note_answer(span, status, "c1")
    assert span.status.status_code is expected
    assert span.attributes is not None
    assert span.attributes["http.response.status_code"] == status


CALLS = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from shared import telemetry
trace.set_tracer_provider(TracerProvider())
telemetry.turn_on()
with telemetry.call_span("health", "") as alone: pass
with trace.get_tracer("worker").start_as_current_span("invocation") as request:
    with telemetry.call_span("health", f"00-{'1' * 32}-{'2' * 16}-01") as call: pass
print(alone.kind.name, call.kind.name, call.parent.span_id == request.context.span_id)
"""


def test_a_call_counts_as_a_request_only_where_the_worker_has_no_span_of_it() -> None:
    assert output_of(CALLS).split() == ["SERVER", "INTERNAL", "True"]
