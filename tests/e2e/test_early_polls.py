"""The message by which a large call asks for an early poll: sent first, dropped by its trigger."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueServiceClient

from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_messages import ChunkMessage
from shared.services.early_polls import EARLY_POLL
from tests.builders import workers
from tests.e2e.gateway_process import GatewayProcess, started
from tests.emulator import Emulator
from tests.tenants import a_sender
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e
_BULK = WORKERS.bulk_queue


@pytest.fixture(scope="module")
def storage(emulator: Emulator) -> str:
    return emulator.account("early")


@pytest.fixture(scope="module")
def gateway(storage: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """The messages to the bulk queue of workers stay there."""
    disabled = {f"AzureWebJobs.{WORKERS.name}_rows_bulk.Disabled": "true"}
    with started(storage, tmp_path_factory.mktemp("early"), **disabled) as process:
        yield process


def test_a_large_call_sends_it_before_its_chunks_and_it_expires(
    gateway: GatewayProcess, storage: str
) -> None:
    rows = workers(300, PersonnelNotes="x" * 2_000)
    answer = gateway.post(a_sender(storage), rows, Prefer="respond-async")
    assert answer.status == 202
    with QueueServiceClient.from_connection_string(storage) as queues:
        first, *rest = queues.get_queue_client(_BULK).peek_messages(max_messages=32)
    assert base64.b64decode(first.content).decode() == EARLY_POLL
    assert first.expires_on
    assert first.inserted_on
    assert 0 < (first.expires_on - first.inserted_on).total_seconds() <= 60
    for each in rest:
        message = ChunkMessage.from_text(base64.b64decode(each.content))
        assert message.import_id == answer.import_id
    assert rest


def test_its_trigger_drops_it(gateway: GatewayProcess, storage: str) -> None:
    name = ASSIGNMENTS.bulk_queue
    with QueueServiceClient.from_connection_string(storage) as queues:
        queue = queues.get_queue_client(name)
        queue.send_message(base64.b64encode(EARLY_POLL.encode()).decode())
        wait_until(
            lambda: queue.get_queue_properties().approximate_message_count == 0,
            "the trigger to drop the message",
        )
        try:
            poisoned = queues.get_queue_client(f"{name}-poison").peek_messages()
        except ResourceNotFoundError:
            poisoned = []
    assert poisoned == []
    log = gateway.log()
    assert "message.unreadable" not in log
    assert "chunk.failed" not in log
