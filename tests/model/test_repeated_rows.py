"""Rows that are sent again are decided by their digests as their rules would decide them."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from shared.auth.callers import Caller
from shared.auth.integrations import Integration
from shared.errors import ConflictError, NotBuiltError
from shared.imports.import_type import OnExisting
from shared.imports.persons import Identity, IdentityKind
from shared.imports.results import Outcome, RowResult
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_messages import ChunkMessage
from shared.storage.import_records import ImportRecord
from shared.storage.ports import Entity
from shared.storage.sealing import PLAIN_DIGESTS, RecordDigests
from tests.builders import Row, workers
from tests.model.harness import TENANT, CountedProcess

INTEGRATION = Integration(TENANT, "S", "S")
CALLER = Caller(TENANT, "S", "S", INTEGRATION)
STRICT_CALLER = Caller(TENANT, "S", "S", replace(INTEGRATION, on_existing=OnExisting.ERROR))
# What a row may say otherwise than before: valid, cleared, implausible, wrong, of another day.
CHANGES: list[Row] = [
    {"Title": "Dr"},
    {"Title": None},
    {"PrimaryEmailAddress": "no address"},
    {"Gender": "?"},
    {"DateOfBirth": "2026-01-02"},
    {"WorkerAddress": {"Country": "NL"}},
    {"UKPayrollDetails": {"PAYECode": "1257L"}},
    {"Unknown": 1},
]


class Gateway(CountedProcess):
    """A gateway whose imports are large enough for digests."""

    def __init__(self, digests: RecordDigests = PLAIN_DIGESTS) -> None:
        super().__init__(digests=digests)

    async def accept(self, text: str, caller: Caller = CALLER) -> ImportRecord:
        record = await self.process.intake.accept(WORKERS, caller, text.encode())
        assert record is not None
        return record

    async def import_text(self, text: str, caller: Caller = CALLER) -> list[RowResult]:
        record = await self.accept(text, caller)
        await self.process_all()
        return await self.results(record.number)

    async def results(self, number: int) -> list[RowResult]:
        record = await self.process.imports.read(TENANT, number)
        assert record is not None
        if record.type_name != WORKERS.name:  # an erasure has the hash of a name as its key
            return []
        return [row async for row in self.process.reporting.all_results(record)]

    @property
    def records(self) -> dict[tuple[str, str], Entity]:
        """The records, without their digests."""
        return {
            key: replace(
                entity,
                values={name: value for name, value in entity.values.items() if name != "Digest"},
                etag="",
            )
            for key, entity in self.tables.tables[WORKERS.table].items()
        }

    def spoil_documents(self, change: Callable[[dict[str, Any]], None] | None) -> None:
        """Make all stored documents unreadable, and change the record of the row in the middle."""
        entities = self.tables.tables[WORKERS.table]
        for key, entity in entities.items():
            if entity.row.startswith("r|"):
                values: dict[str, Any] = {**entity.values, "Document0": "{"}
                if change is not None and entity.row.endswith(MIDDLE):
                    change(values)
                entities[key] = replace(entity, values=values)


def written(rows: Sequence[Row], draw: random.Random) -> str:
    """A payload in one of the ways in which senders write JSON; some rows in a way of their own."""
    texts = [json.dumps(row) for row in rows]
    for at, row in enumerate(rows):
        if draw.random() < 0.05:
            texts[at] = draw.choice(
                [
                    json.dumps(row, separators=(",", ":")),
                    json.dumps({name.lower(): value for name, value in row.items()}),
                    json.dumps(dict(reversed(row.items()))),
                    json.dumps(row).replace("PersonnelRef", "Personnel\\u0052ef"),
                    json.dumps({"WorkerAddress": {"PersonnelRef": "W000001"}, **row}),
                    json.dumps({**row, "PersonnelRef": f" {row['PersonnelRef']} "}),
                ]
            )
    return f"[{','.join(texts)}]"


async def play(seed: int, digests: RecordDigests) -> tuple[list[list[RowResult]], Any]:
    """The results of imports, undos, retries and other events, and what is stored after them."""
    draw, gateway = random.Random(seed), Gateway(digests)
    process = gateway.process
    rows = [row | {"ExternalWorkerRef": f"Ü{at}"} for at, row in enumerate(workers(130, 2))]
    text = written(rows, draw)
    found: list[list[RowResult]] = []
    for _ in range(14):
        event = draw.random()
        newest = await process.imports.newest_number(TENANT)
        last = None if not newest else await process.imports.read(TENANT, newest)
        if event < 0.5 or last is None:
            if draw.random() < 0.4:
                for row in draw.sample(rows, draw.choice([1, 3, 60])):
                    row.update(draw.choice(CHANGES))
                text = written([*rows, *draw.sample(rows, draw.choice([0, 0, 2]))], draw)
            found.append(await gateway.import_text(text))
        elif event < 0.6:
            found.append(await gateway.import_text(text, STRICT_CALLER))
        elif event < 0.7:  # rows that send only some fields, and so leave the others as they are
            partial = [{**row, "Surname": None, "JobCategoryRef": "J"} for row in rows[:80]]
            for row in partial:
                del row["Surname"]
            for _ in range(2):
                found.append(await gateway.import_text(json.dumps(partial)))
        elif event < 0.8:
            with suppress(ConflictError, NotBuiltError):
                await process.undoing.undo(last)
                await gateway.process_all()
        elif event < 0.86:
            with suppress(ConflictError, NotBuiltError):
                await process.retrying.retry(last, b"")
                await gateway.process_all()
        elif event < 0.92:
            record = await gateway.accept(text)
            if draw.random() < 0.5:
                await process.cancelling.cancel(record)
            else:
                chunk = ChunkMessage(TENANT, record.number, record.import_id, 0)
                await process.chunks.end_as_failed(chunk)
            await gateway.process_all()
        else:
            person = Identity(IdentityKind.WORKER, (draw.choice(["E00", "E01"]), "W000001"))
            with suppress(ConflictError):
                erasure = await process.erasure.accept(TENANT, [person])
                chunk = ChunkMessage(TENANT, erasure.number, erasure.import_id, 0)
                await process.chunks.process(chunk)
    newest = await process.imports.newest_number(TENANT)
    found += [await gateway.results(number) for number in range(1, newest + 1)]
    return found, gateway.records


def test_digests_of_rows_change_no_outcome() -> None:
    """The same events with digests and without them."""
    outcomes: set[Outcome] = set()
    for seed in range(4):
        played = asyncio.run(play(seed, PLAIN_DIGESTS))
        assert played == asyncio.run(play(seed, RecordDigests(0, {}))), seed
        outcomes.update(row.outcome for results in played[0] for row in results)
    assert outcomes == {Outcome.NEW, Outcome.UPDATED, Outcome.UNCHANGED, Outcome.FAILED}


# Rows that send only some fields. The documents of their records are other ones, so a row that is
# read by its rules needs the stored document.
PARTIAL = [
    {"EmployerRef": row["EmployerRef"], "PersonnelRef": row["PersonnelRef"], "JobCategoryRef": "J"}
    for row in workers(60, 1)
]
MIDDLE = PARTIAL[30]["PersonnelRef"]


def failed_at_repeat(
    first: Sequence[Row] = PARTIAL,
    again: str = "",
    between: Callable[[dict[str, Any]], None] | None = None,
    callers: Sequence[Caller] = (CALLER, CALLER),
) -> list[int]:
    """The rows that are read by their rules when the same rows are sent again.

    They fail, since no stored document can be read any more. `between` changes the record of the
    row in the middle.
    """

    async def scenario() -> list[int]:
        gateway = Gateway()
        await gateway.import_text(json.dumps(workers(60, 1)))
        await gateway.import_text(json.dumps(first), callers[0])
        gateway.spoil_documents(between)
        results = await gateway.import_text(again or json.dumps(first), callers[1])
        assert {row.outcome for row in results} <= {Outcome.UNCHANGED, Outcome.FAILED}
        return sorted(row.index for row in results if row.outcome is Outcome.FAILED)

    return asyncio.run(scenario())


def test_a_row_that_is_sent_again_is_not_read() -> None:
    assert failed_at_repeat() == []


@pytest.mark.parametrize(
    "change",
    [
        {"JobCategoryRef": "K"},
        {"PrimaryEmailAddress": "no address"},
        {"Unknown": 1},
    ],
)
def test_a_changed_row_is_read_and_so_are_its_neighbours(change: Row) -> None:
    """The neighbours may be rows of the same record, as far as is known without reading them."""
    again = [row | change if row["PersonnelRef"] == MIDDLE else row for row in PARTIAL]
    assert failed_at_repeat(again=json.dumps(again)) == [29, 30, 31]


def test_the_same_row_in_another_form_is_read() -> None:
    texts = [json.dumps(row) for row in PARTIAL]
    texts[30] = texts[30].replace(": ", ":")
    assert failed_at_repeat(again=f"[{','.join(texts)}]") == [29, 30, 31]


@pytest.mark.parametrize("change", [{"PrimaryEmailAddress": "no address"}, {"Unknown": 1}])
def test_a_row_with_a_message_is_read_again(change: Row) -> None:
    first = [row | change if row["PersonnelRef"] == MIDDLE else row for row in PARTIAL]
    assert failed_at_repeat(first) == [29, 30, 31]


def test_two_rows_of_a_record_are_read() -> None:
    """In the import before, or in the one that repeats its rows."""
    twice = [*PARTIAL, PARTIAL[30]]
    assert failed_at_repeat(twice) == [29, 30, 31, 60]
    assert failed_at_repeat(again=json.dumps(twice)) == [30, 60]


def test_rows_are_read_where_existing_records_are_refused() -> None:
    assert len(failed_at_repeat(callers=(CALLER, STRICT_CALLER))) == len(PARTIAL)


def test_rows_of_small_imports_are_read() -> None:
    assert len(failed_at_repeat(PARTIAL[:40])) == 40


@pytest.mark.parametrize(
    "values",
    [
        {"Ended": '{"1":9001}'},
        {"Deleted": True},
        {"Number": 10**6},
        {"Number": 0},
        {"Number": "2"},
        {"Digest": b""},
        {"Digest": b"\0" * 44},
        {"Digest": "text"},
    ],
)
def test_a_record_that_was_ended_removed_or_spoilt_is_read(values: dict[str, Any]) -> None:
    read = failed_at_repeat(between=lambda stored: stored.update(values))
    assert [index for index in read if index != 30] == [29, 31]


def test_a_digest_of_a_document_alone_is_one_of_an_earlier_version() -> None:
    def cut(stored: dict[str, Any]) -> None:
        stored["Digest"] = stored["Digest"][:20]

    assert failed_at_repeat(between=cut) == [29, 30, 31]
