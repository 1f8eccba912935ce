"""Tokens of Entra: what counts, what does not, and how often its keys are asked for.

Against a stand-in over TLS with the same metadata; every token is really signed.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import math
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.auth.bearer import TokenClaims
from shared.auth.clients import Scope
from shared.auth.entra import (
    CLAIMS,
    MOST_AGE_SECONDS,
    PAUSE_SECONDS,
    REFRESH_SECONDS,
    EntraAuthority,
    EntraKeys,
    EntraTokens,
)
from shared.clock import SystemClock
from shared.errors import BearerTokenError, IdentityProviderUnavailableError
from tests.entra_stand_in import AUDIENCE, GATEWAY_ID, TENANT, EntraStandIn, running_stand_in

pytestmark = pytest.mark.integration
APPLICATION = "AAAAAAAA-0000-4000-8000-000000000001"


class HandClock(SystemClock):
    """Real time of day; the seconds are moved by the test."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def elapsed(self) -> float:
        return self.seconds


class House:
    """A gateway's reader of tokens, and the stand-in that it asks."""

    def __init__(self, entra: EntraStandIn) -> None:
        self.entra = entra
        self.clock = HandClock()
        authority = EntraAuthority(entra.url, TENANT, entra.session)
        self.keys = EntraKeys(authority.read_metadata, self.clock)
        self.tokens = EntraTokens(self.keys, TENANT, (AUDIENCE, GATEWAY_ID))

    async def refusal(self, token: str) -> str:
        with pytest.raises(BearerTokenError) as caught:
            await self.tokens.read(token)
        return caught.value.message


@pytest.fixture(scope="module")
def entra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EntraStandIn]:
    with running_stand_in(tmp_path_factory.mktemp("entra")) as stand_in:
        yield stand_in


@pytest.fixture
def house(entra: EntraStandIn) -> House:
    entra.is_away = False
    entra.requests.clear()
    return House(entra)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_tokens_of_both_versions_count_with_their_roles_as_scopes(
    house: House, version: str
) -> None:
    claims = {
        **house.entra.claims(APPLICATION, version),
        "roles": ["import_authdata", "else"],
        "idtyp": "app",
    }
    read = asyncio.run(house.tokens.read(house.entra.sign(claims)))
    assert read == TokenClaims(APPLICATION.lower(), frozenset({Scope.IMPORT_AUTHDATA}))


def test_without_roles_there_are_no_scopes(house: House) -> None:
    claims = house.entra.claims(APPLICATION)
    del claims["roles"]
    assert asyncio.run(house.tokens.read(house.entra.sign(claims))).scopes == frozenset()


NOW = int(time.time()) + 60
NO_TIMES: list[Any] = [str(NOW), float(NOW), True, [NOW], math.nan, math.inf, 10**12, -1]
NO_TEXTS: list[Any] = [7, 10**400, True, [], {}, math.nan]
CHANGED: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"exp": int(time.time()) - 31}, "expired"),
    "of a time to come": ({"nbf": int(time.time()) + 3_000}, "time to come"),
    "of another directory": ({"iss": f"https://sts.windows.net/{uuid.uuid4()}/"}, "issuer"),
    "of the issuer of another version": ({"ver": "1.0"}, "issuer"),
    "of a version to come": ({"ver": "3.0"}, "issuer"),
    "of a version of another kind": ({"ver": ["2.0"]}, "issuer"),
    "with another directory's id": ({"tid": str(uuid.uuid4())}, "issuer"),
    "for another application": ({"aud": str(uuid.uuid4())}, "audience"),
    "for Microsoft Graph": ({"aud": "https://graph.microsoft.com"}, "audience"),
    "of a user": ({"scp": "import_inbox"}, "belongs to a user"),
    "of a user by its type": ({"idtyp": "user"}, "belongs to a user"),
    "without an application": ({"azp": None}, "not valid here"),
    "with roles of another kind": ({"roles": "import_inbox"}, "not valid here"),
    "with a role of another kind": ({"roles": ["import_inbox", 7]}, "not valid here"),
    "for an audience in a list": ({"aud": [AUDIENCE]}, "not valid here"),
    "with an application that is no text": ({"azp": "\ud800"}, "not valid here"),
    **{
        # The names are the same in every process that collects the tests.
        f"with {name} = {value!r}".replace(str(NOW), "NOW"): ({name: value}, "")
        for name in ("exp", "iat", "nbf")
        for value in NO_TIMES
    },
    **{
        f"with {name} = {value!r}": ({name: value}, "")
        for name in ("iss", "aud", "sub", "tid", "ver", "azp")
        for value in NO_TEXTS
    },
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_token_that_says_something_else_is_refused(house: House, name: str) -> None:
    changes, wording = CHANGED[name]
    token = house.entra.sign({**house.entra.claims(APPLICATION), **changes})
    assert wording in asyncio.run(house.refusal(token))


@pytest.mark.parametrize("media_type", ["at+jwt", "logout+jwt", "", None])
def test_a_token_of_another_type_is_refused(house: House, media_type: str | None) -> None:
    kid, private = list(house.entra.keys.items())[-1]
    header = {"kid": kid, "typ": media_type}
    token = jwt.encode(house.entra.claims(APPLICATION), private, "RS256", header)
    assert "not valid here" in asyncio.run(house.refusal(token))


