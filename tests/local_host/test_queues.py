"""Queue triggers on the storage emulator: tries, lease, poison, what a handler is given."""

from __future__ import annotations

import base64
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.queue import QueueClient

from local_host.queue_trigger import Backoff
from local_host.setup.azurite import ACCOUNT
from tests.emulator import Emulator, Watch
from tests.local_host.running_host import (
    RunningHost,
    encode,
    host_environment,
    started,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.integration
_QUEUES = "AzureFunctionsJobHost__extensions__queues__"
_SHORT_LEASE = {"LOCAL_HOST_LEASE_SECONDS": "1"}
_NO_POISON_TRIGGER = {"AzureWebJobs.jobs_poison.Disabled": "true"}


@contextmanager
def host_with_queue(
    connection_string: str, folder: Path, **settings: str
) -> Iterator[tuple[RunningHost, QueueClient]]:
    """A host and a queue of its own."""
    environment = host_environment(connection_string, **settings)
    with QueueClient.from_connection_string(connection_string, environment["JOBS_QUEUE"]) as jobs:
        jobs.create_queue()
        with started(environment, folder) as host:
            yield host, jobs


def poison_queue(connection_string: str, jobs: QueueClient) -> QueueClient:
    return QueueClient.from_connection_string(connection_string, f"{jobs.queue_name}-poison")


def count(jobs: QueueClient) -> int:
    return jobs.get_queue_properties().approximate_message_count or 0


def is_empty(jobs: QueueClient) -> bool:
    return count(jobs) == 0


def test_message_is_run_once_and_deleted(host: RunningHost, jobs_queue: QueueClient) -> None:
    jobs_queue.send_message(encode({"job": "once"}))
    host.wait_for("done", "once")
    wait_until(lambda: is_empty(jobs_queue), "the queue is empty")
    assert len(host.seen("job", "once")) == 1


def test_message_has_its_metadata(host: RunningHost, jobs_queue: QueueClient) -> None:
    sent = jobs_queue.send_message(encode({"job": "fields", "name": "Łódź"}))
    (got,) = host.wait_for("job", "fields")
    assert (got["id"], got["count"]) == (sent.id, 1)
    assert got["body"] == '{"job": "fields", "name": "\\u0141\\u00f3d\\u017a"}'
    assert got["receipt"]
    inserted, expires, visible = (datetime.fromisoformat(text) for text in got["times"])
    assert expires - inserted == timedelta(days=7)
    assert abs(inserted - datetime.now(UTC)) < timedelta(minutes=1)
    assert inserted <= visible <= inserted + timedelta(minutes=1)


def test_failing_message_is_tried_at_once_and_ends_in_poison(
    host: RunningHost, jobs_queue: QueueClient
) -> None:
    text = encode({"job": "failing", "fail": True})
    jobs_queue.send_message(text)
    poisoned = host.wait_for("poison", base64.b64decode(text).decode())
    assert [one["count"] for one in host.seen("job", "failing")] == [1, 2, 3]
    assert poisoned[0]["count"] == 1
    wait_until(lambda: is_empty(jobs_queue), "the queue is empty")


def test_return_value_fails_the_invocation(host: RunningHost, jobs_queue: QueueClient) -> None:
    jobs_queue.send_message(encode({"job": "returning", "return": "a value"}))
    host.wait_for("job", "returning", count=3)
    wait_until(lambda: is_empty(jobs_queue), "the queue is empty")
    assert "a function without a $return binding returned a value" in host.log()


def test_top_level_property_over_metadata_fails_loudly(
    connection_string: str, tmp_path: Path
) -> None:
    keys = ("id", "InsertionTime", "DEQUEUECOUNT", "popReceipt")
    with (
        host_with_queue(connection_string, tmp_path, **_NO_POISON_TRIGGER) as (host, jobs),
        poison_queue(connection_string, jobs) as poison,
    ):
        for key in keys:
            jobs.send_message(encode({key: "x", "job": key}))
        wait_until(lambda: "-poison" in host.log() and count(poison) == len(keys), "all poisoned")
        assert host.seen("job") == []
        for key in keys:
            assert f"its top-level property {key!r}" in host.log()
        assert "ERROR local_host.queue_trigger: function jobs: message" in host.log()


def test_nested_and_list_properties_are_no_metadata(
    host: RunningHost, jobs_queue: QueueClient
) -> None:
    jobs_queue.send_message(encode({"job": "nested", "id": [1], "row": {"id": 2}}))
    host.wait_for("done", "nested")


def test_text_that_is_not_base64_never_reaches_the_function(
    connection_string: str, tmp_path: Path
) -> None:
    with (
        host_with_queue(connection_string, tmp_path, **_NO_POISON_TRIGGER) as (host, jobs),
        poison_queue(connection_string, jobs) as poison,
    ):
        jobs.send_message("{not base64}")
        wait_until(lambda: "-poison" in host.log() and count(poison) == 1, "it is poisoned")
        assert [message.content for message in poison.peek_messages()] == ["{not base64}"]
        assert host.seen("job") == []
        assert host.log().count("its text is not base64") == 3


def test_a_poison_queue_has_no_poison_queue(connection_string: str, tmp_path: Path) -> None:
    with (
        host_with_queue(connection_string, tmp_path, **_SHORT_LEASE) as (host, jobs),
        poison_queue(connection_string, jobs) as poison,
    ):
        poison.create_queue()
        poison.send_message(encode("fail-in-poison"))
        host.wait_for("poison", '"fail-in-poison"', count=4)
        assert not is_empty(poison)


def test_poison_move_wakes_the_listener_of_the_poison_queue(
    connection_string: str, emulator: Emulator, tmp_path: Path
) -> None:
    """The listener's pause has grown to over a second when the message is moved.

    A machine that stands still makes an attempt late, so that one of three has to be in time.
    """
    longest = {f"{_QUEUES}maxPollingInterval": "00:05:00", f"{_QUEUES}maxDequeueCount": "1"}
    with (
        host_with_queue(connection_string, tmp_path, **longest) as (host, jobs),
        poison_queue(connection_string, jobs) as poison,
    ):
        poison.create_queue()
        moved = []
        for attempt in range(3):
            watch = emulator.watch(ACCOUNT)
            path = f"/{poison.queue_name}/messages"
            wait_for_requests(watch, "GET", path, 5)
            jobs.send_message(encode({"job": attempt, "fail": True}))
            came = host.wait_for("poison", count=attempt + 1)[-1]["at"]
            moved.append(came - host.seen("job", attempt)[0]["at"])
            if moved[-1] < 1.0:
                break
        assert min(moved) < 1.0


def wait_for_requests(watch: Watch, method: str, path: str, count: int) -> None:
    """Until so many requests of that method went to addresses that begin with `path`."""

    def is_there() -> bool:
        seen = [r for r in watch.requests() if r.method == method and r.path.startswith(path)]
        return len(seen) >= count

    wait_until(is_there, f"{count} x {method} {path}")


def test_visibility_timeout_delays_the_next_try(connection_string: str, tmp_path: Path) -> None:
    settings = {f"{_QUEUES}visibilityTimeout": "00:00:02", f"{_QUEUES}maxDequeueCount": "2"}
    with host_with_queue(connection_string, tmp_path, **settings) as (host, jobs):
        jobs.send_message(encode({"job": "late", "fail": True}))
        first, second = host.wait_for("job", "late", count=2)
        assert second["at"] - first["at"] >= 1.0
        assert len(host.wait_for("poison")) == 1


def test_lease_is_renewed_while_the_handler_runs(
    connection_string: str, emulator: Emulator, tmp_path: Path
) -> None:
    with host_with_queue(connection_string, tmp_path, **_SHORT_LEASE) as (host, jobs):
        watch = emulator.watch(ACCOUNT)
        sent = jobs.send_message(encode({"job": "long", "until": "renewed"}))
        path = f"/{jobs.queue_name}/messages/{sent.id}"
        wait_for_requests(watch, "PUT", path, 3)
        host.release("renewed")
        host.wait_for("done", "long")
        wait_until(lambda: is_empty(jobs), "the queue is empty")
        assert len(host.seen("job", "long")) == 1


def test_host_that_stood_still_does_not_run_its_own_message_twice(
    connection_string: str, tmp_path: Path
) -> None:
    """The lease runs out and the receipt changes, as after a lost answer to a renewal."""
    with host_with_queue(connection_string, tmp_path, **_SHORT_LEASE) as (host, jobs):
        jobs.send_message(encode({"job": "stalled", "until": "awake"}))
        host.wait_for("job", "stalled")
        host.process.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: jobs.receive_message(visibility_timeout=1), "the lease has run out")
        finally:
            host.process.send_signal(signal.SIGCONT)
        wait_until(lambda: "its lease had run out and is taken over" in host.log(), "taken over")
        host.release("awake")
        host.wait_for("done", "stalled")
        wait_until(lambda: is_empty(jobs), "the queue is empty")
        assert len(host.seen("job", "stalled")) == 1


