"""OAuth clients on real tables: unique ids, tenants of their own, refusals."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import pytest

from shared.auth.client_secrets import SecretChecker, matches
from shared.auth.clients import ClientLookups, Scope
from shared.auth.tenant_lookups import TenantLookups
from shared.bootstrap import open_gateway
from shared.clock import SystemClock
from shared.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    RefusedError,
    TokenRefusedError,
)
from shared.gateway import Gateway
from shared.services.admin.tokens import LocalTokenSource, TokenRequest, TokenRequests
from tests.emulator import settings_for
from tests.integration.counted_tables import CountedTables
from tests.tenants import new_tenant

pytestmark = pytest.mark.integration
INBOX = [Scope.IMPORT_INBOX]

Story = Callable[[Gateway], Awaitable[None]]


@pytest.fixture
def tell(connection_string: str) -> Callable[[Story], None]:
    """Run a story on the emulator."""

    async def told(story: Story) -> None:
        async with open_gateway(settings_for(connection_string)) as gateway:
            await story(gateway)

    return lambda story: asyncio.run(told(story))


Tell = Callable[[Story], None]


def test_an_id_is_unique_in_the_whole_gateway_until_it_is_revoked(tell: Tell) -> None:
    async def story(gateway: Gateway) -> None:
        one, other = [await new_tenant(gateway) for _ in range(2)]
        name = f"Söhne {uuid.uuid4()}"
        ended = await asyncio.gather(
            *(gateway.clients.add(tenant, name, INBOX) for tenant in (one, other)),
            return_exceptions=True,
        )
        [issued] = [each for each in ended if not isinstance(each, BaseException)]
        assert [type(each) for each in ended if each is not issued] == [ConflictError]
        with pytest.raises(ConflictError):
            await gateway.clients.add(one, f" {name} ", INBOX)
        await gateway.clients.revoke(name)
        again = await gateway.clients.add(other, name, INBOX)
        assert again.client.registration != issued.client.registration
        assert again.client_secret != issued.client_secret

    tell(story)


def test_a_secret_is_stored_as_a_slow_hash_and_shows_nowhere(tell: Tell) -> None:
    async def story(gateway: Gateway) -> None:
        issued = await gateway.clients.add(await new_tenant(gateway), "", INBOX)
        [stored] = await gateway.clients.list_clients(issued.client.tenant)
        assert stored == issued.client
        assert matches(stored.secret_hash, issued.client_secret)
        assert issued.client_secret not in repr(issued)
        assert stored.secret_hash not in repr(stored)

    tell(story)


def test_a_tenant_sees_and_revokes_its_own_clients_only(tell: Tell) -> None:
    async def story(gateway: Gateway) -> None:
        one, other = [await new_tenant(gateway) for _ in range(2)]
        client_id = str(uuid.uuid4())
        issued = await gateway.clients.register(one, client_id.upper(), "HR", INBOX)
        assert (issued.client.client_id, issued.client_secret) == (client_id, "")
        assert issued.client.is_entra_client
        assert await gateway.clients.list_clients(other) == []
        assert issued.client in await gateway.clients.list_clients()
        with pytest.raises(NotFoundError):
            await gateway.clients.revoke(client_id, other)
        assert await gateway.clients.revoke(client_id.upper(), one) == issued.client

    tell(story)


def test_what_cannot_be_done_is_refused(tell: Tell) -> None:
    async def story(gateway: Gateway) -> None:
        tenant, clients = await new_tenant(gateway), gateway.clients
        refused: list[tuple[Awaitable[object], type[RefusedError]]] = [
            (clients.add("nobody", "", INBOX), NotFoundError),
            (clients.add(tenant, " ", INBOX), InvalidRequestError),
            (clients.add(tenant, "two\nlines", INBOX), InvalidRequestError),
            (clients.add(tenant, "x" * 201, INBOX), InvalidRequestError),
            (clients.add(tenant, "", []), InvalidRequestError),
            (clients.register(tenant, "no-guid", "", INBOX), InvalidRequestError),
            (clients.revoke("nobody"), NotFoundError),
            (clients.list_clients("nobody"), NotFoundError),
        ]
        for asked, error in refused:
            with pytest.raises(error):
                await asked

    tell(story)


def test_a_wrong_secret_costs_the_same_whether_the_client_is_known_or_not(tell: Tell) -> None:
    """No refusal is answered from memory: only ids that somebody uses would be there."""

    async def story(gateway: Gateway) -> None:
        issued = await gateway.clients.add(await new_tenant(gateway), "", INBOX)
        known = issued.client.client_id
        tables = CountedTables(gateway.account.tables)
        checker = SecretChecker()
        source = LocalTokenSource(gateway.identity.local_tokens, checker)
        tenants = TenantLookups(tables, SystemClock(), 60)
        requests = TokenRequests(ClientLookups(tables, SystemClock(), 60), source, tenants)
        for client_id in (known, "nobody", known, "nobody"):
            before = tables.reads, tables.queries
            with pytest.raises(TokenRefusedError):
                await requests.grant(TokenRequest(client_id, "pigs_wrong", None))
            assert (tables.reads - before[0], tables.queries - before[1]) == (0, 1), client_id
        assert checker.computed == 0
        await requests.grant(TokenRequest(known, issued.client_secret, None))
        assert checker.computed == 1

    tell(story)
