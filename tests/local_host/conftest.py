"""A host with the sample app, started once for all tests here; its names are its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from azure.storage.queue import QueueClient

from tests.local_host.running_host import RunningHost, host_environment, started


@pytest.fixture(scope="session")
def shared_environment(connection_string: str) -> dict[str, str]:
    return host_environment(connection_string)


@pytest.fixture(scope="session")
def host(
    shared_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningHost]:
    with started(shared_environment, tmp_path_factory.mktemp("host")) as running_host:
        yield running_host


@pytest.fixture(scope="session")
def jobs_queue(connection_string: str, shared_environment: dict[str, str]) -> Iterator[QueueClient]:
    """The queue that the shared host listens to."""
    with QueueClient.from_connection_string(
        connection_string, shared_environment["JOBS_QUEUE"]
    ) as client:
        client.create_queue()
        yield client
