"""Function keys and callers: what is stored, what shows, what the vendor's checks say."""

from __future__ import annotations

import hashlib

import pytest

from shared.auth.callers import Caller, check_database, check_database_version
from shared.auth.integrations import (
    Database,
    FunctionKey,
    Integration,
    hash_function_key,
    integration_from_entity,
    integration_to_entity,
    key_from_entity,
    key_to_entity,
    new_function_key,
)
from shared.errors import ForbiddenError, InvalidRequestError
from shared.imports.import_type import OnExisting, Options


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
        key_hash=hash_function_key("k"),
    )
    assert integration_from_entity(integration_to_entity(integration)) == integration
    assert integration.key_hash not in repr(a_caller(integration))


def test_the_options_of_a_caller_are_its_integrations() -> None:
    assert a_caller(an_integration()).options == Options(OnExisting.UPDATE)
    refusing = an_integration(on_existing=OnExisting.ERROR)
    assert a_caller(refusing).options == Options(OnExisting.ERROR)


def test_an_inactive_database_is_refused_in_the_vendors_words() -> None:
    check_database(a_caller(an_integration()))
    with pytest.raises(ForbiddenError, match=r"^Pay and Bill Database not active$"):
        check_database(a_caller(an_integration(database=Database(active=False))))


def test_an_older_database_is_refused_in_the_vendors_words() -> None:
    check_database_version(a_caller(an_integration()), 1)
    with pytest.raises(InvalidRequestError, match=r"^Invalid DB Version$"):
        check_database_version(a_caller(an_integration()), 2)
