"""What Entra ID publishes of a directory: its issuers and the keys that its tokens are signed with.

Read from the metadata of both versions of its tokens, since an application's registration decides
which one it gets (docs/platform.md#entra): the issuer of the older one is on another host, and
every national cloud has its own. Everything here blocks; it is called in a thread.
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
        """The keys to be passed on, without the certificates that Entra adds."""
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
        """A session that does not wait for ever; one for each errand, so that no cookie stays."""
        session = self._new_session()
        session.request = partial(session.request, timeout=_SECONDS)  # type: ignore[method-assign]
        return session

    def read_metadata(self) -> Metadata:
        """Ask for everything. Raises IdentityProviderUnavailableError."""
        try:
            with self.session() as session:
                documents = {
                    version: _get(session, f"{self.address}{path}/.well-known/openid-configuration")
                    for version, path in (("1.0", ""), ("2.0", "/v2.0"))
                }
                addresses = dict.fromkeys(found["jwks_uri"] for found in documents.values())
                sets = [_get(session, address)["keys"] for address in addresses]
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            raise IdentityProviderUnavailableError("the metadata cannot be read") from error
        found = [key for keys in sets for jwk in keys if (key := _signature_key(jwk)) is not None]
        return Metadata(
            issuers={version: str(each["issuer"]) for version, each in documents.items()},
            keys={str(key.key_id): key for key in found},
        )


def _get(session: requests.Session, address: str) -> dict[str, Any]:
    if urlsplit(address).scheme != "https":
        raise ValueError("an address that is not https")
    answer = session.get(address, allow_redirects=False)
    answer.raise_for_status()
    found = answer.json()
    if answer.status_code != requests.codes.ok or not isinstance(found, dict):
        raise ValueError("no document")
    return found


def _signature_key(jwk: Any) -> jwt.PyJWK | None:
    """A key as Entra publishes them; None for one of another kind, which is passed over."""
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str):
        return None
    wanted = (jwk.get("kty"), jwk.get("use", "sig"), jwk.get("alg", ALGORITHM))
    if wanted != ("RSA", "sig", ALGORITHM):
        return None
    try:
        return jwt.PyJWK.from_dict({**jwk, "alg": ALGORITHM})
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
