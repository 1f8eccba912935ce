"""Tenants, integrations and keys on real tables: what is stored, who is let in, and when."""

from __future__ import annotations

import asyncio
import logging
import unicodedata
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from azure.data.tables import TableServiceClient as PlainTables

from shared.auth.callers import Callers, KeyPairAuthenticator, TokenCaller
from shared.auth.integrations import (
    ANY,
    Database,
    FunctionKey,
    Integration,
    hash_function_key,
    key_to_entity,
)
from shared.auth.lookups import MOST_MISSING, TenantLookups
from shared.auth.stored_keys import LastUses
from shared.budgets import FailureThrottle
from shared.clock import SystemClock, to_iso
from shared.errors import (
    BearerTokenError,
    ConflictError,
    ExpiredKeyError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    RefusedError,
    UnauthenticatedError,
)
from shared.imports.documents.rounds import Feature, Features
from shared.imports.import_type import OnExisting
from shared.services.admin.tenants import IssuedKey, Tenant, TenantService
from shared.storage.account import Account
from shared.storage.names import FUNCTION_KEYS, INTEGRATIONS, TENANTS
from shared.storage.ports import Delete, Insert
from shared.storage_account import StorageAccount
from tests.integration.harness import CountedTables

pytestmark = pytest.mark.integration
CACHE_SECONDS = 3.0
IN_FORCE_SECONDS = 5.0


class HandClock(SystemClock):
    """Begins at the real time of day; a test moves the seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = super().now()

    def now(self) -> datetime:
        return self._began + timedelta(seconds=self.seconds)

    def elapsed(self) -> float:
        return self.seconds


class NoTokens:
    """Knows no token."""

    async def authenticate(self, authorization: str) -> TokenCaller:
        raise BearerTokenError("No token is known here.")


class House:
    """A service and a gateway's authenticator on the same storage, under one clock."""

    def __init__(self, tables: CountedTables) -> None:
        self.tables = tables
        self.clock = HandClock()
        self.service = TenantService(tables, self.clock)
        self.authenticator = KeyPairAuthenticator(tables, self.clock, CACHE_SECONDS)

    def callers(self) -> Callers:
        """All that decides about a call, tokens left aside."""
        failures = FailureThrottle(self.clock, 10**6, 10**6, is_forwarded=False)
        tenants = TenantLookups(self.tables, self.clock, CACHE_SECONDS)
        return Callers(self.authenticator, NoTokens(), tenants, failures)

    async def integration(self, software_key: str = "PAY ROLL") -> IssuedKey:
        tenant = await self.service.create(f"Tenant {uuid.uuid4()}")
        return await self.service.add_integration(Integration(tenant.id, software_key, ""))

    async def refusal(self, headers: dict[str, str]) -> RefusedError:
        with pytest.raises(RefusedError) as caught:
            await self.authenticator.authenticate(headers)
        return caught.value


def headers_of(issued: IssuedKey, software_key: str | None = None) -> dict[str, str]:
    return {
        "x-functions-key": issued.function_key,
        "x-software-key": software_key or issued.integration.software_key,
    }


Story = Callable[[House], Awaitable[None]]


@pytest.fixture
def tell(connection_string: str) -> Callable[[Story], None]:
    """Run a story on the emulator."""

    async def run_story(story: Story) -> None:
        account = Account(StorageAccount(connection_string=connection_string))
        try:
            await story(House(CountedTables(account.tables)))
        finally:
            await account.close()

    return lambda story: asyncio.run(run_story(story))


Tell = Callable[[Story], None]


def test_a_name_that_a_tenant_has_is_refused_unless_that_is_asked_for(tell: Tell) -> None:
    async def story(house: House) -> None:
        name = f"Łódź Büro {uuid.uuid4().hex}"
        first = await house.service.create(name)
        decomposed = unicodedata.normalize("NFD", name)
        for again in (name, f"  {name} ", name.upper(), name.replace(" ", "  "), decomposed):
            with pytest.raises(ConflictError, match=rf"{first.id}.*--allow-same-name"):
                await house.service.create(again)
            with pytest.raises(ConflictError, match=first.id):
                await house.service.create(again, f"t-{uuid.uuid4().hex}")
        second = await house.service.create(f" {name} ", allows_same_name=True)
        assert second.id == f"{first.id[:38]}-2"
        assert first.id.startswith("lodz-")
        assert [tenant.name for tenant in (first, second)] == [name, name]
        named = [each for each in await house.service.list_tenants() if each.name == name]
        assert {each.id for each in named} == {first.id, second.id}

    tell(story)


