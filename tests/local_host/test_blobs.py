"""Blob triggers in a running host, and faulty answers of storage."""

from __future__ import annotations

import base64
import gzip
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.storage.blob import (
    BlobServiceClient,
    ContainerClient,
    ContentSettings,
    StandardBlobTier,
)
from azure.storage.queue import QueueClient

from tests.faults.proxy import CutAnswer, Fault, ReplaceBody, Rule, Service, running_proxy
from tests.local_host.running_host import RunningHost, encode, host_environment, started, wait_until

pytestmark = pytest.mark.integration


# Blob triggers in a running host.


@pytest.fixture(scope="module")
def container(
    connection_string: str, shared_environment: dict[str, str]
) -> Iterator[ContainerClient]:
    with BlobServiceClient.from_connection_string(connection_string) as service:
        yield service.create_container(shared_environment["DROP"])


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


def test_overwritten_blob_runs_again(host: RunningHost, container: ContainerClient) -> None:
    name = f"{container.container_name}/in/twice.bin"
    container.upload_blob("in/twice.bin", b"one")
    host.wait_for("blob", name)
    container.upload_blob("in/twice.bin", b"two", overwrite=True)
    assert [one["hex"] for one in host.wait_for("blob", name, count=2)] == ["6f6e65", "74776f"]


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


def test_blob_that_cannot_be_read_ends_in_poison(
    host: RunningHost, container: ContainerClient
) -> None:
    archive = StandardBlobTier.ARCHIVE
    container.upload_blob("in/archived.bin", b"cold", standard_blob_tier=archive)
    line = "in/archived.bin has failed too often"
    wait_until(lambda: line in host.log() or None, "it is logged")
    assert host.seen("blob", f"{container.container_name}/in/archived.bin") == []


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
