"""A tenant and a person can leave: what is exported, what is erased, and that nothing is left."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator

import pytest

from shared.app import tenant_erasure_of
from shared.errors import ConflictError, InvalidRequestError, NotFoundError
from tests.contract.conftest import SETTINGS
from tests.e2e.gateway_process import GatewayProcess, started
from tests.emulator import Emulator, open_ready_gateway, settings_for
from tests.marked import fill, places_of

pytestmark = pytest.mark.integration


@pytest.fixture(name="storage", scope="module")
def fixture_storage(emulator: Emulator) -> str:
    """An account with little in it, since all of it is searched."""
    return emulator.account("searched")


@pytest.fixture(name="gateway", scope="module")
def fixture_gateway(
    storage: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    with started(storage, tmp_path_factory.mktemp("gateway"), **SETTINGS) as process:
        yield process


def test_nothing_of_an_erased_tenant_is_left_but_its_audit_log(
    gateway: GatewayProcess, storage: str
) -> None:
    filled = fill(gateway, storage, uuid.uuid4().hex[:10])
    tenant = filled.sender.tenant
    before = places_of(storage, tenant, filled.person.mark, filled.other.mark)
    assert len(before) > 50

    async def erase(confirmation: str) -> dict[str, int]:
        async with open_ready_gateway(settings_for(storage, cache_seconds=0.1)) as opened:
            return dict(await tenant_erasure_of(opened).erase(tenant, confirmation))

    with pytest.raises(InvalidRequestError, match=f"--confirm {tenant}"):
        asyncio.run(erase("other"))
    assert places_of(storage, tenant, filled.person.mark) != []
    deleted = asyncio.run(erase(tenant))
    assert deleted["Workers"] > 150
    places = places_of(storage, tenant, filled.person.mark, filled.other.mark)
    assert {place.split()[0] for place in places} == {"Audit", "Tenants"}
    assert [place for place in places if place.startswith("Tenants")] == [
        f"Tenants erased {tenant}"
    ]
    assert asyncio.run(erase(tenant)) == {}
    assert gateway.get("/api/imports", filled.sender).status == 401


async def _create(storage: str, slug: str) -> None:
    async with open_ready_gateway(settings_for(storage)) as opened:
        await opened.tenants.create(f"Name {uuid.uuid4()}", slug)


def test_the_id_of_an_erased_tenant_is_never_given_again(storage: str) -> None:
    slug = f"t{uuid.uuid4().hex[:12]}"

    async def create_and_erase() -> None:
        async with open_ready_gateway(settings_for(storage, cache_seconds=0)) as opened:
            await opened.tenants.create(f"Name {slug}", slug)
            await tenant_erasure_of(opened).erase(slug, slug)
            with pytest.raises(ConflictError, match="choose another id"):
                await opened.tenants.create("New", slug)
            with pytest.raises(NotFoundError):
                await tenant_erasure_of(opened).erase(f"{slug}-2", f"{slug}-2")

    asyncio.run(create_and_erase())
