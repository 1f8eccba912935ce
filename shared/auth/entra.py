"""The metadata that Entra ID publishes for a directory: its issuers and its signing keys.

The gateway reads the metadata of both token versions, since an application's registration decides
which version it gets (docs/platform.md#entra). The issuer of the older version is on another host,
and every national cloud has its own. All functions here block, so callers run them in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import jwt
import requests

from shared.errors import IdentityProviderUnavailableError

ALGORITHM = "RS256"
_SECONDS = 10
_PASSED_ON = {"kty": "RSA", "use": "sig", "alg": ALGORITHM}

NewSession = Callable[[], requests.Session]


@dataclass(frozen=True, slots=True)
class Metadata:
    """Issuers by version of the token, keys by their id."""

    issuers: Mapping[str, str]
    keys: Mapping[str, jwt.PyJWK]

    @property
    def jwks(self) -> list[dict[str, str]]:
        """The keys as JSON Web Keys, without the certificates that Entra adds."""
        algorithm = jwt.algorithms.RSAAlgorithm
        return [
            {**_PASSED_ON, "kid": kid, "n": numbers["n"], "e": numbers["e"]}
            for kid, key in self.keys.items()
            if (numbers := algorithm.to_jwk(key.key, as_dict=True))
        ]


class EntraAuthority:
    """A directory of Entra ID, or a stand-in with the same metadata."""

    def __init__(self, address: str, tenant: str, new_session: NewSession) -> None:
        self.address = f"{address}/{tenant}"
        self.tenant = tenant
        self._new_session = new_session

    def session(self) -> requests.Session:
        """Open a session with a timeout. Each task gets a new one, so that no cookie is kept."""
        session = self._new_session()
        session.request = partial(session.request, timeout=_SECONDS)  # type: ignore[method-assign]
        return session

    def read_metadata(self) -> Metadata:
        """Read the metadata and the keys. Raises IdentityProviderUnavailableError."""
        try:
            with self.session() as session:
                metadata = {
                    version: _get_json(
                        session, f"{self.address}{path}/.well-known/openid-configuration"
                    )
                    for version, path in (("1.0", ""), ("2.0", "/v2.0"))
                }
                addresses = dict.fromkeys(document["jwks_uri"] for document in metadata.values())
                key_sets = [_get_json(session, address)["keys"] for address in addresses]
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            raise IdentityProviderUnavailableError("the metadata cannot be read") from error
        keys = [
            key
            for key_set in key_sets
            for jwk in key_set
            if (key := _signature_key(jwk)) is not None
        ]
        return Metadata(
            issuers={version: str(document["issuer"]) for version, document in metadata.items()},
            keys={str(key.key_id): key for key in keys},
        )


def _get_json(session: requests.Session, address: str) -> dict[str, Any]:
    if urlsplit(address).scheme != "https":
        raise ValueError("an address that is not https")
    answer = session.get(address, allow_redirects=False)
    answer.raise_for_status()
    document = answer.json()
    if answer.status_code != requests.codes.ok or not isinstance(document, dict):
        raise ValueError("no document")
    return document


def _signature_key(jwk: Any) -> jwt.PyJWK | None:
    """Read a published key. Returns None for a key of another kind, which is ignored."""
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str):
        return None
    description = (jwk.get("kty"), jwk.get("use", "sig"), jwk.get("alg", ALGORITHM))
    if description != ("RSA", "sig", ALGORITHM):
        return None
    try:
        return jwt.PyJWK.from_dict({**jwk, "alg": ALGORITHM})
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
