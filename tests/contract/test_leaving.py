"""A tenant and a person can leave: what is exported, what is erased, and that nothing is left."""

from __future__ import annotations

import asyncio
import json
import uuid

import pytest

from shared.app import tenant_erasure_of
from shared.bootstrap import open_gateway
from shared.errors import ConflictError, InvalidRequestError, NotFoundError
from shared.imports.persons import Identity, IdentityKind
from shared.services.persons.service import Erased
from tests.builders import a_worker
from tests.e2e.gateway_process import GatewayProcess
from tests.emulator import settings_for
from tests.marked import MarkedPerson, fill, places_of

pytestmark = pytest.mark.integration


def test_nothing_of_an_erased_tenant_is_left_but_its_audit_log(
    gateway: GatewayProcess, storage: str
) -> None:
    filled = fill(gateway, storage, uuid.uuid4().hex[:10])
    tenant = filled.sender.tenant
    before = places_of(storage, tenant, filled.person.mark, filled.other.mark)
    assert len(before) > 50

    async def erase(confirmation: str) -> dict[str, int]:
        async with open_gateway(settings_for(storage, cache_seconds=0.1)) as opened:
            return dict(await tenant_erasure_of(opened).erase(tenant, confirmation))

    with pytest.raises(InvalidRequestError, match=f"--confirm {tenant}"):
        asyncio.run(erase("other"))
    assert places_of(storage, tenant, filled.person.mark) != []
    deleted = asyncio.run(erase(tenant))
    assert deleted["Workers"] > 150
    left = places_of(storage, tenant, filled.person.mark, filled.other.mark)
    assert {place.split()[0] for place in left} == {"Audit", "Tenants"}
    assert [place for place in left if place.startswith("Tenants")] == [f"Tenants erased {tenant}"]
    assert asyncio.run(erase(tenant)) == {}
    assert gateway.get("/api/imports", filled.sender).status == 401


async def _create(storage: str, slug: str) -> None:
    async with open_gateway(settings_for(storage)) as opened:
        await opened.tenants.create(f"Name {uuid.uuid4()}", slug)


def test_the_id_of_an_erased_tenant_is_never_given_again(storage: str) -> None:
    slug = f"t{uuid.uuid4().hex[:12]}"

    async def create_and_erase() -> None:
        async with open_gateway(settings_for(storage, cache_seconds=0)) as opened:
            await opened.tenants.create(f"Name {slug}", slug)
            await tenant_erasure_of(opened).erase(slug, slug)
            with pytest.raises(ConflictError, match="choose another id"):
                await opened.tenants.create("New", slug)
            with pytest.raises(NotFoundError):
                await tenant_erasure_of(opened).erase(f"{slug}-2", f"{slug}-2")

    asyncio.run(create_and_erase())


def _identities(person: MarkedPerson) -> list[Identity]:
    return [
        Identity(IdentityKind.WORKER, ("E1", person.personnel)),
        Identity(IdentityKind.LICENSE_EMPLOYEE, ("C1", "", person.employee_number)),
        Identity(IdentityKind.AUTHDATA, (person.employee_id,)),
    ]


def test_nothing_of_an_erased_person_is_left_and_nothing_brings_the_person_back(
    gateway: GatewayProcess, storage: str
) -> None:
    filled = fill(gateway, storage, uuid.uuid4().hex[:10])
    sender, person = filled.sender, filled.person
    marks = (person.mark, person.license_key)
    assert len(places_of(storage, *marks)) > 30
    others = len(places_of(storage, filled.other.mark))

    async def erase() -> Erased:
        async with open_gateway(settings_for(storage)) as opened:
            return await opened.persons.erase(sender.tenant, _identities(person))

    erased = asyncio.run(erase())
    assert erased.report.unreadable == {}
    for area in ("workers", "assignments", "licenses", "documents", "authdata", "imports"):
        assert erased.report.found[area] > 0, area
    assert places_of(storage, *marks) == []
    assert len(places_of(storage, filled.other.mark)) > others - 5
    again = asyncio.run(erase())
    assert again.report.found == {}

    # A repeated call, a retry, and the answers of old imports.
    repeated = gateway.call(
        "POST",
        "/api/import/workers",
        json.dumps(filled.keyed_rows).encode(),
        {"Content-Type": "application/json", **sender.headers, "Idempotency-Key": filled.key},
    )
    assert repeated.status in (200, 410)
    retry = f"/api/imports/{filled.failed_import}/retry"
    retried = gateway.call("POST", retry, None, dict(sender.headers))
    assert retried.status == 409
    assert "9004" in retried.json["message"]
    for address in ("results", "answer", "failed-rows"):
        shown = gateway.get(f"/api/imports/{filled.failed_import}/{address}", sender)
        assert shown.status == 200, shown.body
        assert person.mark.encode() not in shown.body
    assert gateway.get("/api/changes", sender).status == 200
    undo = f"/api/imports/{filled.keyed_answer.import_id}/undo"
    undone = gateway.call("POST", undo, None, dict(sender.headers))
    assert undone.status == 200, undone.body
    assert places_of(storage, *marks) == []
    for import_id in (erased.import_id, again.import_id):
        shown = gateway.get(f"/api/imports/{import_id}", sender)
        assert shown.json["type"] == "person-erasure"
        undone = gateway.call("POST", f"/api/imports/{import_id}/undo", None, dict(sender.headers))
        assert undone.status == 501
        answer = gateway.get(f"/api/imports/{import_id}/answer", sender)
        assert answer.status in (404, 501), answer.body

    # The same references may be used again.
    hired = gateway.post(sender, [a_worker(person.personnel)])
    assert hired.results[0]["importStatus"] == "OK"
