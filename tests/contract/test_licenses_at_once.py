"""Calls at once: a natural key is never there twice, whoever comes first (docs/contracts.md#2)."""

from __future__ import annotations

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.contract.license_calls import a_license, counted, send, stored_licenses
from tests.e2e.gateway_process import GatewayProcess
from tests.tenants import Sender

pytestmark = pytest.mark.e2e
ACTIONS = ("Insert", "Merge", "Override", "Replace")


def _naturals(licenses: list[dict[str, Any]]) -> Counter[tuple[Any, ...]]:
    return Counter(
        (each.get("employeeNumber"), each.get("licenseTypeCode"), each.get("licenseNumber"))
        for each in licenses
    )


def test_no_two_licenses_with_one_natural_key_however_many_call_at_once(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    """Some calls leave the keys to the gateway, others bring some, always others."""
    calls = [
        [
            a_license(
                f"L{at}", str(at % 3), **({"licenseKey": str(uuid.uuid4())} if call % 2 else {})
            )
            for at in range(40)
        ]
        for call in range(6)
    ]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(partial(send, gateway, sender), calls))
    new, updated, errors = (sum(part) for part in zip(*map(counted, answers), strict=True))
    assert (new, new + updated + errors) == (40, 240)
    found = _naturals(stored_licenses(storage, sender))
    assert found == Counter({(str(at % 3), "RN", f"L{at}"): 1 for at in range(40)})


def test_a_license_that_is_moved_never_meets_another_of_its_natural_key(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    """Rows by key move licenses, by their number alone, to where another call makes them."""
    keys = [str(uuid.uuid4()) for _ in range(20)]
    here = [
        a_license(f"L{at}", "7", divisionCode="D1", licenseKey=key) for at, key in enumerate(keys)
    ]
    assert counted(send(gateway, sender, here)) == (20, 0, 0)
    move = [{"companyCode": "C1", "licenseKey": key, "employeeNumber": "8"} for key in keys]
    make = [a_license(f"L{at}", "8", divisionCode="D1") for at in range(20)]
    with ThreadPoolExecutor(2) as pool:
        moved, made = pool.map(
            lambda rows: send(gateway, sender, rows, "importAction=Merge"), (move, make)
        )
    assert (counted(moved), counted(made)) in (
        ((0, 20, 0), (0, 20, 0)),
        ((0, 0, 20), (20, 0, 0)),
    )
    assert max(_naturals(stored_licenses(storage, sender)).values()) == 1


def test_replace_and_others_at_once_leave_one_of_each(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    rows = [a_license(f"L{at}", str(at % 2)) for at in range(10)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda action: send(gateway, sender, rows, f"importAction={action}"), ACTIONS)
        )
    assert all(sum(counted(answer)) == 10 for answer in answers)
    assert sorted(_naturals(stored_licenses(storage, sender)).values()) == [1] * 10