def test_a_token_without_any_one_claim_is_refused(house: House) -> None:
    async def story() -> None:
        for claim in CLAIMS:
            claims = house.entra.claims(APPLICATION)
            del claims[claim]
            assert "not valid here" in await house.refusal(house.entra.sign(claims)), claim

    asyncio.run(story())


def _confused(house: House) -> str:
    """HS256 with the published key as its secret."""
    kid, private = list(house.entra.keys.items())[-1]
    secret = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    parts = ({"alg": "HS256", "kid": kid}, house.entra.claims(APPLICATION))
    signed = ".".join(_part(part) for part in parts)
    mac = hmac.digest(secret, signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def _strange(house: House) -> str:
    """A stranger's key under the id of a published one."""
    stranger, kid = rsa.generate_private_key(65537, 2048), list(house.entra.keys)[-1]
    return jwt.encode(house.entra.claims(APPLICATION), stranger, "RS256", {"kid": kid})


def _tampered(house: House) -> str:
    claims = house.entra.claims(APPLICATION)
    header, _, signature = house.entra.sign(claims).split(".")
    return f"{header}.{_part({**claims, 'azp': str(uuid.uuid4())})}.{signature}"


def _unsigned(house: House) -> str:
    kid = list(house.entra.keys)[-1]
    return jwt.encode(house.entra.claims(APPLICATION), "", "none", {"kid": kid})


FORGED: dict[str, Callable[[House], str]] = {
    "HS256 with the public key": _confused,
    "a stranger's key": _strange,
    "changed claims": _tampered,
    "alg none": _unsigned,
    "another RSA algorithm": lambda house: jwt.encode(
        house.entra.claims(APPLICATION),
        list(house.entra.keys.values())[-1],
        "PS256",
        {"kid": list(house.entra.keys)[-1]},
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_is_refused(house: House, name: str) -> None:
    assert "not valid here" in asyncio.run(house.refusal(FORGED[name](house)))


def test_keys_are_fetched_once_and_again_after_an_hour(house: House) -> None:
    async def story() -> None:
        token = house.entra.sign(house.entra.claims(APPLICATION))
        await asyncio.gather(*(house.tokens.read(token) for _ in range(20)))
        once = len(house.entra.requests)
        assert once == 4, "two documents, two sets of keys"
        house.clock.seconds += REFRESH_SECONDS
        await house.tokens.read(token)
        assert len(house.entra.requests) == once
        house.clock.seconds += 1
        await house.tokens.read(token)
        assert len(house.entra.requests) == 2 * once

    asyncio.run(story())


def test_an_unknown_key_is_asked_for_at_most_once_a_minute(house: House) -> None:
    async def story() -> None:
        await house.tokens.read(house.entra.sign(house.entra.claims(APPLICATION)))
        house.entra.requests.clear()
        house.clock.seconds += PAUSE_SECONDS
        made_up = jwt.encode({}, rsa.generate_private_key(65537, 2048), "RS256", {"kid": "x"})
        for _ in range(10):
            assert "does not publish" in await house.refusal(made_up)
        assert len(house.entra.requests) == 4
        house.entra.add_key()
        rolled = house.entra.sign(house.entra.claims(APPLICATION))
        assert "does not publish" in await house.refusal(rolled)
        house.clock.seconds += PAUSE_SECONDS
        await house.tokens.read(rolled)
        assert len(house.entra.requests) == 8

    asyncio.run(story())


def test_while_entra_is_away_what_is_known_counts_for_a_day(house: House) -> None:
    async def story() -> None:
        token = house.entra.sign(house.entra.claims(APPLICATION))
        await house.tokens.read(token)
        house.entra.is_away = True
        house.clock.seconds += MOST_AGE_SECONDS
        await house.tokens.read(token)
        house.clock.seconds += 1
        with pytest.raises(IdentityProviderUnavailableError):
            await house.tokens.read(token)

    asyncio.run(story())


def test_entra_that_never_answered_is_no_fault_of_the_caller(house: House) -> None:
    async def story() -> None:
        house.entra.is_away = True
        token = house.entra.sign(house.entra.claims(APPLICATION))
        for _ in range(5):
            with pytest.raises(IdentityProviderUnavailableError):
                await house.tokens.read(token)
        assert len(house.entra.requests) == 1
        house.entra.is_away = False
        house.clock.seconds += 5
        await house.tokens.read(token)

    asyncio.run(story())


def test_a_certificate_that_is_not_trusted_is_no_entra(entra: EntraStandIn, tmp_path: Path) -> None:
    with running_stand_in(tmp_path) as other:
        authority = EntraAuthority(other.url, TENANT, entra.session)
        with pytest.raises(IdentityProviderUnavailableError):
            authority.read_metadata()


def test_only_keys_for_signatures_are_passed_on(house: House) -> None:
    published = asyncio.run(house.keys.metadata()).jwks
    assert [key["kid"] for key in published] == list(house.entra.keys)
    assert {name for key in published for name in key} == {"kty", "use", "alg", "kid", "n", "e"}


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
