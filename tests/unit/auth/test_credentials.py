"""Tenant ids, function keys and client secrets: what is stored of them and what is compared."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.auth.callers import Caller, check_database, check_database_version
from shared.auth.clients import SecretChecker, hash_client_secret, may_match, new_client_secret
from shared.auth.integrations import (
    ADMIN,
    IMPORT,
    OPERATE,
    PERMISSIONS,
    READ,
    Database,
    FunctionKey,
    Integration,
    ReadPermission,
    hash_function_key,
    integration_from_any_entity,
    integration_from_entity,
    integration_to_entity,
    key_from_entity,
    key_to_entity,
    new_function_key,
    read_permissions,
)
from shared.auth.stored_keys import LastUses, StoredKey
from shared.clock import to_iso
from shared.errors import ForbiddenError, InvalidRequestError, StorageUnavailableError
from shared.imports.import_type import Contract, OnExisting, Options
from shared.imports.pay_and_bill.contract import PAY_AND_BILL
from shared.imports.registry import IMPORT_TYPES
from shared.services.admin.tenants import numbered_slug, slug_of
from shared.storage.ports import Entity

# The id of a tenant is a slug, whatever the name is written in.


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Demo Payroll", "demo-payroll"),
        ("Łódź Straße & Søn", "lodz-strasse-son"),
        ("Müller -- Crédit 24", "muller-credit-24"),
        ("AB", "tenant-ab"),
        ("株式会社", "tenant"),
        ("x" * 39 + " y", "x" * 39),
    ],
)
def test_a_name_becomes_a_slug(name: str, slug: str) -> None:
    assert slug_of(name) == slug


@given(st.text(), st.integers(1, 10_000))
def test_every_name_and_number_give_a_valid_slug(name: str, number: int) -> None:
    assert re.fullmatch(r"[a-z0-9-]{3,40}", numbered_slug(slug_of(name), number))


@given(st.text())
def test_numbers_keep_slugs_apart(name: str) -> None:
    slug = slug_of(name)
    assert len({numbered_slug(slug, number) for number in range(1, 200)}) == 199


@pytest.mark.parametrize("slug", ["ab", "a" * 41, "Demo", "a_b", "", "démo"])
def test_a_text_that_is_not_a_slug_is_refused(slug: str) -> None:
    with pytest.raises(InvalidRequestError):
        numbered_slug(slug, 1)


# Function keys and callers: what is stored, what shows, what the vendor's checks say.


def an_integration(**changes: object) -> Integration:
    fields: dict[str, object] = {"tenant": "demo", "software_key": "PAY ROLL", "name": "Pay"}
    return Integration(**{**fields, **changes})  # type: ignore[arg-type]


def a_caller(integration: Integration) -> Caller:
    return Caller("demo", integration.software_key, integration.software_key, integration)


def test_keys_are_long_random_and_safe_to_paste() -> None:
    keys = {new_function_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(len(key) >= 43 and key.replace("-", "a").isidentifier() for key in keys)


def test_a_hash_is_sha_256_of_the_utf_8_text_and_any_text_has_one() -> None:
    assert hash_function_key("clé") == hashlib.sha256("clé".encode()).hexdigest()
    assert len(hash_function_key("\udcff")) == 64


def test_a_stored_key_comes_back_and_does_not_show_its_hash() -> None:
    key = FunctionKey(hash_function_key("k"), "demo", "PAY ROLL")
    assert key_from_entity(key_to_entity(key)) == key
    assert key.key_hash not in repr(key)


def test_a_stored_integration_comes_back_and_does_not_show_its_hash() -> None:
    integration = an_integration(
        enabled=False,
        on_existing=OnExisting.ERROR,
        database=Database(active=False, version=0),
        permissions=frozenset({READ}),
        keys=(
            StoredKey(
                hash_function_key("k"), "2026-01-31T08:00:00.000Z", "2027-01-31T00:00:00.000Z"
            ),
        ),
    )
    assert integration_from_entity(integration_to_entity(integration)) == integration
    assert integration.keys[0].hash not in repr(a_caller(integration))


def test_an_integration_of_an_earlier_version_keeps_its_key_and_may_do_all_but_administer() -> None:
    new = integration_to_entity(an_integration(keys=(StoredKey("b" * 64), StoredKey("a" * 64))))
    assert new.text("keyHash") == "b" * 64, "an earlier version knows the newest key"
    columns = {name: new.values[name] for name in new.values if name not in ("permissions", "keys")}
    old = integration_from_entity(Entity(new.partition, new.row, columns))
    assert [key.hash for key in old.keys] == ["b" * 64]
    assert re.fullmatch("[0-9a-f]{12}", old.keys[0].id)
    assert [name for name in PERMISSIONS if not old.may(name)] == [ADMIN]
    # What an earlier version stored last counts: it knows one key and no permissions.
    unknown = Entity(new.partition, new.row, {**columns, "permissions": "fly admin"})
    assert integration_from_entity(unknown).permissions == {ADMIN}
    broken = integration_from_any_entity(
        Entity(new.partition, new.row, {**unknown.values, "keys": "[{}]", "onExisting": "?"})
    )
    assert broken.permissions == {ADMIN}
    assert (broken.enabled, len(broken.keys)) == (False, 1)


@pytest.mark.parametrize("name", ["", " ", "imports", "import:", "import:nothing", "any", "*"])
def test_an_unknown_permission_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"import, import:workers.* read, operate, admin"):
        read_permissions(["read", name])


def test_the_imports_that_an_integration_sees_are_those_it_may_send_read_or_operate() -> None:
    for permissions, seen in (
        ({"import:workers"}, {"workers"}),
        ({IMPORT}, {*IMPORT_TYPES}),
        ({READ}, {*IMPORT_TYPES}),
        ({OPERATE}, {*IMPORT_TYPES}),
        ({ADMIN}, set()),
    ):
        caller = a_caller(an_integration(permissions=frozenset(permissions)))
        assert {name for name in IMPORT_TYPES if caller.sees(name)} == seen
        assert (caller.read is ReadPermission.NONE) is (READ not in permissions)


# The last use of a key is written once an hour, a few at a time, and never waited for.


class Uses:
    """Notes uses under a clock that a test moves, and counts the writes."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0
        self.written: list[str] = []
        self.uses = LastUses(self)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def elapsed(self) -> float:
        return self.seconds

    async def use(self, *keys: StoredKey, fails: bool = False) -> int:
        async def write(at: str) -> None:
            self.written.append(at)
            if fails:
                raise StorageUnavailableError("away")

        before = len(self.written)
        for key in keys:
            self.uses.note(key, write)
        assert len(self.written) == before, "nothing waits for the write"
        await self.uses.written()
        return len(self.written) - before