def test_different_names_with_one_slug_get_numbered_ids(tell: Tell) -> None:
    async def story(house: House) -> None:
        word = uuid.uuid4().hex
        both = [await house.service.create(f"{word} {mark}") for mark in ("!", "?")]
        assert [tenant.id for tenant in both] == [word, f"{word}-2"]

    tell(story)


def test_creating_the_same_tenant_at_once_makes_one(tell: Tell) -> None:
    async def story(house: House) -> None:
        name = f"Race {uuid.uuid4()}"
        ended = await asyncio.gather(
            *(house.service.create(name) for _ in range(5)), return_exceptions=True
        )
        (created,) = [one for one in ended if isinstance(one, Tenant)]
        assert [type(one) for one in ended if one is not created] == [ConflictError] * 4
        assert await house.service.find(name) == created

    tell(story)


def test_a_renamed_tenant_keeps_its_id_and_is_found_by_its_new_name_alone(tell: Tell) -> None:
    async def story(house: House) -> None:
        old, new, other = (f"{word} {uuid.uuid4()}" for word in ("Old", "Ünew", "Other"))
        tenant = await house.service.create(old)
        await house.service.create(other)
        renamed, is_new = await house.service.rename(old, f" {new} ")
        assert (renamed, is_new) == (replace(tenant, name=new), True)
        assert await house.service.find(new) == renamed
        with pytest.raises(NotFoundError):
            await house.service.find(old)
        assert await house.service.rename(tenant.id, new) == (renamed, False)
        assert (await house.service.rename(new, new.upper()))[0].name == new.upper()
        with pytest.raises(ConflictError, match="--allow-same-name"):
            await house.service.rename(tenant.id, other.lower())
        same, _ = await house.service.rename(tenant.id, other, allows_same_name=True)
        assert (same.id, same.name) == (tenant.id, other)
        for wrong in ("", "two\nlines", "x" * 201):
            with pytest.raises(InvalidRequestError):
                await house.service.rename(tenant.id, wrong)
        with pytest.raises(NotFoundError):
            await house.service.rename(old, new)

    tell(story)


def test_renaming_keeps_what_else_the_record_of_the_tenant_says(tell: Tell) -> None:
    async def story(house: House) -> None:
        tenant = await house.service.create(f"Rules {uuid.uuid4()}")
        await Features(house.tables).switch(tenant.id, Feature.DOCUMENTS, True)
        await house.service.switch(tenant.id, is_enabled=False)
        await house.service.rename(tenant.id, f"Renamed {uuid.uuid4()}")
        assert await Features(house.tables).is_enabled(tenant.id, Feature.DOCUMENTS)
        assert not (await house.service.find(tenant.id)).is_enabled

    tell(story)


def test_a_disabled_tenant_is_refused_within_five_seconds_and_enabled_again(tell: Tell) -> None:
    async def story(house: House) -> None:
        issued, other = await house.integration(), await house.integration()
        tenant = issued.integration.tenant
        callers = house.callers()
        await callers.authenticate(headers_of(issued), ANY)
        disabled, is_new = await house.service.switch(tenant, is_enabled=False)
        assert (disabled.is_enabled, is_new) == (False, True)
        assert (await house.service.switch(tenant, is_enabled=False))[1] is False
        house.clock.seconds += IN_FORCE_SECONDS
        for authenticate in (callers.authenticate, callers.authenticate_any):
            with pytest.raises(ForbiddenError, match=f"{tenant} is disabled"):
                await authenticate(headers_of(issued), ANY)
        await callers.authenticate(headers_of(other), ANY)
        wrong = {**headers_of(issued), "x-functions-key": "pig_guess"}
        with pytest.raises(UnauthenticatedError):
            await callers.authenticate(wrong, ANY)
        await house.service.switch(tenant, is_enabled=True)
        house.clock.seconds += IN_FORCE_SECONDS
        await callers.authenticate(headers_of(issued), ANY)

    tell(story)


def test_a_tenant_is_found_by_id_and_by_a_name_that_only_it_has(tell: Tell) -> None:
    async def story(house: House) -> None:
        name = f"Büro {uuid.uuid4()}"
        tenant = await house.service.create(name)
        assert await house.service.find(tenant.id) == tenant
        assert await house.service.find(name) == tenant
        await house.service.create(name, allows_same_name=True)
        with pytest.raises(ConflictError, match=tenant.id):
            await house.service.find(name)
        with pytest.raises(NotFoundError):
            await house.service.find("nobody/at all")

    tell(story)


