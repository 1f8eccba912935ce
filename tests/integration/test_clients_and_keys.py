"""OAuth clients on real tables: unique ids, tenants of their own, refusals."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from shared.auth.bearer import BearerAuthenticator
from shared.auth.clients import (
    Client,
    ClientLookups,
    Scope,
    SecretChecker,
    client_from_entity,
    client_to_entity,
    matches,
    use_of_secret,
)
from shared.auth.local_tokens import (
    LEAD_SECONDS,
    MOST_KEYS,
    OVERLAP_SECONDS,
    PARTITION,
    ROW,
    KeyStore,
    LocalTokens,
    TokenTerms,
    ring_from_entity,
)
from shared.auth.lookups import TenantLookups
from shared.auth.stored_keys import LastUses, StoredKey
from shared.clock import RandomIds, SystemClock, to_iso
from shared.errors import (
    ConflictError,
    ExpiredTokenError,
    InvalidRequestError,
    NotFoundError,
    PreconditionFailedError,
    RefusedError,
    TokenRefusedError,
)
from shared.gateway import Gateway
from shared.identity import Identity
from shared.services.admin.clients import ClientService
from shared.services.admin.tokens import (
    IssuedToken,
    LocalTokenSource,
    TokenRequest,
    TokenRequests,
)
from shared.storage.account import Account
from shared.storage.names import CLIENTS, SIGNING_KEYS
from shared.storage.ports import Delete, Entity
from tests.emulator import Emulator, open_ready_gateway, settings_for
from tests.integration.harness import CountedTables
from tests.tenants import new_tenant

pytestmark = pytest.mark.integration
INBOX = [Scope.IMPORT_INBOX]
TERMS = TokenTerms("https://gateway.test", "audience", 3_600)

GatewayScenario = Callable[[Gateway], Awaitable[None]]


@pytest.fixture
def run_on_gateway(connection_string: str) -> Callable[[GatewayScenario], None]:
    """Run a story on the emulator."""

    async def run_story(story: GatewayScenario) -> None:
        async with open_ready_gateway(settings_for(connection_string)) as gateway:
            await story(gateway)

    return lambda story: asyncio.run(run_story(story))


RunOnGateway = Callable[[GatewayScenario], None]


def test_an_id_is_unique_in_the_whole_gateway_until_it_is_revoked(
    run_on_gateway: RunOnGateway,
) -> None:
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

    run_on_gateway(story)


def test_a_secret_is_stored_as_a_slow_hash_and_shows_nowhere(run_on_gateway: RunOnGateway) -> None:
    async def story(gateway: Gateway) -> None:
        issued = await gateway.clients.add(await new_tenant(gateway), "", INBOX)
        [stored] = await gateway.clients.list_clients(issued.client.tenant)
        assert stored == issued.client
        assert matches(stored.secrets[0].hash, issued.client_secret)
        assert issued.client_secret not in repr(issued)
        assert stored.secrets[0].hash not in repr(stored)

    run_on_gateway(story)


def test_a_tenant_sees_and_revokes_its_own_clients_only(run_on_gateway: RunOnGateway) -> None:
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

    run_on_gateway(story)


def test_what_cannot_be_done_is_refused(run_on_gateway: RunOnGateway) -> None:
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
        for request, error in refused:
            with pytest.raises(error):
                await request

    run_on_gateway(story)


def test_a_wrong_secret_costs_the_same_whether_the_client_is_known_or_not(
    run_on_gateway: RunOnGateway,
) -> None:
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

    run_on_gateway(story)


def test_two_secrets_give_tokens_until_one_is_revoked_or_expires(
    run_on_gateway: RunOnGateway,
) -> None:
    async def story(gateway: Gateway) -> None:
        tables, clock, ids = gateway.account.tables, HandClock(), RandomIds()
        clients = ClientService(tables, gateway.tenants, clock, ids)
        tokens = LocalTokens(KeyStore(tables, clock, ids, 0), clock, ids, TERMS)
        uses = LastUses(clock)

        def note(client: Client, secret: StoredKey) -> None:
            uses.note(secret, lambda at: tables.write(CLIENTS, use_of_secret(client, secret, at)))

        source = LocalTokenSource(tokens, SecretChecker(), clock, note)
        lookups = ClientLookups(tables, clock, 0)
        requests = TokenRequests(lookups, source, TenantLookups(tables, clock, 0))
        bearers = BearerAuthenticator(tokens, lookups, clock)

        async def token(secret: str) -> IssuedToken:
            return await requests.grant(TokenRequest(client_id, secret, None))

        async def refused(token: IssuedToken) -> None:
            with pytest.raises(ExpiredTokenError, match="was revoked, or has expired"):
                await bearers.authenticate(f"Bearer {token.access_token}")

        first = await clients.add(await new_tenant(gateway), "", INBOX)
        client_id = first.client.client_id
        expires = clock.now() + timedelta(seconds=600)
        second = await clients.add_secret(client_id, expires=expires)
        with pytest.raises(ConflictError, match="2 valid secrets already"):
            await clients.add_secret(client_id)
        old, new = await token(first.client_secret), await token(second.client_secret)
        assert (old.expires_in, new.expires_in) == (3_600, 600), "no token outlives its secret"
        for each in (old, new):
            caller = await bearers.authenticate(f"Bearer {each.access_token}")
            assert caller.client_id == client_id
        await uses.written()
        found = await clients.find(client_id)
        assert [secret.used_at for secret in found.secrets] == [to_iso(clock.now())] * 2
        assert found.last_used_at == to_iso(clock.now())
        # A scope that is taken away is refused in the tokens of before.
        await clients.change_scopes(client_id, [Scope.READ_RECORDS])
        caller = await bearers.authenticate(f"Bearer {old.access_token}")
        assert caller.scopes == frozenset()
        assert await clients.change_scopes(client_id, INBOX) == (found, True)

        clock.seconds += 599
        await bearers.authenticate(f"Bearer {new.access_token}")
        clock.seconds += 1
        await refused(new)
        with pytest.raises(TokenRefusedError, match="has expired"):
            await token(second.client_secret)
        one = first.client.secrets[0].id
        with pytest.raises(ConflictError, match="add a new secret first"):
            await clients.revoke_secret(client_id, one)
        third = await clients.add_secret(client_id)
        await clients.revoke_secret(client_id, one)
        await refused(old)
        with pytest.raises(TokenRefusedError):
            await token(first.client_secret)
        await token(third.client_secret)
        # A client and a token of an earlier version.
        entity = client_to_entity(third.client)
        columns = {name: value for name, value in entity.values.items() if name != "secrets"}
        legacy = client_from_entity(Entity(entity.partition, entity.row, columns))
        assert [each.hash for each in legacy.secrets] == [third.client.secrets[0].hash]
        plain = await tokens.issue(third.client, INBOX)
        assert (await bearers.authenticate(f"Bearer {plain}")).client_id == client_id

    run_on_gateway(story)


def test_the_last_call_of_a_client_of_entra_is_stored_and_shown(
    run_on_gateway: RunOnGateway,
) -> None:
    async def story(gateway: Gateway) -> None:
        tables, clock = gateway.account.tables, HandClock()
        uses, tenants = LastUses(clock), TenantLookups(tables, clock, 0)
        identity = Identity(gateway.settings, tables, clock, RandomIds(), tenants, uses)
        tenant = await new_tenant(gateway)
        issued = await gateway.clients.register(tenant, str(uuid.uuid4()), "HR", INBOX)
        token = await identity.local_tokens.issue(issued.client, INBOX)

        async def last_use() -> str:
            await identity.authenticate(f"Bearer {token}")
            await uses.written()
            [shown] = await gateway.clients.list_clients(tenant)
            return shown.last_used_at

        first = await last_use()
        assert first == to_iso(clock.now())
        clock.seconds += 1_800
        assert await last_use() == first, "written once an hour"
        clock.seconds += 1_800
        changed, _ = await gateway.clients.change_scopes(issued.client.client_id, list(Scope))
        assert changed.used_at == first, "a change keeps it"
        assert await last_use() == to_iso(clock.now())

    run_on_gateway(story)


def test_a_signing_key_of_tokens_lies_in_storage_only_sealed(run_on_gateway: RunOnGateway) -> None:
    async def story(gateway: Gateway) -> None:
        store = KeyStore(gateway.account.tables, HandClock(), RandomIds(), 0)
        key = await store.signing()
        sealed = await gateway.account.unsealed_tables.get(SIGNING_KEYS, PARTITION, ROW)
        opened = await gateway.account.tables.get(SIGNING_KEYS, PARTITION, ROW)
        assert sealed is not None
        assert opened is not None
        assert "PRIVATE KEY" in opened.text("keys")
        assert key.kid in opened.text("keys")
        assert "keys" in sealed.values
        assert "PRIVATE" not in repr(dict(sealed.values))
        assert key.kid not in repr(dict(sealed.values))

    run_on_gateway(story)


# The ring of signing keys on real tables: made once, rotated with overlap, or at once.


class HandClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def elapsed(self) -> float:
        return self.seconds


class House:
    """Two gateway processes and an administrator on the same storage, under one clock."""

    def __init__(self, account: Account) -> None:
        self.tables = account.tables
        self.clock = HandClock()
        self.one, self.other = (KeyStore(self.tables, self.clock, RandomIds(), 3) for _ in range(2))
        self.admin = KeyStore(self.tables, self.clock, RandomIds(), 0)

    async def kids(self, store: KeyStore) -> list[str]:
        return [key.kid for key in await store.published()]


KeysScenario = Callable[[House], Awaitable[None]]
RunWithKeys = Callable[[KeysScenario], None]


@pytest.fixture
def run_with_keys(emulator: Emulator) -> RunWithKeys:
    """Run a story on an account of its own, without keys at first."""

    storage = settings_for(emulator.account("keys")).storage

    async def run_story(story: KeysScenario) -> None:
        account = Account(storage)
        try:
            with suppress(PreconditionFailedError):
                await account.tables.write(SIGNING_KEYS, Delete(Entity(PARTITION, ROW, {})))
            await story(House(account))
        finally:
            await account.close()

    return lambda story: asyncio.run(run_story(story))


def test_processes_that_start_at_once_agree_on_the_first_key(run_with_keys: RunWithKeys) -> None:
    async def story(house: House) -> None:
        stores = [KeyStore(house.tables, house.clock, RandomIds(), 3) for _ in range(8)]
        keys = await asyncio.gather(*(store.signing() for store in stores))
        assert len({key.kid for key in keys}) == 1
        assert await house.kids(house.one) == [keys[0].kid]

    run_with_keys(story)


def test_a_new_key_is_published_before_it_signs_and_the_old_one_goes_on(
    run_with_keys: RunWithKeys,
) -> None:
    async def story(house: House) -> None:
        old = await house.one.signing()
        ring = await house.admin.rotate(at_once=False)
        new = ring.keys[0].kid
        house.clock.seconds += 3
        assert await house.kids(house.one) == [new, old.kid]
        assert (await house.one.signing()).kid == old.kid
        house.clock.seconds += LEAD_SECONDS
        assert (await house.one.signing()).kid == new
        assert await house.other.find(old.kid) is not None
        house.clock.seconds += OVERLAP_SECONDS
        assert await house.kids(house.one) == [new]
        assert await house.one.find(old.kid) is None

    run_with_keys(story)


def test_a_key_that_another_process_has_just_made_is_found_at_once(
    run_with_keys: RunWithKeys,
) -> None:
    async def story(house: House) -> None:
        await house.one.signing()
        new = (await house.admin.rotate(at_once=False)).keys[0].kid
        assert await house.one.find(new) is not None
        assert await house.one.find("made-up") is None

    run_with_keys(story)


def test_rotation_at_once_forgets_every_older_key(run_with_keys: RunWithKeys) -> None:
    async def story(house: House) -> None:
        old = await house.one.signing()
        new = (await house.admin.rotate(at_once=True)).keys[0]
        assert (await house.other.signing()).kid == new.kid
        house.clock.seconds += 3
        assert await house.one.find(old.kid) is None
        assert (await house.one.signing()).kid == new.kid

    run_with_keys(story)


def test_rotations_at_the_same_time_are_all_kept(run_with_keys: RunWithKeys) -> None:
    async def story(house: House) -> None:
        await asyncio.gather(house.one.rotate(at_once=False), house.other.rotate(at_once=False))
        assert len(await house.kids(house.admin)) == 3

    run_with_keys(story)


def test_the_ring_does_not_grow_without_end(run_with_keys: RunWithKeys) -> None:
    async def story(house: House) -> None:
        for _ in range(MOST_KEYS - 1):
            await house.admin.rotate(at_once=False)
        with pytest.raises(ConflictError, match="--at-once"):
            await house.admin.rotate(at_once=False)
        house.clock.seconds += LEAD_SECONDS + OVERLAP_SECONDS + 1
        await house.admin.rotate(at_once=False)
        assert len(await house.kids(house.admin)) == 2

    run_with_keys(story)


def test_no_private_key_shows_in_a_repr_or_in_what_is_published(run_with_keys: RunWithKeys) -> None:
    async def story(house: House) -> None:
        key = await house.one.signing()
        entity = await house.tables.get(SIGNING_KEYS, PARTITION, ROW)
        assert entity is not None
        assert "PRIVATE KEY" in entity.text("keys")
        assert "private" not in repr(key).lower()
        assert "private" not in repr(ring_from_entity(entity)).lower()
        assert set(key.jwk) == {"kty", "use", "alg", "kid", "crv", "x", "y"}

    run_with_keys(story)
