"""NCRONTAB schedules, and timer triggers in a running host."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient

from local_host.ncrontab import Schedule
from tests.local_host.running_host import RunningHost, host_environment, started, wait_until

# NCRONTAB schedules.

_START = datetime(2026, 1, 31, 23, 59, 30, 500, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "following"),
    [
        ("* * * * * *", "2026-01-31T23:59:31"),
        ("*/20 * * * * *", "2026-01-31T23:59:40"),
        ("0 */5 * * * *", "2026-02-01T00:00:00"),
        ("30 59 23 * * *", "2026-02-01T23:59:30"),
        ("0 0 12 29 2 *", "2028-02-29T12:00:00"),
        ("0 30 9 * * 1-5", "2026-02-02T09:30:00"),
        ("0 0 0 13 * FRI", "2026-02-13T00:00:00"),
        ("0 0 0 1 Mar,jun *", "2026-03-01T00:00:00"),
        ("0 15/20 6 * * *", "2026-02-01T06:15:00"),
        ("5,10 0 1-3/2 * * *", "2026-02-01T01:00:05"),
        ("30 4 * * *", "2026-02-01T04:30:00"),
    ],
)
def test_next_occurrence(text: str, following: str) -> None:
    assert Schedule.parse(text).next_after(_START) == datetime.fromisoformat(following + "+00:00")


def test_day_of_month_and_day_of_week_must_both_fit() -> None:
    first = Schedule.parse("0 0 0 1 * SUN").next_after(datetime(2026, 2, 1, tzinfo=UTC))
    assert first == datetime(2026, 3, 1, tzinfo=UTC)


def test_a_day_that_never_comes_has_no_occurrence() -> None:
    assert Schedule.parse("0 0 0 30 2 *").next_after(_START) is None


@pytest.mark.parametrize(
    "text", ["", "* * * *", "60 * * * * *", "* * 24 * * *", "* * * 0 * *", "*/0 * * * * *",
             "a * * * * *", "5-3 * * * * *", "* * * * * 7", "00:05:00"]
)  # fmt: skip
def test_a_text_that_is_not_a_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the schedule"):
        Schedule.parse(text)


# Timer triggers in a running host.


@pytest.mark.integration
def test_timer_runs_at_its_seconds_and_never_twice_at_once(
    connection_string: str, tmp_path: Path
) -> None:
    settings = host_environment(connection_string, TICK_SCHEDULE="* * * * * *")
    with started(settings, tmp_path) as host:
        host.wait_for("tick", count=3)
        noted = host.call("GET", "/seen").json()["seen"]
    order = [key for one in noted for key in one if key in ("tick", "tock")]
    assert order[:5] == ["tick", "tock", "tick", "tock", "tick"]
    # Each run may be late on a busy machine, but not all of them.
    assert min(one["tick"] % 1 for one in noted if "tick" in one) < 0.5


@pytest.mark.integration
def test_run_on_startup_runs_at_once(host: RunningHost) -> None:
    assert host.wait_for("yearly") == [{"yearly": False}]


@pytest.mark.integration
def test_a_missed_run_happens_as_past_due(connection_string: str, tmp_path: Path) -> None:
    environment = host_environment(connection_string)
    name = f"timers/{environment['AzureFunctionsWebHost__hostid']}/Host.Functions.tick/status"
    with BlobServiceClient.from_connection_string(connection_string) as service:
        status = service.get_blob_client("azure-webjobs-hosts", name)
        with started(environment, tmp_path) as host:
            wait_until(status.exists, "the next occurrence is kept")
            assert host.seen("tick") == []
        kept = json.loads(status.download_blob().readall())
        status.upload_blob(
            json.dumps({**kept, "Next": "2020-01-01T00:00:00+00:00"}), overwrite=True
        )
        with started(environment, tmp_path) as host:
            assert host.wait_for("tick")[0]["past_due"] is True


@pytest.mark.integration
def test_a_stopping_host_waits_for_a_running_timer(connection_string: str, tmp_path: Path) -> None:
    settings = host_environment(
        connection_string, TICK_SCHEDULE="* * * * * *", LOCAL_HOST_STOP_SECONDS="60"
    )
    with started(settings, tmp_path) as host:
        host.wait_for("tick")
        assert host.stop() == 0
        assert "was stopped" not in host.log()
