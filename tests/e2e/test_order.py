"""Two gateways, one tenant, overlapping imports at once: the order of acceptance holds (I4)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.imports.import_type import Document, OnExisting
from shared.imports.json_rows import fold_names
from shared.imports.results import Outcome, RowResult
from shared.imports.workers.definition import WORKERS
from shared.storage.business_records import partition_of, row_of
from shared.storage.import_records import ImportRecord
from tests.builders import Row
from tests.e2e.bookkeeping import Books, check_counts
from tests.e2e.gateway_process import GatewayProcess, started
from tests.emulator import Emulator
from tests.tenants import Sender, a_sender

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]
CALLERS = 4
IMPORTS_EACH = 6
WORKERS_AT_ALL = 80
NEIGHBOURS = 40
SMALL_CHUNKS = {"GATEWAY_CHUNK_ROWS": "50"}
Key = tuple[str, str]


@dataclass(frozen=True)
class Caller:
    """Somebody who posts imports to either gateway, one after another."""

    seed: int
    gateways: Sequence[GatewayProcess]
    senders: Sequence[Sender]
    sent: dict[str, list[Row]] = field(default_factory=dict)
    answered: dict[str, list[str]] = field(default_factory=dict)

    def run(self) -> None:
        pick = random.Random(self.seed)
        for number in range(IMPORTS_EACH):
            rows = _some_rows(pick, f"{self.seed}.{number}")
            gateway, sender = pick.choice(self.gateways), pick.choice(self.senders)
            wish = {"Prefer": "respond-async"} if pick.random() < 0.6 else {}
            answer = gateway.post(sender, rows, **wish)
            assert answer.status in (200, 202), answer.body
            self.sent[answer.import_id] = rows
            if answer.status == 200:
                told = [result["importStatus"] for result in answer.results]
                self.answered[answer.import_id] = told


def _some_rows(pick: random.Random, label: str) -> list[Row]:
    """Rows on neighbouring workers of two employers, in any order, some of them wrong."""
    count = pick.choice([1, 3, 20, 120, 160])
    first = pick.randrange(WORKERS_AT_ALL)
    return [_some_row(pick, first, f"{label}.{position}") for position in range(count)]


def _some_row(pick: random.Random, first: int, label: str) -> Row:
    number = (first + pick.randrange(NEIGHBOURS)) % WORKERS_AT_ALL
    row: Row = {"EmployerRef": pick.choice(["E1", "E2"]), "PersonnelRef": f"P{number:02d}"}
    if pick.random() < 0.7:
        row["Surname"] = pick.choice(["Ada", "Bo"])
    if pick.random() < 0.4:
        row["Title"] = pick.choice(["Mr", None, label])
    if pick.random() < 0.3:
        row["UKPayrollDetails"] = {"PAYECode": label, "TaxRegime": pick.choice(["S", None])}
    if pick.random() < 0.2:
        row["ExternalWorkerRef"] = pick.choice(["X1", "X2", None])
    if pick.random() < 0.05:
        row["Gender"] = "not a number"
    if pick.random() < 0.02:
        del row["PersonnelRef"]
    return row


def test_what_is_stored_is_what_one_import_after_another_would_have_left(
    emulator: Emulator, tmp_path: Path
) -> None:
    storage = emulator.account("ordered")
    updates = a_sender(storage)
    inserts = a_sender(storage, updates.tenant, on_existing=OnExisting.ERROR)
    with (
        started(storage, tmp_path, **SMALL_CHUNKS) as one,
        started(storage, tmp_path, **SMALL_CHUNKS) as other,
    ):
        callers = [
            Caller(seed, (one, other), (updates, updates, inserts)) for seed in range(CALLERS)
        ]
        with ThreadPoolExecutor(CALLERS) as pool:
            for done in [pool.submit(caller.run) for caller in callers]:
                done.result()
        sent = {key: rows for caller in callers for key, rows in caller.sent.items()}
        for import_id in sent:
            one.ended(updates, import_id)
    answered = {key: told for caller in callers for key, told in caller.answered.items()}
    _judge(Books(storage), updates.tenant, sent, answered)


def _judge(
    books: Books, tenant: str, sent: dict[str, list[Row]], answered: dict[str, list[str]]
) -> None:
    records = books.imports(tenant)
    assert [record.number for record in records] == list(range(1, CALLERS * IMPORTS_EACH + 1))
    assert {record.import_id for record in records} == set(sent)
    documents: dict[Key, Document] = {}
    for record in records:
        results = books.results(record)
        check_counts(record, results)
        _follow(record, sent[record.import_id], results, documents)
        if record.import_id in answered:
            _check_answer(results, answered[record.import_id])
    expected = {
        (partition_of(tenant, group), row_of(reference)): document
        for (group, reference), document in documents.items()
    }
    assert books.workers(tenant) == expected, "I4: what is stored differs"
    assert books.open_imports(tenant) == 0


def _follow(
    record: ImportRecord,
    rows: Sequence[Row],
    results: dict[int, RowResult],
    documents: dict[Key, Document],
) -> None:
    """Apply an import's rows by the rules alone; each must have ended as it did in storage."""
    for index, row in enumerate(rows):
        key = WORKERS.rules.identify(fold_names(row))
        read = WORKERS.record_rules.read(index, row)
        stands = Outcome.FAILED
        if read.is_readable:
            assert key is not None
            place = (key.group, key.reference)
            decision = WORKERS.record_rules.decide(read, documents.get(place), record.options)
            stands = decision.outcome
            if stands.took_effect and decision.document is not None:
                documents[place] = decision.document
        told = results[index].outcome
        assert told is stands, f"I4: import {record.number} row {index}: {told}, not {stands}"


def _check_answer(results: dict[int, RowResult], told: list[str]) -> None:
    """The vendor's answer says Error where the stored result is a failure, row by row."""
    failed = [results[index].outcome is Outcome.FAILED for index in range(len(told))]
    assert [status == "Error" for status in told] == failed
