"""allowSameFile=false: the same content goes in once, whatever the action (docs/contracts.md#2)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.bootstrap import open_gateway
from tests.builders import body_of
from tests.contract.license_calls import a_license, counted, send
from tests.contract.refusals import check_refusal
from tests.e2e.gateway_process import GatewayProcess
from tests.emulator import settings_for
from tests.tenants import Sender

pytestmark = pytest.mark.e2e
ONCE = "allowSameFile=false"
ROWS = [a_license("L1"), a_license("L2")]


def test_content_that_went_in_is_refused_and_named(gateway: GatewayProcess, sender: Sender) -> None:
    first = send(gateway, sender, ROWS, ONCE)
    assert counted(first) == (2, 0, 0)
    check_refusal(send(gateway, sender, ROWS, "ALLOWSAMEFILE=False"), 409, first.import_id)
    assert counted(send(gateway, sender, ROWS)) == (0, 2, 0)
    assert counted(send(gateway, sender, ROWS, "allowSameFile=true")) == (0, 2, 0)


def test_content_that_went_in_where_it_was_allowed_counts_too(
    gateway: GatewayProcess, sender: Sender
) -> None:
    first = send(gateway, sender, ROWS)
    check_refusal(send(gateway, sender, ROWS, ONCE), 409, first.import_id)


def test_content_that_ended_with_errors_may_come_again(
    gateway: GatewayProcess, sender: Sender
) -> None:
    assert counted(send(gateway, sender, ROWS, f"{ONCE}&importAction=Update")) == (0, 0, 2)
    assert counted(send(gateway, sender, ROWS, f"{ONCE}&importAction=Update")) == (0, 0, 2)
    good = send(gateway, sender, ROWS)
    check_refusal(send(gateway, sender, ROWS, f"{ONCE}&importAction=Update"), 409, good.import_id)


@pytest.mark.parametrize("action", ["Insert", "Update", "Merge", "Override", "Replace"])
def test_content_that_went_in_is_refused_whatever_the_action(
    gateway: GatewayProcess, sender: Sender, action: str
) -> None:
    first = send(gateway, sender, ROWS, "importAction=Merge")
    again = send(gateway, sender, ROWS, f"{ONCE}&importAction={action}")
    check_refusal(again, 409, first.import_id)
    foretold = send(gateway, sender, ROWS, f"{ONCE}&importAction={action}&dryRun=true")
    check_refusal(foretold, 409, first.import_id)


def test_the_hash_of_a_content_that_is_stored_cannot_be_computed_from_it(
    gateway: GatewayProcess, storage: str, sender: Sender
) -> None:
    send(gateway, sender, body_of(ROWS), ONCE)

    async def stored() -> list[str]:
        async with open_gateway(settings_for(storage)) as opened:
            found = await opened.account.tables.query("Imports", sender.tenant)
            return [f"{entity.row} {entity.values}" for entity in found]

    text = "\n".join(asyncio.run(stored()))
    assert "file|licenses|" in text
    assert hashlib.sha256(body_of(ROWS)).hexdigest() not in text


def test_other_bytes_or_another_tenant_are_another_content(
    gateway: GatewayProcess, sender: Sender, unused_senders: Iterator[Sender]
) -> None:
    send(gateway, sender, ROWS, ONCE)
    assert counted(send(gateway, sender, [*ROWS, a_license("L3")], ONCE)) == (1, 2, 0)
    assert counted(send(gateway, next(unused_senders), ROWS, ONCE)) == (2, 0, 0)


def test_what_is_refused_or_has_no_rows_was_not_imported(
    gateway: GatewayProcess, sender: Sender
) -> None:
    for _ in range(2):
        check_refusal(send(gateway, sender, b"[{", ONCE), 400)
        assert send(gateway, sender, [], ONCE).status == 200


def test_content_that_is_running_is_refused(gateway: GatewayProcess, sender: Sender) -> None:
    many = [a_license(f"L{number}", str(number)) for number in range(200)]
    first = send(gateway, sender, many, Prefer="respond-async")
    assert first.status == 202
    check_refusal(send(gateway, sender, many, ONCE), 409, first.import_id)
    gateway.ended(sender, first.import_id)


def test_of_many_calls_at_once_one_goes_in(gateway: GatewayProcess, sender: Sender) -> None:
    for turn in range(4):
        rows: list[dict[str, Any]] = [a_license(f"L{turn}")]
        with ThreadPoolExecutor(6) as pool:
            calls = [pool.submit(send, gateway, sender, rows, ONCE) for _ in range(6)]
            answers = [call.result() for call in calls]
        [accepted] = [answer for answer in answers if answer.status == 200]
        assert counted(accepted) == (1, 0, 0)
        for answer in answers:
            if answer is not accepted:
                check_refusal(answer, 409, accepted.import_id)