def test_the_last_use_is_written_once_an_hour_for_each_key_whatever_happens() -> None:
    async def story() -> None:
        house, key = Uses(), StoredKey("a")
        assert await house.use(key, key, StoredKey("b")) == 2
        assert house.written[0] == to_iso(house.now())
        house.seconds += 3_599
        assert await house.use(key) == 0
        house.seconds += 1
        assert await house.use(key, fails=True) == 1
        assert await house.use(key) == 0, "storage that is away is not asked at each call"
        # Another process has written it.
        at = to_iso(house.now() - timedelta(minutes=59))
        assert await house.use(StoredKey("c", used_at=at), StoredKey("d", used_at="?")) == 1
        assert await house.use(*(StoredKey(str(at)) for at in range(100))) == 8

    asyncio.run(story())


def test_the_options_of_a_caller_are_its_integrations() -> None:
    assert a_caller(an_integration()).options == Options(OnExisting.DEFAULT)
    refusing = an_integration(on_existing=OnExisting.ERROR)
    assert a_caller(refusing).options == Options(OnExisting.ERROR)


def test_an_integration_of_an_earlier_version_leaves_existing_records_to_the_type() -> None:
    for on_existing in OnExisting:
        entity = integration_to_entity(an_integration(on_existing=on_existing))
        assert integration_from_entity(entity).on_existing is on_existing
        earlier = {k: v for k, v in entity.values.items() if k != "isOnExistingSaid"}
        read = integration_from_entity(replace(entity, values=earlier)).on_existing
        is_kept = on_existing is not OnExisting.UPDATE
        assert read is (on_existing if is_kept else OnExisting.DEFAULT)


