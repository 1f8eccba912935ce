"""One gateway with small limits, and senders of every kind, for all tests of the contract.

It ends with the last of these tests: a gateway asks its queues for messages all the time, which
costs a sixth of a processor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from itertools import product

import pytest

from shared.auth.integrations import Database
from shared.imports.documents.rounds import RoundStatus
from shared.imports.placements.definition import PLACEMENTS
from shared.imports.timesheets.definition import TIMESHEETS
from tests.builders import a_worker
from tests.contract.calls import CLOSED, DRY_RUN_ROWS, MAX_BODY_BYTES, MAX_DOCUMENT_BYTES, MAX_ROWS
from tests.documents import ROUND, a_ready_sender
from tests.e2e.gateway_process import GatewayProcess, started
from tests.emulator import Emulator, open_ready_gateway, settings_for
from tests.tenants import Sender, new_sender

Kind = tuple[bool, bool, int]
"""Enabled, database active, database version."""

SETTINGS = {
    "GATEWAY_MAX_BODY_BYTES": str(MAX_BODY_BYTES),
    "GATEWAY_MAX_ROWS": str(MAX_ROWS),
    "GATEWAY_MAX_DOCUMENT_BYTES": str(MAX_DOCUMENT_BYTES),
    "GATEWAY_DRY_RUN_ROWS": str(DRY_RUN_ROWS),
    "GATEWAY_WAIT_SECONDS": "60",
    # Wrong credentials by the hundred, and dry runs, are what these tests are about.
    "GATEWAY_FAILURES_PER_CREDENTIAL": "1000000",
    "GATEWAY_FAILURES_PER_SOURCE": "1000000",
    "GATEWAY_AUTHDATA_TRIAL_CALLS": "1000000",
    # Of these types the tests send no more than 100 rows at once.
    **{
        f"AzureWebJobs.{name}_rows_bulk.Disabled": "true"
        for name in (TIMESHEETS.name, PLACEMENTS.name)
    },
}


@pytest.fixture(scope="package")
def storage(emulator: Emulator) -> str:
    return emulator.account("contract")


@pytest.fixture(scope="package")
def gateway(storage: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with started(storage, tmp_path_factory.mktemp("gateway"), **SETTINGS) as process:
        yield process


@pytest.fixture(scope="package")
def unused_senders(storage: str) -> Iterator[Sender]:
    """Integrations of new tenants without end, made many at a time because that is quicker."""

    async def create() -> list[Sender]:
        async with open_ready_gateway(settings_for(storage)) as opened:
            return await asyncio.gather(*(new_sender(opened) for _ in range(40)))

    def endless() -> Iterator[Sender]:
        while True:
            yield from asyncio.run(create())

    return endless()


@pytest.fixture
def sender(unused_senders: Iterator[Sender]) -> Sender:
    """An integration of a tenant of its own."""
    return next(unused_senders)


@pytest.fixture(scope="package")
def senders(storage: str) -> Mapping[Kind, Sender]:
    """An integration of each kind, in tenants of their own."""

    async def create() -> dict[Kind, Sender]:
        async with open_ready_gateway(settings_for(storage)) as opened:
            return {
                (enabled, active, version): await new_sender(
                    opened, enabled=enabled, database=Database(active, version)
                )
                for enabled, active, version in product((True, False), (True, False), (1, 0))
            }

    return asyncio.run(create())


@pytest.fixture(name="ready", scope="package")
def fixture_ready(gateway: GatewayProcess, storage: str) -> Sender:
    """An integration that may send documents, with the workers that they belong to."""
    rounds = (ROUND, RoundStatus.OPEN), ("run", RoundStatus.IN_PROGRESS)
    sender = a_ready_sender(storage, *rounds, (CLOSED, RoundStatus.CLOSED))
    people = [
        a_worker("P1", ExternalWorkerRef="hr-1"),
        a_worker("P2"),
        a_worker("P2", EmployerRef="E2"),
        a_worker("P3", ExternalWorkerRef="P2x"),
        a_worker("P2x"),
        a_worker("P4", ExternalWorkerRef="P4"),
    ]
    assert all(row["importStatus"] == "OK" for row in gateway.post(sender, people).results)
    return sender