def test_a_chosen_id_is_taken_as_it_is_or_not_at_all(tell: Tell) -> None:
    async def story(house: House) -> None:
        slug = f"t-{uuid.uuid4().hex}"
        name = f"Any {slug}"
        assert (await house.service.create(name, slug)).id == slug
        with pytest.raises(ConflictError):
            await house.service.create(name, slug, allows_same_name=True)
        with pytest.raises(InvalidRequestError):
            await house.service.create("Any", "Not A Slug")

    tell(story)


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "two\nlines"])
def test_names_that_nobody_could_read_are_refused(tell: Tell, name: str) -> None:
    async def story(house: House) -> None:
        with pytest.raises(InvalidRequestError):
            await house.service.create(name)

    tell(story)


def test_software_keys_are_unique_in_a_tenant_and_free_in_another(tell: Tell) -> None:
    async def story(house: House) -> None:
        first = await house.integration("PAY ROLL")
        with pytest.raises(ConflictError):
            await house.service.add_integration(
                replace(first.integration, software_key="PAY ROLL ")
            )
        second = await house.integration("PAY ROLL")
        callers = [
            await house.authenticator.authenticate(headers_of(issued)) for issued in (first, second)
        ]
        assert [caller.tenant for caller in callers] == [
            first.integration.tenant,
            second.integration.tenant,
        ]

    tell(story)


def test_adding_the_same_integration_at_once_lets_one_in(tell: Tell) -> None:
    async def story(house: House) -> None:
        tenant = await house.service.create(f"Race {uuid.uuid4()}")
        draft = Integration(tenant.id, "SOFT", "")
        ended = await asyncio.gather(
            *(house.service.add_integration(draft) for _ in range(5)), return_exceptions=True
        )
        (issued,) = [one for one in ended if isinstance(one, IssuedKey)]
        assert [type(one) for one in ended if one is not issued] == [ConflictError] * 4
        await house.authenticator.authenticate(headers_of(issued))

    tell(story)


def test_what_an_integration_says_reaches_the_caller(tell: Tell) -> None:
    async def story(house: House) -> None:
        tenant = await house.service.create(f"Told {uuid.uuid4()}")
        draft = Integration(
            tenant.id,
            "SOFT",
            "Soft Pay",
            on_existing=OnExisting.ERROR,
            database=Database(active=False, version=3),
        )
        issued = await house.service.add_integration(draft)
        caller = await house.authenticator.authenticate(headers_of(issued))
        assert replace(caller.integration, keys=()) == draft
        assert await house.service.list_integrations(tenant.id) == [issued.integration]

    tell(story)


def test_refusals_come_in_their_order_each_with_its_own_words(tell: Tell) -> None:
    async def story(house: House) -> None:
        issued = await house.integration()
        tenant, key = issued.integration.tenant, issued.integration.software_key
        missing = await house.refusal({"x-software-key": key})
        unknown = await house.refusal({"x-functions-key": "guess", "x-software-key": "OTHER"})
        assert isinstance(missing, UnauthenticatedError)
        assert isinstance(unknown, UnauthenticatedError)
        assert missing.message != unknown.message
        await house.service.change_integration(
            tenant, key, lambda integration: replace(integration, enabled=False)
        )
        other = await house.refusal(headers_of(issued, "OTHER"))
        disabled = await house.refusal(headers_of(issued))
        unnamed = await house.refusal({"x-functions-key": issued.function_key})
        assert all(isinstance(error, ForbiddenError) for error in (other, disabled, unnamed))
        assert other.message == "Key name does not match Software Key"
        assert disabled.message == "Integration missing for Software Key or disabled"
        assert unnamed.message == disabled.message

    tell(story)


def test_a_key_whose_integration_is_gone_is_told_so(tell: Tell) -> None:
    async def story(house: House) -> None:
        key = FunctionKey(hash_function_key(f"lost-{uuid.uuid4()}"), "nobody", "SOFT")
        await house.tables.write(FUNCTION_KEYS, Insert(key_to_entity(key)))
        issued = await house.integration("SOFT")
        stored = await house.tables.query(INTEGRATIONS, issued.integration.tenant)
        await house.tables.write(INTEGRATIONS, Delete(stored[0]))
        error = await house.refusal(headers_of(issued))
        assert error.message == "Integration missing for Software Key or disabled"

    tell(story)


def test_authorization_is_passed_over_beside_a_key_pair_and_named_without_one(tell: Tell) -> None:
    async def story(house: House) -> None:
        issued = await house.integration()
        for authorization in ("Bearer abc", "Basic YTpi", "Negotiate abc", ""):
            headers = {**headers_of(issued), "authorization": authorization}
            caller = await house.authenticator.authenticate(headers)
            assert caller.tenant == issued.integration.tenant
            error = await house.refusal({"authorization": authorization})
            assert isinstance(error, UnauthenticatedError)
            assert "takes no bearer token" in error.message

    tell(story)


