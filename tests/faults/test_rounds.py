"""The checker finds what is wrong: each test breaks something in the ledger of a real round."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import pytest

from shared.imports.messages import Message
from shared.imports.results import Outcome
from tests.emulator import open_ready_gateway, settings_for
from tests.faults.bench import Tally, run_round
from tests.faults.judge import Finding, FindingKind, judge
from tests.faults.ledger import (
    BatchBook,
    CallKind,
    ImportBook,
    Ledger,
    Reply,
    SentCall,
    TenantBooks,
    read_books,
)
from tests.faults.proxy import Answer, Rule
from tests.faults.rig import Rig, running_rig
from tests.faults.weather import EVENTS, REQUEST_FAULTS
from tests.faults.workload import Caller, Tenant, Workload
from tests.tenants import new_sender
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]
LOST, DOUBLED, WRONG, STUCK = FindingKind
Breach = Callable[[Ledger], object]


def books_of(ledger: Ledger) -> Iterator[TenantBooks]:
    yield from ledger.books.values()


def imports_of(ledger: Ledger, type_name: str = "") -> Iterator[tuple[TenantBooks, ImportBook]]:
    """Imports that have ended, with the books they are in."""
    for books in books_of(ledger):
        for book in books.imports:
            if type_name in ("", book.record.type_name):
                yield books, book


def records_of(ledger: Ledger, name: str) -> dict[tuple[str, str], dict[str, object]]:
    """The stored records of some tenant that has two."""
    return next(b.records[name] for b in books_of(ledger) if len(b.records[name]) >= 2)


def lose_a_record(ledger: Ledger) -> None:
    records_of(ledger, "workers").popitem()


def lose_an_assignment(ledger: Ledger) -> None:
    records_of(ledger, "assignments").popitem()


def double_a_record(ledger: Ledger) -> None:
    records = records_of(ledger, "workers")
    (partition, row), document = next(iter(records.items()))
    records[partition, row + "x"] = document


def change_a_value(ledger: Ledger) -> None:
    records = records_of(ledger, "workers")
    key, document = next(iter(records.items()))
    records[key] = {**document, "Surname": "Somebody Else"}


def change_an_employee(ledger: Ledger) -> None:
    records = records_of(ledger, "authdata")
    key, document = next(iter(records.items()))
    records[key] = {**document, "employeeStatus": "Other"}


def take_a_lookup_away(ledger: Ledger) -> None:
    next(b.lookups["authdata"] for b in books_of(ledger) if b.lookups["authdata"]).pop()


def take_a_license_away(ledger: Ledger) -> None:
    licenses = next(b.licenses for b in books_of(ledger) if any(b.licenses.values()))
    next(each for each in licenses.values() if each).pop()


def store_a_license_twice(ledger: Ledger) -> None:
    """Under another key; it needs an employee, without whom two licenses may be alike."""
    of_company, license_ = next(
        (of_company, license_)
        for books in books_of(ledger)
        for of_company in books.licenses.values()
        for license_ in of_company
        if "employeeNumber" in license_.document
    )
    of_company.append(replace(license_, key="00000009-0000-4000-8000-000000000000"))


def give_a_license_to_another(ledger: Ledger) -> None:
    owners = next(b.owners for b in books_of(ledger) if b.owners)
    key = next(iter(owners))
    owners[key] = {"employeeNumber": "nobody"}


def lose_a_document(ledger: Ledger) -> None:
    next(b.documents for b in books_of(ledger) if b.documents).popitem()


def lose_the_file_of_a_document(ledger: Ledger) -> None:
    books = next(b for b in books_of(ledger) if b.documents)
    del books.files[next(iter(books.documents.values()))["importId"]]


def cut_a_file_short(ledger: Ledger) -> None:
    books = next(b for b in books_of(ledger) if b.documents)
    books.files[next(iter(books.documents.values()))["importId"]] = "another digest"


def swap_the_order(ledger: Ledger) -> None:
    """Two imports of one tenant that wrote one record change places."""
    for books in books_of(ledger):
        for first in books.imports:
            for second in books.imports:
                if first.record.number < second.record.number and _same_new_key(first, second):
                    one, other = first.record.number, second.record.number
                    first.record = replace(first.record, number=other)
                    second.record = replace(second.record, number=one)
                    books.imports.sort(key=lambda book: book.record.number)
                    return
    raise LookupError


def _same_new_key(first: ImportBook, second: ImportBook) -> bool:
    new = {row.key for row in first.results if row.outcome is Outcome.NEW}
    later = {row.key for row in second.results if row.outcome is Outcome.UPDATED}
    is_plain = first.record.type_name == second.record.type_name == "workers"
    return is_plain and bool(new & later)


def lose_an_import(ledger: Ledger) -> None:
    books, book = next(imports_of(ledger, "workers"))
    books.imports.remove(book)


def leave_an_import_open(ledger: Ledger) -> None:
    _, book = next(imports_of(ledger, "licenses"))
    book.record = replace(book.record, ended_at="")


def leave_an_import_listed_as_open(ledger: Ledger) -> None:
    books, book = next(imports_of(ledger))
    books.open_imports.append(book.record.import_id)


def accept_an_import_twice(ledger: Ledger) -> None:
    books, book = next(imports_of(ledger, "assignments"))
    number = len(books.imports) + 1
    again = replace(book.record, import_id="again", number=number)
    books.imports.append(ImportBook(again, book.rows, book.chunks))


def give_a_row_another_outcome(ledger: Ledger) -> None:
    _, book = next(
        (books, book)
        for books, book in imports_of(ledger, "workers")
        if any(row.outcome is Outcome.NEW for row in book.results)
    )
    rows = next(rows for rows in book.chunks.values() for row in rows if row.outcome is Outcome.NEW)
    at = next(at for at, row in enumerate(rows) if row.outcome is Outcome.NEW)
    rows[at] = replace(rows[at], outcome=Outcome.UNCHANGED)


def give_a_row_two_outcomes(ledger: Ledger) -> None:
    _, book = next(imports_of(ledger, "workers"))
    book.chunks[0].append(book.chunks[0][0])


def forget_an_outcome(ledger: Ledger) -> None:
    _, book = next(imports_of(ledger, "authdata"))
    book.chunks[0].pop()


def lose_the_result_of_a_chunk(ledger: Ledger) -> None:
    _, book = next(imports_of(ledger, "licenses"))
    book.chunks.popitem()


def count_wrongly(ledger: Ledger) -> None:
    _, book = next(imports_of(ledger, "workers"))
    counts = replace(book.record.counts, new=book.record.counts.new + 1)
    book.record = replace(book.record, counts=counts)


def fail_a_healthy_import(ledger: Ledger) -> None:
    """What the end of a later import once did to an earlier one: 9001 without a poisoned chunk."""
    _end_rows(ledger, 9001)


def cancel_what_was_not_cancelled(ledger: Ledger) -> None:
    _end_rows(ledger, 9002)


def _end_rows(ledger: Ledger, code: int) -> None:
    cancelled = {call.about for call in ledger.calls if call.kind is CallKind.CANCEL}
    _, book = next(
        (books, book)
        for books, book in imports_of(ledger, "workers")
        if book.record.import_id not in cancelled
        and (book.record.import_id, 0) not in ledger.poisoned
    )
    book.chunks[0] = [
        replace(row, outcome=Outcome.FAILED, messages=(Message(code),)) for row in book.chunks[0]
    ]


def put_an_import_with_another_tenant(ledger: Ledger) -> None:
    books, book = next(imports_of(ledger, "workers"))
    other = next(each for each in books_of(ledger) if each is not books)
    record = replace(book.record, number=len(other.imports) + 1, import_id="foreign")
    other.imports.append(ImportBook(record, book.rows, book.chunks))


def put_a_record_with_another_tenant(ledger: Ledger) -> None:
    one, other, *_ = books_of(ledger)
    key, document = next(iter(one.records["workers"].items()))
    other.records["workers"][key] = document


def refuse_what_was_accepted(ledger: Ledger) -> None:
    _settled(ledger).replies = [Reply(503, text="… and nothing was accepted: …")]


def answer_500_to_what_was_accepted(ledger: Ledger) -> None:
    _settled(ledger).replies = [Reply(500)]


def answer_with_another_import(ledger: Ledger) -> None:
    _settled(ledger).replies = [Reply(202, "an id that is none")]


def answer_rows_otherwise(ledger: Ledger) -> None:
    call = _settled(ledger)
    accepted = next(reply for reply in call.replies if reply.accepts)
    call.replies = [replace(accepted, statuses=("Error",) * len(call.rows))]


def leave_a_call_without_an_answer(ledger: Ledger) -> None:
    _settled(ledger).is_settled = False


def send_other_rows(ledger: Ledger) -> None:
    _settled(ledger).rows.pop()


def make_an_import_of_a_dry_run(ledger: Ledger) -> None:
    _settled(ledger).kind = CallKind.DRY_RUN


def _settled(ledger: Ledger) -> SentCall:
    """An accepted call of workers none of whose rows failed."""
    good = {
        book.record.import_id
        for _, book in imports_of(ledger, "workers")
        if not book.record.counts.failed
    }
    return next(
        call
        for call in ledger.calls
        if call.kind is CallKind.ROWS
        and any(reply.accepts and reply.import_id in good for reply in call.replies)
    )


def lose_staged_records(ledger: Ledger) -> None:
    call = next(
        call
        for call in ledger.calls
        if call.kind in (CallKind.STAGE, CallKind.STAGE_AND_PROCESS) and call.was_accepted
    )
    for book in ledger.books[call.tenant].imports:
        if book.record.batch == call.about and book.rows:
            first = next(at for at, row in book.rows.items() if row.get("employeeId") == call.mark)
            book.rows[first] = {**book.rows[first], "employeeId": "another"}


def leave_a_batch_staged(ledger: Ledger) -> None:
    _leave_a_batch(ledger, is_closed=False)


def leave_a_closed_batch_without_an_import(ledger: Ledger) -> None:
    _leave_a_batch(ledger, is_closed=True)


def _leave_a_batch(ledger: Ledger, *, is_closed: bool) -> None:
    tenant, batch = next(iter(ledger.books)), "a batch"
    ledger.books[tenant].batches[batch] = BatchBook([], is_closed)
    for kind, reply in ((CallKind.STAGE, Reply(200)), (CallKind.PROCESS, Reply(503))):
        call = SentCall("call-left", tenant, kind, "authdata", about=batch, is_settled=True)
        call.replies.append(reply)
        ledger.calls.append(call)


def refuse_records_that_are_staged(ledger: Ledger) -> None:
    tenant, batch = next(iter(ledger.books)), "a batch"
    ledger.books[tenant].batches[batch] = BatchBook([{"employeeId": "call-left"}], is_closed=False)
    call = SentCall("call-left", tenant, CallKind.STAGE, "authdata", about=batch, is_settled=True)
    call.replies.append(Reply(409))
    ledger.calls.append(call)


def leave_a_drop(ledger: Ledger) -> None:
    next(books_of(ledger)).drops.append("2026-01/S1/left.txt")


def take_the_results_of_dropped_rows_away(ledger: Ledger) -> None:
    books = next(each for each in books_of(ledger) if each.row_results)
    books.row_results.clear()


BREACHES: dict[Breach, FindingKind] = {
    lose_a_record: LOST,
    lose_an_assignment: LOST,
    double_a_record: WRONG,
    change_a_value: WRONG,
    change_an_employee: WRONG,
    take_a_lookup_away: WRONG,
    take_a_license_away: LOST,
    store_a_license_twice: DOUBLED,
    give_a_license_to_another: WRONG,
    lose_a_document: LOST,
    lose_the_file_of_a_document: LOST,
    cut_a_file_short: WRONG,
    swap_the_order: WRONG,
    lose_an_import: LOST,
    leave_an_import_open: STUCK,
    leave_an_import_listed_as_open: STUCK,
    accept_an_import_twice: DOUBLED,
    give_a_row_another_outcome: WRONG,
    give_a_row_two_outcomes: DOUBLED,
    forget_an_outcome: LOST,
    lose_the_result_of_a_chunk: LOST,
    count_wrongly: WRONG,
    fail_a_healthy_import: LOST,
    cancel_what_was_not_cancelled: LOST,
    put_an_import_with_another_tenant: WRONG,
    put_a_record_with_another_tenant: WRONG,
    refuse_what_was_accepted: WRONG,
    answer_500_to_what_was_accepted: WRONG,
    answer_with_another_import: LOST,
    answer_rows_otherwise: WRONG,
    leave_a_call_without_an_answer: STUCK,
    send_other_rows: WRONG,
    make_an_import_of_a_dry_run: WRONG,
    lose_staged_records: LOST,
    leave_a_batch_staged: STUCK,
    leave_a_closed_batch_without_an_import: STUCK,
    refuse_records_that_are_staged: WRONG,
    leave_a_drop: STUCK,
    take_the_results_of_dropped_rows_away: LOST,
}


@pytest.mark.parametrize(
    ("breach", "kind"), BREACHES.items(), ids=lambda each: getattr(each, "__name__", each)
)
def test_the_checker_finds_what_is_broken(played: Round, breach: Breach, kind: FindingKind) -> None:
    broken = copy.deepcopy(played.ledger)
    breach(broken)
    new_findings = set(judge(broken).findings) - set(played.findings)
    assert kind in {finding.kind for finding in new_findings}, new_findings


def test_the_checker_changes_nothing(played: Round) -> None:
    ledger = copy.deepcopy(played.ledger)
    assert judge(ledger).findings == played.findings
    assert ledger == played.ledger


# One short round of the bench, which the short form and the tests of the checker share.


SEED = 25
CALLS = 60


@dataclass(frozen=True)
class Round:
    """Its figures, and what they were made of."""

    tally: Tally
    ledger: Ledger
    findings: list[Finding]


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Round:
    """A round that has been played, with every kind of fault."""
    folder = tmp_path_factory.mktemp("faults")

    async def play() -> Round:
        async with running_rig(folder, SEED) as rig:
            tally, ledger = await run_round(rig, SEED, CALLS)
            return Round(tally, ledger, judge(ledger).findings)

    return asyncio.run(play())


# The short form of the fault bench: one round. The long form is `dev.py bench faults`.


def test_under_faults_nothing_is_lost_doubled_wrong_or_stuck(played: Round) -> None:
    tally = played.tally
    print(dict(tally.faults))
    assert tally.failures == []
    kinds = {name for name, times in tally.faults.items() if times}
    assert len(kinds & REQUEST_FAULTS.keys()) >= 8, "hardly any request failed"
    assert kinds & EVENTS.keys()
    assert tally.rows > 100


def test_most_of_what_was_sent_came_in_in_spite_of_the_faults(played: Round) -> None:
    """A gateway that refuses everything would have lost nothing either."""
    accepted = sum(call.was_accepted for call in played.ledger.calls)
    assert accepted > len(played.ledger.calls) / 2
    assert played.tally.rows_failed_too_often < played.tally.rows / 3


# Once nothing fails any more, every staged batch is processed, whatever its caller gave up on.


CALM_SEED = 31
"""With it the caller stages twice, and gives up on the Process call when it is first refused."""
SECONDS = 60.0


def test_a_staged_batch_is_processed_once_storage_and_gateways_are_back(tmp_path: Path) -> None:
    asyncio.run(play(tmp_path))


async def play(folder: Path) -> None:
    async with running_rig(folder, CALM_SEED) as rig:
        async with open_ready_gateway(settings_for(rig.storage)) as gateway:
            sender = await new_sender(gateway)
        load = Workload(CALM_SEED, [Tenant(sender, sender)], rig)
        for host in rig.hosts:
            # Storage lets no batch be closed.
            host.proxy.add(Rule(Answer(503), method="PUT", path="AuthStaging.*RowKey=.*batch"))
        async with aiohttp.ClientSession() as session:
            await Caller(load, session, random.Random(CALM_SEED)).send_batch(load.tenants[0])
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
