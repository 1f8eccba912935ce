"""Broken documents, rounds, integrations, signing keys and rules: refused or passed over, alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from shared.auth.integrations import ANY
from shared.auth.local_tokens import KeyStore
from shared.clock import RandomIds, SystemClock
from shared.errors import ForbiddenError, UnreadableDataError
from shared.imports.documents.rounds import RoundStatus
from shared.imports.json_rows import line_of
from shared.imports.results import Outcome
from shared.storage.business_records import partition_of, row_of
from shared.storage.entities import encode
from shared.storage.import_records import record_row
from tests.documents import ROUND
from tests.integration.harness import (
    AuthdataHarness,
    Harness,
    an_employee,
    play,
    play_authdata,
    set_columns,
)
from tests.integration.test_documents import Desk, at_desk
from tests.tenants import new_sender

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    "columns", [{"Document0": "{"}, {"Document0": '{"documentId": "x"}'}, {"Number": "one"}]
)
def test_a_broken_document_is_left_out_and_told(delivered: str, columns: Mapping[str, Any]) -> None:
    async def scenario(desk: Desk) -> None:
        for name in ("a.pdf", "b.pdf"):
            await desk.accept(b"%PDF-1", name)
        await desk.gateway.sweep.run()
        reading = desk.gateway.documents.reading
        first, second = (await reading.page(desk.tenant, "", "", "", 10)).documents
        row = f"r|{first['documentId']}"
        await set_columns(delivered, "Documents", desk.tenant, row, columns)
        assert (await reading.page(desk.tenant, "", "", "", 10)).documents == (second,)
        assert (await reading.page(desk.tenant, "", ROUND, "", 10)).documents == (second,)
        with pytest.raises(UnreadableDataError):
            await reading.find(desk.tenant, first["documentId"])
        again = await desk.accept(b"%PDF-2", second["fileName"])
        await desk.gateway.sweep.run()
        assert await desk.outcome(again) is Outcome.UPDATED
        if "documentId" not in str(columns):
            broken = await desk.accept(b"%PDF-3", first["fileName"])
            await desk.gateway.sweep.run()
            assert await desk.outcome(broken) is Outcome.FAILED
        assert not await desk.gateway.imports.open_of(desk.tenant)

    at_desk(delivered, scenario, document_sweep_seconds=0)


@pytest.mark.parametrize("line", ["", line_of(0, "null").decode(), line_of(0, "{}").decode(), "x"])
def test_a_document_whose_row_is_broken_ends(delivered: str, line: str) -> None:
    async def scenario(desk: Desk) -> None:
        record = await desk.accept(b"%PDF-1")
        row = record_row(record.number)
        await set_columns(delivered, "Imports", desk.tenant, row, {"Lines0": line})
        await desk.gateway.sweep.run()
        assert await desk.outcome(record) is Outcome.FAILED
        assert not (await desk.stage.again(record)).is_open

    at_desk(delivered, scenario, document_sweep_seconds=0)


def test_a_document_finds_the_worker_whose_record_is_broken(delivered: str) -> None:
    async def scenario(desk: Desk) -> None:
        place = partition_of(desk.tenant, "E1"), row_of("P1")
        await set_columns(delivered, "Workers", *place, {"Document0": "{"})
        record = await desk.accept(b"%PDF-1", worker="P1")
        await desk.gateway.sweep.run()
        assert await desk.outcome(record) is Outcome.NEW

    at_desk(delivered, scenario, document_sweep_seconds=0)


def test_a_round_whose_status_is_broken_takes_no_documents(delivered: str) -> None:
    async def scenario(desk: Desk) -> None:
        rounds = desk.gateway.documents.rounds
        await rounds.add(desk.tenant, "other", RoundStatus.OPEN)
        place = encode(desk.tenant), encode(ROUND)
        await set_columns(delivered, "CommunicationRounds", *place, {"Status": "Ajar"})
        listed = {each.code: each.status for each in await rounds.list_rounds(desk.tenant)}
        assert listed == {ROUND: RoundStatus.CLOSED, "other": RoundStatus.OPEN}
        refused = await desk.accept(b"%PDF-1")
        await desk.gateway.sweep.run()
        assert await desk.outcome(refused) is Outcome.FAILED
        await rounds.change(desk.tenant, ROUND, RoundStatus.OPEN)
        taken = await desk.accept(b"%PDF-1")
        await desk.gateway.sweep.run()
        assert await desk.outcome(taken) is Outcome.NEW

    at_desk(delivered, scenario, document_sweep_seconds=0)


@pytest.mark.parametrize("columns", [{"onExisting": "perhaps"}, {"databaseVersion": "one"}])
def test_a_broken_integration_is_refused_listed_and_mended(
    delivered: str, columns: Mapping[str, Any]
) -> None:
    async def scenario(stage: Harness) -> None:
        gateway, sender = stage.gateway, stage.sender
        other = await new_sender(gateway, sender.tenant)
        key = sender.integration.software_key
        await set_columns(delivered, "Integrations", sender.tenant, encode(key), columns)
        headers = {name.lower(): value for name, value in sender.headers.items()}
        with pytest.raises(ForbiddenError, match="missing for Software Key or disabled"):
            await gateway.callers.authenticate(headers, ANY)
        listed = await gateway.tenants.list_integrations(sender.tenant)
        assert {each.software_key: each.enabled for each in listed} == {
            key: False,
            other.integration.software_key: True,
        }
        others = {name.lower(): value for name, value in other.headers.items()}
        assert (await gateway.callers.authenticate(others, ANY)).tenant == sender.tenant
        await gateway.tenants.change_integration(sender.tenant, key, lambda _: sender.integration)
        assert (await gateway.callers.authenticate(headers, ANY)).tenant == sender.tenant

    play(delivered, scenario, cache_seconds=0)


@pytest.mark.parametrize(
    "columns",
    [{"authdataFormats": "{"}, {"authdataFormats": "[]"}, {"thresholdAdded": "some"}],
)
def test_rules_that_cannot_be_read_refuse_the_call_until_they_are_set(
    delivered: str, columns: Mapping[str, Any]
) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        await set_columns(delivered, "Tenants", "tenants", stage.tenant, columns)
        with pytest.raises(UnreadableDataError):
            await stage.stage([an_employee("E1")])
        rules = stage.gateway.authdata.rules
        await rules.set_thresholds(stage.tenant, {"added": None})
        await rules.set_formats(stage.tenant, {})
        assert (await stage.imported([an_employee("E1")]))["totalErrors"] == 0

    play_authdata(delivered, scenario)


def test_one_broken_signing_key_leaves_the_others_and_a_broken_ring_is_replaced(
    delivered: str,
) -> None:
    async def scenario(stage: Harness) -> None:
        tables = stage.gateway.account.tables
        store = KeyStore(tables, SystemClock(), RandomIds(), 0)
        await store.signing()
        await store.rotate(at_once=False)
        entity = await tables.get("SigningKeys", "signing", "ring")
        assert entity is not None
        text = entity.text("keys")
        one = text.replace("BEGIN PRIVATE", "BEGUN PRIVATE", 1)
        await set_columns(delivered, "SigningKeys", "signing", "ring", {"keys": one})
        assert len(await store.published()) == 1
        await set_columns(delivered, "SigningKeys", "signing", "ring", {"keys": "[{"})
        with pytest.raises(UnreadableDataError):
            await store.signing()
        ring = await store.rotate(at_once=True)
        assert (await store.signing()).kid == ring.keys[0].kid

    play(delivered, scenario)