def test_an_inactive_database_is_refused_in_the_vendors_words() -> None:
    check_database(a_caller(an_integration()), PAY_AND_BILL)
    with pytest.raises(ForbiddenError, match=r"^Pay and Bill Database not active$"):
        check_database(a_caller(an_integration(database=Database(active=False))), PAY_AND_BILL)


def test_an_older_database_is_refused_in_the_vendors_words() -> None:
    check_database_version(a_caller(an_integration()), Contract("", 1))
    with pytest.raises(InvalidRequestError, match=r"^Invalid DB Version$"):
        check_database_version(a_caller(an_integration()), Contract("", 2))


# Client secrets: what is stored, and that only who has the secret costs us the slow hash.

SECRET = new_client_secret()
STORED = hash_client_secret(SECRET)


def test_secrets_are_long_random_and_safe_in_a_form() -> None:
    secrets = {new_client_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(len(one) >= 48 and one.replace("-", "a").isidentifier() for one in secrets)


def test_a_hash_is_salted_slow_and_does_not_hold_the_secret() -> None:
    started = time.perf_counter()
    assert hash_client_secret(SECRET) != STORED
    assert time.perf_counter() - started > 0.05
    assert SECRET not in STORED
    assert STORED.startswith("scrypt$14$8$5$")


def test_only_the_secret_itself_is_right_and_a_flood_of_guesses_computes_nothing() -> None:
    async def story() -> None:
        checker = SecretChecker()
        guesses = [f"{SECRET}x", SECRET[:-1], SECRET.lower(), "", "\udcff", "$", "x" * 10_000]
        guesses += [new_client_secret() for _ in range(2_000)]
        assert not any([await checker.is_right(STORED, guess) for guess in guesses])
        assert checker.computed == 0
        assert await checker.is_right(STORED, SECRET)
        assert checker.computed == 1

    asyncio.run(story())


def test_a_correct_secret_is_cached_and_a_burst_computes_at_most_two_hashes() -> None:
    async def story() -> None:
        checker = SecretChecker()
        burst = [checker.is_right(STORED, SECRET) for _ in range(50)]
        assert all(await asyncio.gather(*burst))
        assert checker.computed <= 2
        other = hash_client_secret(SECRET)
        assert await checker.is_right(other, SECRET)
        assert not await checker.is_right(STORED, f"{SECRET} ")

    asyncio.run(story())


def test_the_event_loop_is_not_blocked_while_a_hash_is_computed() -> None:
    async def story() -> int:
        checking = asyncio.create_task(SecretChecker().is_right(STORED, SECRET))
        turns = 0
        while not checking.done():
            await asyncio.sleep(0.001)
            turns += 1
        return turns

    assert asyncio.run(story()) > 10


@pytest.mark.parametrize(
    "broken",
    ["x", "scrypt$14$8$5$00", "scrypt$14$8$5$zz$zz$zz", "$" * 6, "scrypt$14$8$5$00$000000$00$00"],
)
def test_nothing_matches_a_stored_hash_that_cannot_be_read(broken: str) -> None:
    assert not may_match(broken, SECRET)
    assert not asyncio.run(SecretChecker().is_right(broken, SECRET))
    assert not may_match(STORED[:-1], SECRET)


def test_a_client_without_a_secret_has_no_right_one() -> None:
    assert not may_match("", "")
    assert not asyncio.run(SecretChecker().is_right("", ""))
