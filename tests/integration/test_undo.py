"""The undo of an import on real storage: what it puts back, and what it keeps."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cli.environment import ROOT
from shared.app import retention_of
from shared.errors import ConflictError, GoneError
from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.import_type import Document
from shared.imports.pay_and_bill.contract import PAY_AND_BILL
from shared.imports.registry import IMPORT_TYPES, TYPE_CATALOGUE
from shared.storage.business_records import partition_of, row_of
from shared.storage.import_records import ImportRecord
from shared.storage.ports import Entity, Merge, Value
from shared.storage.result_records import result_row
from tests.builders import a_worker, body_of
from tests.contract.test_pay_and_bill import an_assignment
from tests.integration.harness import Harness, play
from tests.integration.test_former_values import LaterClock, blobs_of
from tests.unit.imports.test_former_values import random_text

pytestmark = pytest.mark.integration


async def imported(stage: Harness, *rows: dict[str, Any]) -> ImportRecord:
    record = await stage.accept(list(rows))
    await stage.drain()
    return await stage.again(record)


async def undone(stage: Harness, parent: ImportRecord) -> ImportRecord:
    record = await stage.gateway.undoing.undo(await stage.again(parent))
    await stage.drain()
    return await stage.again(record)


async def document(stage: Harness, reference: str) -> Document | None:
    stored = await stage.stored(reference)
    return None if stored is None else stored.document


def test_created_records_go_changed_ones_come_back_and_an_undo_can_be_undone(
    delivered: str,
) -> None:
    async def scenario(stage: Harness) -> None:
        await imported(stage, a_worker("P1", Title="Mr"), a_worker("P3"))
        first = await document(stage, "P1")
        wrong = await imported(
            stage, a_worker("P1", Title="Dr"), a_worker("P2", Gender="x"), a_worker("P2")
        )
        second = await document(stage, "P1"), await document(stage, "P2")

        undo = await undone(stage, wrong)
        assert (undo.counts.updated, undo.counts.failed, undo.rows) == (2, 0, 2)
        assert await document(stage, "P1") == first
        assert await document(stage, "P2") is None

        again = await undone(stage, undo)
        assert (again.counts.updated, again.counts.new) == (1, 1)
        assert (await document(stage, "P1"), await document(stage, "P2")) == second
        with pytest.raises(ConflictError, match="has undone this import already"):
            await stage.gateway.undoing.undo(await stage.again(wrong))

    play(delivered, scenario)


def test_long_and_sensitive_values_come_back_as_they_were(delivered: str) -> None:
    secret = {
        "UKPayrollDetails": {"NINumber": "AB123456C"},
        "PrimaryBankDetails": {"BankSortCode": "010203", "BankAccountNumber": "12345678"},
    }

    async def scenario(stage: Harness) -> None:
        references = [f"P{at}" for at in range(6)]
        await imported(
            stage,
            *(
                a_worker(each, PersonnelNotes=random_text(20_000, at), **secret)
                for at, each in enumerate(references)
            ),
        )
        first = [await document(stage, each) for each in references]
        assert (first[0] or {}).keys() >= secret.keys()
        changed = {
            "PersonnelNotes": None,
            "UKPayrollDetails": {"NINumber": None},
            "PrimaryBankDetails": None,
        }
        wrong = await imported(stage, *(a_worker(each, **changed) for each in references))
        assert len(await blobs_of(stage, wrong)) == 1
        second = [await document(stage, each) for each in references]

        undo = await undone(stage, wrong)
        assert undo.counts.updated == len(references)
        back = [await document(stage, each) for each in references]
        assert list(map(_items, back)) == list(map(_items, first))
        await undone(stage, undo)
        assert [await document(stage, each) for each in references] == second

    play(delivered, scenario)


def _items(record: Document | None) -> list[tuple[str, Any]]:
    return list((record or {}).items())


def test_what_is_not_known_is_kept_and_told(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        await imported(stage, a_worker("P1"), a_worker("P2"), a_worker("P3"))
        changed = [a_worker(each, Title="Dr") for each in ("P1", "P2", "P3")]
        wrong = await imported(stage, *changed)
        tables = stage.gateway.account.tables
        partition = partition_of(stage.sender.tenant, "E1")
        kept: dict[str, dict[str, Value]] = {
            "P1": {"PreviousLost": True},
            "P2": {"PreviousNumber": -1, "Previous": ""},
        }
        for reference, values in kept.items():
            await tables.write("Workers", Merge(Entity(partition, row_of(reference), values)))
        before = [await stage.stored(each) for each in ("P1", "P2")]
        undo = await undone(stage, wrong)
        assert await stage.codes(undo) == [[1106], [1106], []]
        assert [await stage.stored(each) for each in ("P1", "P2")] == before

    play(delivered, scenario)


def test_rows_that_another_retry_has_put_back_are_unchanged(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        gateway = stage.gateway
        workers = await imported(stage, a_worker("P1"))
        body = body_of([an_assignment()])
        assignments = await gateway.intake.accept(ASSIGNMENTS, stage.sender.caller, body)
        assert assignments is not None
        await stage.drain()
        undo = await undone(stage, workers)
        assert await stage.codes(undo) == [[1105]]
        await undone(stage, assignments)
        retries = [await gateway.retrying.retry(undo, b"") for _ in range(2)]
        await stage.drain()
        assert [await stage.codes(each) for each in retries] == [[[]], [[1103]]]
        assert await document(stage, "P1") is None
        assert [each.undoes.number for each in retries] == [workers.number] * 2

    play(delivered, scenario)


def test_an_undo_of_which_results_are_missing_is_refused(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        parent = await imported(stage, a_worker("P1"))
        await stage.forget("ImportResults", parent.import_id, result_row(0))
        with pytest.raises(GoneError, match="would not be whole"):
            await undone(stage, parent)
        assert not (await stage.again(parent)).undone_by

    play(delivered, scenario)


def test_with_the_results_goes_what_is_known_of_an_undo(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        parent = await imported(stage, a_worker("P1"))
        other = await imported(stage, a_worker("P2"))
        await undone(stage, parent)
        await imported(stage, a_worker("P3"))
        retention = retention_of(stage.gateway, LaterClock())
        await retention.purge([stage.sender.tenant], timedelta(days=1))
        tables = stage.gateway.account.tables
        rows = await tables.query("Imports", stage.sender.tenant, "undone|", "undone|~")
        assert rows == []
        with pytest.raises(GoneError):
            await stage.gateway.undoing.undo(other)

    play(delivered, scenario)


def test_former_values_that_expire_while_the_undo_waits_are_not_used(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        await imported(stage, a_worker("P1", Title="Mr"))
        wrong = await imported(stage, a_worker("P1", Title="Dr"), a_worker("P2"))
        before = await document(stage, "P1")
        undo = await stage.gateway.undoing.undo(await stage.again(wrong))
        retention = retention_of(stage.gateway, LaterClock())
        await retention.purge([stage.sender.tenant], timedelta(days=1))
        await stage.drain()
        assert await stage.codes(undo) == [[1106], []]
        assert await document(stage, "P1") == before
        assert await document(stage, "P2") is None, "that needs no former values"

    play(delivered, scenario)


def test_records_of_every_type_that_others_refer_to_are_kept(delivered: str) -> None:
    """The samples are imported in the order of their references, and undone in the other order."""
    kinds = [kind for kind in TYPE_CATALOGUE.lowest.values() if kind.contract is PAY_AND_BILL]
    bodies = {
        kind.name: (ROOT / "samples" / f"{kind.name}.json").read_bytes()
        for kind in sorted(kinds, key=lambda kind: len(kind.references))
    }

    async def scenario(stage: Harness) -> None:
        gateway = stage.gateway
        records: list[ImportRecord] = []
        for name, body in bodies.items():
            kind = IMPORT_TYPES[name]
            accepted = await gateway.intake.accept(kind, stage.sender.caller, body)
            assert accepted is not None
            records.append(accepted)
            await stage.drain()
        referred = {name for kind in kinds for name in kind.waits_for}
        undos = [await undone(stage, each) for each in records]
        for undo in undos:
            codes = [code for row in await stage.codes(undo) for code in row]
            is_referred = undo.type_name in referred
            assert (1105 in codes) is is_referred, undo.type_name
            assert undo.counts.failed == len(codes)
        for undo in reversed(undos):
            if undo.counts.failed:
                retry = await gateway.retrying.retry(undo, b"")
                await stage.drain()
                assert (await stage.again(retry)).counts.failed == 0, undo.type_name
        for kind in kinds:
            tables = gateway.account.tables
            partition = partition_of(stage.sender.tenant, "NORTHWIND")
            stored = await tables.query(kind.table, partition, "r|", "r|~")
            assert stored
            assert all(entity.flag("Deleted") for entity in stored)

    play(delivered, scenario)
