"""Blob and timer triggers in a running host, NCRONTAB schedules, faulty answers of storage."""

from __future__ import annotations

import base64
import gzip
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from azure.storage.blob import (
    BlobServiceClient,
    ContainerClient,
    ContentSettings,
    StandardBlobTier,
)
from azure.storage.queue import QueueClient

from local_host.ncrontab import Schedule
from tests.faults.proxy import CutAnswer, Fault, ReplaceBody, Rule, Service, running_proxy
from tests.local_host.running_host import RunningHost, encode, host_environment, started
from tests.waiting import wait_until

# Blob triggers in a running host, and faulty answers of storage.


# Blob triggers in a running host.
@pytest.fixture(scope="module")
def container(
    connection_string: str, shared_environment: dict[str, str]
) -> Iterator[ContainerClient]:
    with BlobServiceClient.from_connection_string(connection_string) as service:
        yield service.create_container(shared_environment["DROP"])


@pytest.mark.integration
def test_blob_is_run_with_its_bytes_and_properties(
    host: RunningHost, container: ContainerClient
) -> None:
    container.upload_blob("in/a/b.bin", b"\xff\xd8\xff", metadata={"generationtime": "now"})
    container.upload_blob("elsewhere.bin", b"no")
    name = f"{container.container_name}/in/a/b.bin"
    (got,) = host.wait_for("blob", name)
    assert (got["hex"], got["length"]) == ("ffd8ff", 3)
    assert got["metadata"] == {"generationtime": "now"}
    assert got["uri"].endswith(name)
    assert got["created"]
    assert host.seen("blob", f"{container.container_name}/elsewhere.bin") == []


@pytest.mark.integration
def test_overwritten_blob_runs_again(host: RunningHost, container: ContainerClient) -> None:
    name = f"{container.container_name}/in/twice.bin"
    container.upload_blob("in/twice.bin", b"one")
    host.wait_for("blob", name)
    container.upload_blob("in/twice.bin", b"two", overwrite=True)
    assert [one["hex"] for one in host.wait_for("blob", name, count=2)] == ["6f6e65", "74776f"]


@pytest.mark.integration
def test_failing_blob_is_tried_five_times_and_ends_in_poison(
    host: RunningHost, container: ContainerClient, connection_string: str
) -> None:
    container.upload_blob("in/bad.bin", b"bad")
    name = f"{container.container_name}/in/bad.bin"
    host.wait_for("blob", name, count=5)
    with QueueClient.from_connection_string(
        connection_string, "webjobs-blobtrigger-poison"
    ) as queue:
        wait_until(lambda: "failed too often" in host.log() or None, "it is logged")
        texts = [json.loads(base64.b64decode(m.content)) for m in queue.peek_messages(32)]
    (message,) = [t for t in texts if t["ContainerName"] == container.container_name]
    assert (message["BlobName"], message["FunctionId"]) == ("in/bad.bin", "Host.Functions.drop")
    assert set(message) == {
        "Type", "FunctionId", "BlobType", "ContainerName", "BlobName", "ETag",
    }  # fmt: skip
    assert len(host.seen("blob", name)) == 5


@pytest.mark.integration
def test_blob_function_gets_the_stored_bytes_in_any_encoding(
    host: RunningHost, container: ContainerClient
) -> None:
    """The platform's host does not decode; a false header would keep the blob from being run."""
    packed = gzip.compress(b"meant")
    for name, content in (("in/packed.bin", packed), ("in/false.bin", b"not packed")):
        settings = ContentSettings(content_encoding="gzip")
        container.upload_blob(name, content, content_settings=settings)
        (got,) = host.wait_for("blob", f"{container.container_name}/{name}")
        assert bytes.fromhex(got["hex"]) == content


@pytest.mark.integration
@pytest.mark.parametrize("name", ["a\x01b", "\ufffe", "x" * 1_000, "a/" * 250])
def test_blob_of_any_name_is_run_and_does_not_hold_up_another(
    host: RunningHost, container: ContainerClient, name: str
) -> None:
    name, other = f"in/{name}.bin", f"in/{uuid.uuid4().hex}.bin"
    container.upload_blob(name, b"odd")
    container.upload_blob(other, b"plain")
    (got,) = host.wait_for("blob", f"{container.container_name}/{other}")
    assert got["hex"] == b"plain".hex()
    (got,) = host.wait_for("blob", f"{container.container_name}/{name}")
    assert got["hex"] == b"odd".hex()


@pytest.mark.integration
def test_blob_that_cannot_be_read_ends_in_poison(
    host: RunningHost, container: ContainerClient
) -> None:
    archive = StandardBlobTier.ARCHIVE
    container.upload_blob("in/archived.bin", b"cold", standard_blob_tier=archive)
    line = "in/archived.bin has failed too often"
    wait_until(lambda: line in host.log() or None, "it is logged")
    assert host.seen("blob", f"{container.container_name}/in/archived.bin") == []


@pytest.mark.integration
def test_blob_is_not_run_again_after_a_restart(connection_string: str, tmp_path: Path) -> None:
    environment = host_environment(connection_string)
    with (
        BlobServiceClient.from_connection_string(connection_string) as service,
        service.create_container(environment["DROP"]) as drop,
    ):
        drop.upload_blob("in/first.bin", b"1")
        with started(environment, tmp_path) as host:
            host.wait_for("blob")
            hosts = service.get_container_client("azure-webjobs-hosts")
            prefix = f"blobreceipts/{environment['AzureFunctionsWebHost__hostid']}/"
            wait_until(lambda: list(hosts.list_blobs(prefix)) or None, "there is a receipt")
        drop.upload_blob("in/second.bin", b"2")
        with started(environment, tmp_path) as host:
            (got,) = host.wait_for("blob")
            assert got["hex"] == b"2".hex()


# Answers of storage that are empty, cut or of another kind do not end the host or a listener.
FAULTS = [ReplaceBody(b""), ReplaceBody(b"<html>It works!</html>", "text/html"), CutAnswer(60)]


@pytest.mark.integration
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_the_host_lives_through_answers_that_cannot_be_read(
    connection_string: str, tmp_path: Path, fault: Fault
) -> None:
    with running_proxy(connection_string) as proxy:
        environment = host_environment(
            proxy.connection_string, LOCAL_HOST_LEASE_SECONDS="1", TICK_SCHEDULE="* * * * * *"
        )
        jobs = QueueClient.from_connection_string(connection_string, environment["JOBS_QUEUE"])
        drops = ContainerClient.from_connection_string(connection_string, environment["DROP"])
        with jobs, drops, started(environment, tmp_path) as host:
            jobs.create_queue()
            drops.create_container()
            rules = [
                proxy.add(Rule(fault, Service.BLOB)),
                proxy.add(Rule(fault, Service.QUEUE)),
            ]
            drops.upload_blob("in/one.bin", b"one")
            wait_until(lambda: all(rule.applied >= 5 for rule in rules), "five faults each")
            assert host.process.poll() is None, host.log()
            proxy.clear()
            jobs.send_message(encode({"job": "after"}))
            drops.upload_blob("in/two.bin", b"two")
            host.wait_for("done", "after")
            for name in ("in/one.bin", "in/two.bin"):
                host.wait_for("blob", f"{drops.container_name}/{name}")
            assert host.process.poll() is None, host.log()


# NCRONTAB schedules, and timer triggers in a running host.

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
        status_document = json.loads(status.download_blob().readall())
        status.upload_blob(
            json.dumps({**status_document, "Next": "2020-01-01T00:00:00+00:00"}), overwrite=True
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
