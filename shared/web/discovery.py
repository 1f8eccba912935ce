"""The discovery document: where tokens come from, and how they are checked."""

from __future__ import annotations

from typing import Any

from shared.auth.scopes import Scope
from shared.settings import IdentityProvider, Settings


def discovery_document(settings: Settings) -> dict[str, Any]:
    """As OpenID Connect Discovery 1.0 and RFC 8414 name things.

    msal insists on an `authorization_endpoint`; there is nothing at that address, since the gateway
    knows no users.
    """
    here = settings.base_url
    is_local = settings.identity_provider == IdentityProvider.LOCAL
    return {
        "issuer": here,
        "token_endpoint": f"{here}/connect/token",
        "jwks_uri": f"{here}/.well-known/jwks.json",
        "authorization_endpoint": f"{here}/connect/authorize",
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "scopes_supported": [scope.value for scope in Scope],
        "response_types_supported": ["none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256" if is_local else "RS256"],
    }
