"""Answers of storage that are empty, cut or of another kind do not end the host or a listener."""

from __future__ import annotations

from pathlib import Path

import pytest
from azure.storage.blob import ContainerClient
from azure.storage.queue import QueueClient

from tests.faults.proxy import CutAnswer, Fault, ReplaceBody, Rule, Service, running_proxy
from tests.local_host.running_host import encode, host_environment, started, wait_until

pytestmark = pytest.mark.integration
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