def test_message_of_a_killed_process_is_delivered_again(
    connection_string: str, tmp_path: Path
) -> None:
    environment = host_environment(connection_string, **_SHORT_LEASE)
    with QueueClient.from_connection_string(connection_string, environment["JOBS_QUEUE"]) as jobs:
        jobs.create_queue()
        jobs.send_message(encode({"job": "survivor", "until": "never"}))
        with started(environment, tmp_path) as host:
            host.wait_for("job", "survivor")
            host.stop(signal.SIGKILL)
        with started(environment, tmp_path) as host:
            again = host.wait_for("job", "survivor")[0]
            assert again["count"] >= 2
            host.stop(signal.SIGKILL)


def test_message_tried_too_often_goes_to_poison_without_running(
    connection_string: str, tmp_path: Path
) -> None:
    environment = host_environment(connection_string)
    with QueueClient.from_connection_string(connection_string, environment["JOBS_QUEUE"]) as jobs:
        jobs.create_queue()
        jobs.send_message(encode({"job": "worn"}))
        for _ in range(3):
            message = jobs.receive_message(visibility_timeout=60)
            assert message is not None
            jobs.update_message(message, visibility_timeout=0)
        with started(environment, tmp_path) as host:
            host.wait_for("poison", '{"job": "worn"}')
            assert host.seen("job") == []


