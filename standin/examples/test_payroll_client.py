"""The tests of the client: each breaks its calls in one way, as a network or a gateway may.

Each test runs twice: with the client as it is, and with one that makes a classic mistake. The
second run must fail (`xfail`), which shows that the test catches the mistake.
"""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import pytest
from careless_clients import (
    HurriesBusyGateway,
    KeepsTokenForEver,
    RepeatsRefusals,
    RepeatsWithoutKey,
    TakesAcceptedForDone,
    TakesSilenceForFailure,
)
from payroll_client import AccessDeniedError, ConnectionLostError, PayrollClient, RefusedError
from payroll_gateway_standin import TenantGateway

WORKERS = "/api/import/workers"
ADA = {"EmployerRef": "E1", "PersonnelRef": "1", "Surname": "Lovelace", "Forename1": "Ada"}
NO_NAME = {"EmployerRef": "E1", "PersonnelRef": "2"}


def with_mistake(
    careless: type[PayrollClient], raises: type[Exception] = AssertionError
) -> pytest.MarkDecorator:
    """Run a test with the client, and with one that must fail it."""
    fails = pytest.mark.xfail(strict=True, raises=raises, reason="the test catches this mistake")
    return pytest.mark.parametrize(
        "kind",
        [
            pytest.param(PayrollClient, id="PayrollClient"),
            pytest.param(careless, id=careless.__name__, marks=fails),
        ],
    )


@with_mistake(RepeatsWithoutKey)
def test_a_repeated_call_is_one_import(gateway: TenantGateway, kind: type[PayrollClient]) -> None:
    gateway.faults.add(WORKERS, lost_after=True, times=1)
    kind(gateway.environment).import_workers([ADA])
    first, second = gateway.requests(path=WORKERS)
    assert first.fault == {"id": gateway.faults.rules()[0]["id"], "lost": "after"}
    # Here both imports would end with the same record. Only the journal shows that a type whose
    # rows add up, or a report of what was imported, would count them twice.
    assert "idempotency-key" in first.headers
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert len(gateway.imports()) == 1


@with_mistake(TakesSilenceForFailure)
def test_work_whose_answer_was_lost_is_reported_as_done(
    gateway: TenantGateway, kind: type[PayrollClient]
) -> None:
    gateway.faults.add(WORKERS, lost_after=True, times=1)
    [result] = kind(gateway.environment).import_workers([ADA])
    [stored] = gateway.records("workers", PersonnelRef="1")
    assert stored["record"]["Surname"] == "Lovelace"
    assert result["importStatus"] == "OK"


@with_mistake(TakesAcceptedForDone)
def test_rows_that_fail_after_a_202_are_reported(
    gateway: TenantGateway, kind: type[PayrollClient]
) -> None:
    gateway.faults.add(WORKERS, accepted=True)
    results = kind(gateway.environment).import_workers([ADA, NO_NAME])
    assert [result["importStatus"] for result in results] == ["OK", "Error"]


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        ("database", "Pay and Bill Database not active"),
        ("integration", "Integration missing for Software Key or disabled"),
        ("keyName", "Key name does not match Software Key"),
    ],
)
@with_mistake(RepeatsRefusals, raises=ConnectionLostError)
def test_a_403_is_reported_with_its_cause_and_not_repeated(
    gateway: TenantGateway, kind: type[PayrollClient], cause: str, reason: str
) -> None:
    gateway.faults.add(WORKERS, status=403, cause=cause)
    with pytest.raises(AccessDeniedError, match=reason):
        kind(gateway.environment).import_workers([ADA])
    assert len(gateway.requests(path=WORKERS)) == 1


@pytest.mark.payroll_gateway_alone
@with_mistake(KeepsTokenForEver, raises=RefusedError)
def test_an_expired_token_is_renewed(gateway: TenantGateway, kind: type[PayrollClient]) -> None:
    client = kind(gateway.environment)
    client.import_workers([ADA])
    assert len(client.read_workers()) == 1
    # Longer than a token is valid; the client's own clock does not notice.
    gateway.clock.advance(2 * 3600)
    assert len(client.read_workers()) == 1


@with_mistake(HurriesBusyGateway)
def test_a_busy_gateway_is_given_the_time_it_asks_for(
    gateway: TenantGateway, kind: type[PayrollClient]
) -> None:
    gateway.faults.add(WORKERS, status=503, retry_after=1, times=2)
    [result] = kind(gateway.environment).import_workers([ADA])
    assert result["importStatus"] == "OK"
    times = [datetime.fromisoformat(request.at) for request in gateway.requests(path=WORKERS)]
    assert len(times) == 3
    assert all((later - earlier).total_seconds() >= 1 for earlier, later in pairwise(times))


def test_a_gateway_that_stays_away_is_an_error_and_no_success(gateway: TenantGateway) -> None:
    gateway.faults.add(WORKERS, status=503, retry_after=0)
    with pytest.raises(RefusedError, match="503"):
        PayrollClient(gateway.environment).import_workers([ADA])
    assert gateway.records("workers") == []