@pytest.mark.parametrize("software_key", ["PAY ROLL", "Zażółć Søn", "給与", "50% off", "a|b=c"])
def test_a_software_key_may_be_anything_that_a_header_can_carry(
    tell: Tell, software_key: str
) -> None:
    async def story(house: House) -> None:
        issued = await house.integration(software_key)
        as_bytes = software_key.encode("utf-8")
        percent = "".join(f"%{byte:02X}" for byte in as_bytes)
        for sent in (software_key, f" {software_key} ", as_bytes.decode("latin-1"), percent):
            caller = await house.authenticator.authenticate(headers_of(issued, sent))
            assert caller.software_key == software_key
        error = await house.refusal(headers_of(issued, software_key.swapcase() + "x"))
        assert error.message == "Key name does not match Software Key"

    tell(story)


def test_a_change_is_in_force_within_five_seconds(tell: Tell) -> None:
    async def story(house: House) -> None:
        issued = await house.integration()
        tenant, key = issued.integration.tenant, issued.integration.software_key
        await house.authenticator.authenticate(headers_of(issued))
        await house.service.change_integration(
            tenant, key, lambda integration: replace(integration, on_existing=OnExisting.ERROR)
        )
        house.clock.seconds += IN_FORCE_SECONDS
        caller = await house.authenticator.authenticate(headers_of(issued))
        assert caller.options.on_existing is OnExisting.ERROR
        await house.service.change_integration(
            tenant, key, lambda integration: replace(integration, enabled=False)
        )
        house.clock.seconds += IN_FORCE_SECONDS
        assert isinstance(await house.refusal(headers_of(issued)), ForbiddenError)

    tell(story)


def test_a_rotated_key_stops_within_five_seconds_and_the_new_one_works_at_once(tell: Tell) -> None:
    async def story(house: House) -> None:
        old = await house.integration()
        await house.authenticator.authenticate(headers_of(old))
        new = await house.service.rotate_key(old.integration.tenant, old.integration.software_key)
        await house.authenticator.authenticate(headers_of(new))
        house.clock.seconds += IN_FORCE_SECONDS
        assert isinstance(await house.refusal(headers_of(old)), UnauthenticatedError)
        assert await house.tables.get(FUNCTION_KEYS, old.integration.keys[0].hash, "key") is None

    tell(story)


def test_two_keys_work_until_one_is_revoked_or_expires(tell: Tell) -> None:
    async def story(house: House) -> None:
        old = await house.integration()
        place = (old.integration.tenant, old.integration.software_key)
        expires = house.clock.now() + timedelta(days=1)
        new = await house.service.add_key(*place, expires)
        for each in (old, new):
            caller = await house.authenticator.authenticate(headers_of(each))
            assert caller.key_id == each.key.id
        with pytest.raises(ConflictError, match="2 valid function keys already"):
            await house.service.add_key(*place)
        with pytest.raises(InvalidRequestError, match="expiry is past"):
            await house.service.rotate_key(*place, house.clock.now())
        with pytest.raises(NotFoundError):
            await house.service.revoke_key(*place, "0" * 12)
        assert {key.id for key in await house.service.list_keys(*place)} == {old.key.id, new.key.id}

        # Valid until the moment before, from a look-up that is still cached.
        house.clock.seconds += 86_399
        await house.authenticator.authenticate(headers_of(new))
        house.clock.seconds += 1
        refusal = await house.refusal(headers_of(new))
        assert isinstance(refusal, ExpiredKeyError), "not counted as a guess"
        with pytest.raises(ConflictError, match="add a new function key first"):
            await house.service.revoke_key(*place, old.key.id)
        third = await house.service.add_key(*place)
        keys = [key.id for key in await house.service.list_keys(*place)]
        assert keys == [third.key.id, old.key.id], "the expired one made room"
        assert await house.tables.get(FUNCTION_KEYS, new.key.hash, "key") is None

        await house.service.revoke_key(*place, old.key.id)
        house.clock.seconds += IN_FORCE_SECONDS
        assert isinstance(await house.refusal(headers_of(old)), UnauthenticatedError)
        await house.authenticator.authenticate(headers_of(third))

    tell(story)


