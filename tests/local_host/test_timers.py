"""Timer triggers in a running host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient

from tests.local_host.running_host import RunningHost, host_environment, started, wait_until

pytestmark = pytest.mark.integration


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


def test_run_on_startup_runs_at_once(host: RunningHost) -> None:
    assert host.wait_for("yearly") == [{"yearly": False}]


def test_missed_run_is_made_up_as_past_due(connection_string: str, tmp_path: Path) -> None:
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


def test_a_stopping_host_lets_a_timer_end(connection_string: str, tmp_path: Path) -> None:
    settings = host_environment(
        connection_string, TICK_SCHEDULE="* * * * * *", LOCAL_HOST_STOP_SECONDS="60"
    )
    with started(settings, tmp_path) as host:
        host.wait_for("tick")
        assert host.stop() == 0
        assert "was stopped" not in host.log()