def test_at_most_batch_and_threshold_run_at_once(connection_string: str, tmp_path: Path) -> None:
    settings = {f"{_QUEUES}batchSize": "2", f"{_QUEUES}newBatchThreshold": "1"}
    with host_with_queue(connection_string, tmp_path, **settings) as (host, jobs):
        for number in range(9):
            jobs.send_message(encode({"job": number, "sleep": 0.3}))
        host.wait_for("done", count=9)
        assert 2 <= host.call("GET", "/seen").json()["most"] <= 3


def test_plain_text_encoding(connection_string: str, tmp_path: Path) -> None:
    settings = {f"{_QUEUES}messageEncoding": "none"}
    with host_with_queue(connection_string, tmp_path, **settings) as (host, jobs):
        jobs.send_message('{"job": "plain"}')
        host.wait_for("done", "plain")


def test_missing_queue_is_waited_for(connection_string: str, tmp_path: Path) -> None:
    environment = host_environment(connection_string)
    name = environment["JOBS_QUEUE"]
    with (
        started(environment, tmp_path) as host,
        QueueClient.from_connection_string(connection_string, name) as jobs,
    ):
        wait_until(lambda: f"{name} is not there yet" in host.log() or None, "it is logged")
        jobs.create_queue()
        jobs.send_message(encode({"job": "first"}))
        host.wait_for("done", "first")
        assert host.log().count(f"{name} is not there yet") == 1


def test_running_handler_ends_while_the_host_stops(connection_string: str, tmp_path: Path) -> None:
    settings = {"LOCAL_HOST_STOP_SECONDS": "60"}
    with host_with_queue(connection_string, tmp_path, **settings) as (host, jobs):
        jobs.send_message(encode({"job": "last", "until": "stopping"}))
        host.wait_for("job", "last")
        host.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "local_host.serving: stopping" in host.log(), "it stops")
        host.release("stopping")
        assert host.process.wait(90) == 0
        assert "function jobs succeeded" in host.log()
        assert is_empty(jobs)


def test_handler_that_does_not_end_is_stopped_and_its_message_given_back(
    connection_string: str, tmp_path: Path
) -> None:
    """Given back at once: the lease would hide the message for another hour."""
    settings = {"LOCAL_HOST_STOP_SECONDS": "0.5", "LOCAL_HOST_LEASE_SECONDS": "3600"}
    with host_with_queue(connection_string, tmp_path, **settings) as (host, jobs):
        jobs.send_message(encode({"job": "endless", "until": "never"}))
        host.wait_for("job", "endless")
        assert host.stop() == 0
        assert "function jobs was stopped" in host.log()
        again = wait_until(jobs.receive_message, "it is visible again")
        assert again.dequeue_count == 2


def test_storage_fault_is_logged_once_and_does_not_stop_the_listener(
    connection_string: str, tmp_path: Path
) -> None:
    refused = re.sub("(QueueEndpoint=)[^;]+", r"\1http://127.0.0.1:9/nobody", connection_string)
    with started(host_environment(refused), tmp_path) as host:
        wait_until(lambda: "cannot receive" in host.log() or None, "it is logged", 30)
        assert host.call("GET", "/echo").status == 200
        assert host.stop() == 0


def test_pauses_double_up_to_the_maximum() -> None:
    backoff = Backoff(2.0)
    pauses = [backoff.next_pause() for _ in range(12)]
    expected = [0.1, 0.2, 0.3, 0.5, 0.9, 1.7, 2.0, 2.0]
    assert pauses[0] == 0.1
    assert all(abs(got - want) <= 0.2 * want for got, want in zip(pauses, expected, strict=False))
    assert pauses[-5:] == [2.0] * 5
    backoff.reset()
    assert backoff.next_pause() == 0.1
    assert 0.18 <= backoff.next_pause() <= 0.22
    assert Backoff(0.1).next_pause() == 0.1