def test_the_last_use_of_a_key_is_stored_and_shown(tell: Tell) -> None:
    async def story(house: House) -> None:
        uses = LastUses(house.clock)
        keys = KeyPairAuthenticator(house.tables, house.clock, CACHE_SECONDS, uses)
        issued = await house.integration()
        place = (issued.integration.tenant, issued.integration.software_key)
        await keys.authenticate(headers_of(issued))
        await uses.written()
        [key] = await house.service.list_keys(*place)
        assert key.used_at == to_iso(house.clock.now())
        # Another process finds the time, and does not write it again within the hour.
        other = KeyPairAuthenticator(house.tables, house.clock, 0, LastUses(house.clock))
        house.clock.seconds += 3_599
        await other.authenticate(headers_of(issued))
        assert (await house.service.list_keys(*place))[0].used_at == key.used_at

    tell(story)


def test_an_old_key_that_a_crash_left_behind_opens_nothing(tell: Tell) -> None:
    async def story(house: House) -> None:
        old = await house.integration()
        tenant, name = old.integration.tenant, old.integration.software_key
        await house.service.rotate_key(tenant, name)
        stale_key = FunctionKey(old.integration.keys[0].hash, tenant, name)
        await house.tables.write(FUNCTION_KEYS, Insert(key_to_entity(stale_key)))
        assert isinstance(await house.refusal(headers_of(old)), UnauthenticatedError)

    tell(story)


def test_rotating_at_once_leaves_exactly_one_key_that_works(tell: Tell) -> None:
    async def story(house: House) -> None:
        first = await house.integration()
        tenant, name = first.integration.tenant, first.integration.software_key
        ended = await asyncio.gather(
            *(house.service.rotate_key(tenant, name) for _ in range(4)), return_exceptions=True
        )
        issued = [one for one in ended if isinstance(one, IssuedKey)]
        assert all(isinstance(one, IssuedKey | ConflictError) for one in ended)
        (stored,) = await house.service.list_integrations(tenant)
        for one in issued:
            if one.integration.keys[0].hash == stored.keys[0].hash:
                await house.authenticator.authenticate(headers_of(one))
            else:
                assert isinstance(await house.refusal(headers_of(one)), UnauthenticatedError)
        assert stored.keys[0].hash in {one.integration.keys[0].hash for one in issued}

    tell(story)


def test_changes_at_once_are_all_kept(tell: Tell) -> None:
    async def story(house: House) -> None:
        issued = await house.integration()
        tenant, key = issued.integration.tenant, issued.integration.software_key
        await asyncio.gather(
            house.service.change_integration(
                tenant, key, lambda integration: replace(integration, name="Renamed")
            ),
            house.service.change_integration(
                tenant, key, lambda integration: replace(integration, enabled=False)
            ),
        )
        (stored,) = await house.service.list_integrations(tenant)
        assert (stored.name, stored.enabled) == ("Renamed", False)

    tell(story)


def test_two_thousand_unknown_keys_neither_grow_the_cache_nor_evict_a_good_one(tell: Tell) -> None:
    async def story(house: House) -> None:
        issued = await house.integration()
        await house.authenticator.authenticate(headers_of(issued))
        for start in range(0, 2_000, 100):
            guesses = [{"x-functions-key": f"guess-{start + n}"} for n in range(100)]
            await asyncio.gather(*(house.refusal(guess) for guess in guesses))
        assert len(house.authenticator.lookups) == MOST_MISSING + 1
        reads = house.tables.reads
        await house.authenticator.authenticate(headers_of(issued))
        assert house.tables.reads == reads

    tell(story)


def test_many_calls_with_one_key_read_storage_once(tell: Tell) -> None:
    async def story(house: House) -> None:
        issued = await house.integration()
        house.tables.reads = 0
        await asyncio.gather(
            *(house.authenticator.authenticate(headers_of(issued)) for _ in range(50))
        )
        assert house.tables.reads == 2

    tell(story)


def test_no_key_in_the_clear_is_stored_shown_or_logged(
    tell: Tell, connection_string: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []

    async def story(house: House) -> None:
        issued = await house.integration()
        tenant, key = issued.integration.tenant, issued.integration.software_key
        rotated = await house.service.rotate_key(tenant, key)
        caller = await house.authenticator.authenticate(headers_of(rotated))
        error = await house.refusal(headers_of(issued))
        shown = repr((issued, rotated, caller, error, error.message, house.authenticator))
        for one in (issued, rotated):
            assert one.function_key not in shown
            assert one.integration.keys[0].hash not in shown
            seen.append(one.function_key)

    tell(story)
    with PlainTables.from_connection_string(connection_string) as service:
        for table in (TENANTS, INTEGRATIONS, FUNCTION_KEYS):
            stored = str([dict(item) for item in service.get_table_client(table).list_entities()])
            assert not any(key in stored for key in seen)
    assert not any(key in caplog.text for key in seen)
