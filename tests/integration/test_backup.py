"""Backup and restore of a storage account, as docs/operate.md describes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from azure.data.tables import TableEntity, TableServiceClient
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from shared.services.status import ImportState
from shared.storage.import_records import ImportRecord
from tests.builders import a_full_worker, a_worker
from tests.emulator import Emulator
from tests.integration.harness import Harness, play
from tests.integration.manage import Manage
from tests.tenants import Sender

# What the host keeps for itself, and the code of the app.
_NOT_OF_A_BACKUP = frozenset({"azure-webjobs-hosts", "app-package"})


@dataclass(frozen=True)
class Backup:
    """All tables and containers of an account; no queue."""

    tables: dict[str, list[TableEntity]]
    blobs: dict[str, dict[str, tuple[bytes, dict[str, str]]]]


def back_up(storage: str) -> Backup:
    """Copy an account on which no import is processed."""
    with (
        TableServiceClient.from_connection_string(storage) as tables,
        BlobServiceClient.from_connection_string(storage) as blobs,
    ):
        copied_blobs: dict[str, dict[str, tuple[bytes, dict[str, str]]]] = {}
        for container in blobs.list_containers():
            if container.name in _NOT_OF_A_BACKUP:
                continue
            client = blobs.get_container_client(container.name)
            copied_blobs[container.name] = {
                blob.name: (client.download_blob(blob.name).readall(), blob.metadata or {})
                for blob in client.list_blobs(include=["metadata"])
            }
        return Backup(
            {
                table.name: list(tables.get_table_client(table.name).list_entities())
                for table in tables.list_tables()
            },
            copied_blobs,
        )


def lose(storage: str) -> None:
    """Delete all that the account has."""
    with TableServiceClient.from_connection_string(storage) as tables:
        for table in tables.list_tables():
            tables.delete_table(table.name)
    with BlobServiceClient.from_connection_string(storage) as blobs:
        for container in blobs.list_containers():
            blobs.delete_container(container.name)
    with QueueServiceClient.from_connection_string(storage) as queues:
        for queue in queues.list_queues():
            queues.get_queue_client(queue.name).clear_messages()


def restore(storage: str, backup: Backup) -> None:
    """Write a copy into an empty account."""
    with TableServiceClient.from_connection_string(storage) as tables:
        for name, entities in backup.tables.items():
            table = tables.create_table(name)
            for entity in entities:
                table.create_entity(entity)
    with BlobServiceClient.from_connection_string(storage) as blobs:
        for name, content in backup.blobs.items():
            container = blobs.create_container(name)
            for blob, (data, metadata) in content.items():
                container.upload_blob(blob, data, metadata=metadata)


def test_what_was_lost_is_there_again_after_a_restore(emulator: Emulator, tmp_path: Path) -> None:
    """A record with sealed fields, its import with its results, an open import, and the keys."""
    storage = emulator.account("backup")
    worker = a_full_worker(1, "E1")
    senders: list[Sender] = []
    imports: list[ImportRecord] = []
    documents: list[object] = []

    async def before(harness: Harness) -> None:
        done = await harness.accept([worker, a_worker("P2", Gender="x")])
        await harness.drain()
        still_open = await harness.accept([a_worker("P3")])
        stored = await harness.stored(worker["PersonnelRef"])
        assert stored is not None
        documents.append(stored.document)
        senders.append(harness.sender)
        imports.extend((done, still_open))

    async def after(harness: Harness) -> None:
        gateway, tenant = harness.gateway, senders[0].tenant
        original = Harness(gateway, harness.pump, tenant, senders[0])
        stored = await original.stored(worker["PersonnelRef"])
        assert stored is not None
        assert stored.document == documents[0]
        done, still_open = imports
        report = await gateway.reporting.find(tenant, done.import_id)
        assert (report.counts.new, report.counts.failed) == (1, 1)
        assert len(await original.results(done)) == 2
        await gateway.sweep.run()
        await original.drain()
        report = await gateway.reporting.find(tenant, still_open.import_id)
        assert report.state is ImportState.COMPLETED
        assert await original.stored("P3") is not None

    play(storage, before)
    backup = back_up(storage)
    lose(storage)
    restore(storage, backup)
    manage = Manage(storage, tmp_path)
    headers = {name.lower(): value for name, value in senders[0].headers.items()}
    assert manage.authenticate(headers).tenant == senders[0].tenant
    for words in (("data-key", "list"), ("records", "check")):
        ran = manage.run(*words)
        assert (ran.returncode, ran.stderr) == (0, ""), words
    play(storage, after, sweep_after_seconds=0)
