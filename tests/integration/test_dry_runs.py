"""I5: on an unchanged store with no open import a dry run answers what the run answers, and leaves
no trace: everything in the account is compared before and after.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import azure.functions as func
import pytest

from shared.errors import TooLargeError
from shared.gateway import Gateway
from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.import_type import OnExisting, ReferenceKind
from shared.imports.licenses.http import licenses_call
from shared.imports.pay_and_bill.http import import_call
from shared.imports.results import RowResult
from shared.imports.workers.definition import WORKERS
from shared.services.dry_run import DryRuns
from shared.services.row_processor import BeforeCommit, Processors
from shared.storage.import_records import ImportRecord
from shared.storage.names import FUNCTION_KEYS
from tests.builders import Row, a_worker, body_of
from tests.emulator import Emulator, Snapshot, snapshot
from tests.integration.harness import Harness, play
from tests.tenants import Sender, new_sender

pytestmark = pytest.mark.integration
ROUNDS = 9
ACTIONS = ("Insert", "Update", "Merge", "Override", "Replace")
Call = Callable[[Gateway, func.HttpRequest], Awaitable[func.HttpResponse]]


def _but_last_uses(found: Snapshot) -> Snapshot:
    """Without the table of keys, where every call notes the last use of its key."""
    return {name: content for name, content in found.items() if name != f"table {FUNCTION_KEYS}"}


def test_a_dry_run_answers_what_the_run_answers_and_leaves_no_trace(emulator: Emulator) -> None:
    # An account with little in it, since all of it is compared.
    storage = emulator.account("compared")

    async def scenario(stage: Harness) -> None:
        pick = random.Random(20_260_101)
        strict = await new_sender(stage.gateway, stage.sender.tenant, on_existing=OnExisting.ERROR)
        lists = stage.gateway.lists
        await lists.load(stage.sender.tenant, ReferenceKind.DEPARTMENT, ["D1", "D2"])
        kinds = ((_import_workers, _a_worker), (_import_assignments, _an_assignment))
        for number in range(ROUNDS):
            call, make = (*kinds, (licenses_call, _a_license))[number % 3]
            sender = strict if number % 5 == 4 else stage.sender
            body = body_of([make(pick) for _ in range(pick.choice([1, 7, 60, 140]))])
            query = {"importaction": pick.choice(ACTIONS)} if call is licenses_call else {}

            before = _but_last_uses(snapshot(storage))
            dry = await call(stage.gateway, _request(sender, body, dryrun="true", **query))
            assert _but_last_uses(snapshot(storage)) == before, f"round {number} left a trace"
            real = await _run(stage, call, _request(sender, body, **query))
            assert dry.status_code == 200
            assert dry.get_body() == _without_id(real), f"round {number}"

    play(storage, scenario, chunk_rows=50)


def test_a_reference_that_may_still_come_is_an_error_at_once(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        await stage.accept_quietly([a_worker("P1")])
        body = body_of([_an_assignment(random.Random(1)) | {"PersonnelRef": "P1"}])
        request = _request(stage.sender, body, dryrun="true", view="rows")
        answer = await import_call(stage.gateway, ASSIGNMENTS, request)
        assert b'"errorID":2001' in answer.get_body()
        await stage.gateway.sweep.run()
        await stage.drain()

    play(delivered, scenario, sweep_after_seconds=0)


def test_a_dry_run_that_takes_too_long_is_stopped(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        account, works = stage.gateway.account, Processors(Endless(), {}, Endless(), {})
        runs = DryRuns(
            tables=account.tables,
            blobs=account.blobs,
            make_processors=lambda _tables, _blobs, _noticed: works,
            max_rows=1,
            max_bytes=1_000,
            most_waiting=10,
            seconds=0.05,
        )
        with pytest.raises(TooLargeError, match="stopped"):
            await _judged(stage, runs)

    play(delivered, scenario)


def test_changes_that_no_answer_holds_are_refused(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        with pytest.raises(TooLargeError, match="view=rows"):
            await _judged(stage, stage.gateway.dry_runs)

    play(delivered, scenario, max_body_bytes=10)


async def _judged(stage: Harness, runs: DryRuns) -> None:
    kind, tenant, intake = WORKERS, stage.sender.tenant, stage.gateway.intake
    planned = await intake.read(kind, tenant, body_of([a_worker("P1")]))
    draft = intake.draft(kind, tenant, planned, stage.sender.caller.options)
    await runs.judge(kind, draft, planned, with_changes=True)


class Endless:
    """A `Work` that never gets anywhere."""

    async def run(
        self, record: ImportRecord, lines: bytes, before_commit: BeforeCommit
    ) -> list[RowResult]:
        await asyncio.Event().wait()
        return []

    async def end(self, record: ImportRecord, lines: bytes, code: int) -> list[RowResult]:
        return []

    def is_readable(self, index: int, row: Mapping[str, Any]) -> bool:
        return True


def test_dry_runs_of_one_process_do_not_meet(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        body = body_of([a_worker(f"P{number}", ExternalWorkerRef="X") for number in range(30)])
        answers = await asyncio.gather(
            *(
                import_call(stage.gateway, WORKERS, _request(stage.sender, body, dryrun="true"))
                for _ in range(5)
            )
        )
        assert len({answer.get_body() for answer in answers}) == 1
        assert b'"errorCount":1' not in answers[0].get_body()

    play(delivered, scenario)


async def _import_workers(gateway: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    return await import_call(gateway, WORKERS, req)


async def _import_assignments(gateway: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    return await import_call(gateway, ASSIGNMENTS, req)


async def _run(stage: Harness, call: Call, req: func.HttpRequest) -> func.HttpResponse:
    running = asyncio.ensure_future(call(stage.gateway, req))
    while not running.done():
        for message in await stage.messages():
            await stage.gateway.chunks.process(message)
    return await running


def _without_id(answer: func.HttpResponse) -> bytes:
    """Ids that a run makes are not foretold (docs/contracts.md#0)."""
    return answer.get_body().replace(answer.headers["X-Import-Id"].encode(), b"<empty>")


def _request(sender: Sender, body: bytes, **query: str) -> func.HttpRequest:
    headers = {name.lower(): value for name, value in sender.headers.items()}
    return func.HttpRequest("POST", "http://here/api", headers=headers, params=query, body=body)


def _a_worker(pick: random.Random) -> Any:
    """A worker of a few, in one of many ways right or wrong; now and then no key at all."""
    row: Row = a_worker(f"P{pick.randrange(40)}", EmployerRef=f"E{pick.randrange(3)}")
    row["Surname"] = pick.choice(["Sample", "Marsh", None, " "])
    changes: list[Row] = [
        {"Title": pick.choice(["Dr", "Mr"])},
        {"ExternalWorkerRef": f"X{pick.randrange(9)}"},
        {"DepartmentRef": pick.choice(["D1", "D2", "D3", None])},
        {"StartDate": pick.choice(["2024-01-31", "2024-02-30"])},
        {"PrimaryBankDetails": {"BankSortCode": pick.choice(["123456", "12"])}},
        {"UKPayrollDetails": {"PAYEMethod": pick.choice([1, None, "1"])}},
        {"employerref": 5},
        {"PersonnelRef": None},
        {"Nonsense": pick.random()},
        {"Gender": pick.choice([1, 2])},
    ]
    for change in pick.sample(changes, pick.randrange(4)):
        row |= change if "employerref" not in change else {"EmployerRef": 5}
    return row


def _an_assignment(pick: random.Random) -> Any:
    """An assignment of one of those workers, who may be missing."""
    return {
        "EmployerRef": f"E{pick.randrange(3)}",
        "AssignmentRef": f"A{pick.randrange(40)}",
        "ClientRef": "C1",
        "PersonnelRef": f"P{pick.randrange(50)}",
        "DivisionRef": "V1",
        "DepartmentRef": pick.choice(["D1", "D2", "D2", "D3"]),
        "StartDate": "2024-03-04",
        "ExpectedEndDate": None,
        "ActualEndDate": None,
        "Rates": pick.choice([[], [{"RateType": "Adhoc", "RateCode": "R1", "PayAmount": 10.5}]]),
    }


def _a_license(pick: random.Random) -> Any:
    """A license of a few employees of two companies, with or without its key."""
    row: Row = {
        "companyCode": f"C{pick.randrange(2)}",
        "employeeNumber": f"{pick.randrange(12)}",
        "licenseTypeCode": "RN",
        "licenseNumber": f"L{pick.randrange(4)}",
        "notes": pick.choice(["a", "b", None]),
    }
    content = pick.choice(["SGVsbG8=", "V29ybGQ=", "no base64"])
    changes: list[Row] = [
        {"licenseKey": str(uuid.UUID(int=pick.randrange(1, 20)))},
        {"documents": [{"name": "n", "content": content}]},
        {"documents": []},
        {"expirationDate": pick.choice(["2024-01-31", "2024-02-30"])},
        {"employeeNumber": None},
        {"companyCode": None},
    ]
    for change in pick.sample(changes, pick.randrange(3)):
        row |= change
    return row
