"""Once nothing fails any more, every staged batch is processed, whatever its caller gave up on."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from shared.bootstrap import open_gateway
from tests.emulator import settings_for
from tests.faults.judge import FindingKind, judge
from tests.faults.ledger import CallKind, Ledger, read_books
from tests.faults.proxy import Answer, Rule
from tests.faults.rig import Rig, running_rig
from tests.faults.workload import Caller, Tenant, Workload
from tests.tenants import new_sender
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]
SEED = 31
"""With it the caller stages twice, and gives up on the Process call when it is first refused."""
SECONDS = 60.0


def test_a_staged_batch_is_processed_once_storage_and_gateways_are_back(tmp_path: Path) -> None:
    asyncio.run(play(tmp_path))


async def play(folder: Path) -> None:
    async with running_rig(folder, SEED) as rig:
        async with open_gateway(settings_for(rig.storage)) as gateway:
            sender = await new_sender(gateway)
        load = Workload(SEED, [Tenant(sender, sender)], rig)
        for host in rig.hosts:
            # Storage lets no batch be closed.
            host.proxy.add(Rule(Answer(503), method="PUT", path="AuthStaging.*RowKey=.*batch"))
        async with aiohttp.ClientSession() as session:
            await Caller(load, session, random.Random(SEED)).send_batch(load.tenants[0])
        *staged, process = load.calls
        assert [call.kind for call in load.calls] == [CallKind.STAGE] * 2 + [CallKind.PROCESS]
        assert all(call.was_accepted for call in staged), staged
        assert process.was_refused, process

        # A batch that nobody has processed is not lost.
        findings = judge(await ledger_of(rig, load)).findings
        assert [finding.kind for finding in findings] == [FindingKind.STUCK], findings
        assert process.about in findings[0].text

        # The Process call is refused once more, and then there is no gateway for a while.
        replies = len(process.replies)
        finishing = asyncio.create_task(load.finish(SECONDS))

        async def is_refused_again() -> bool:
            return len(process.replies) > replies

        await until(is_refused_again, "another answer to the Process call")
        for host in rig.hosts:
            await rig.in_starter(host.end)
            host.proxy.clear()
        keeping = asyncio.create_task(rig.keep_running())
        try:
            await finishing
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
        assert process.was_accepted, process

        async def has_ended() -> Ledger | None:
            ledger = await ledger_of(rig, load)
            is_open = any(each.is_unfinished for each in ledger.books.values())
            return None if is_open else ledger

        ledger = await until(has_ended, "the end of the import")
        assert judge(ledger).findings == []


async def ledger_of(rig: Rig, load: Workload) -> Ledger:
    tenants = [tenant.id for tenant in load.tenants]
    return Ledger(load.calls, await asyncio.to_thread(read_books, rig.storage, tenants))
