"""A bearer token for the commands, fetched by msal from the gateway's own discovery document.

msal takes https only, and an address with a path, which is why the gateway's documents are also
there under `/connect`. It asks `requests`, and `requests` prefers REQUESTS_CA_BUNDLE over the
certificate that a session is told to trust: so a session with one does not look at the environment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cli.calls import CallFailedError
from cli.surroundings import trusted_certificate

if TYPE_CHECKING:
    import requests

_TOKEN_SECONDS = 30


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """What a client proves itself with."""

    client_id: str
    client_secret: str = field(repr=False)


def fetch_token(url: str, client: ClientCredentials, scope: str) -> str:
    """An access token of the gateway at `url` for this scope.

    Raises CallFailedError with a sentence for people, and SettingsError.
    """
    if not url.startswith("https://"):
        raise CallFailedError(
            "Tokens are fetched over https only: start the local gateway with `dev.py run --tls`, "
            "or give the https address of the gateway."
        )
    # Slow to import, and most commands need none of it.
    import msal  # type: ignore[import-untyped]
    import requests

    address = f"{url.rstrip('/')}/connect"
    try:
        with _open_session(address, trusted_certificate(url)) as session:
            application = msal.ConfidentialClientApplication(
                client.client_id,
                client_credential=client.client_secret,
                oidc_authority=address,
                http_client=session,
            )
            answer = application.acquire_token_for_client([scope])
    except requests.exceptions.SSLError:
        raise CallFailedError(
            f"The certificate of {url} is not trusted: name its issuer's in GATEWAY_CA_FILE."
        ) from None
    except (requests.RequestException, msal.exceptions.MsalError) as error:
        raise CallFailedError(
            f"No answer from {url}: is the gateway running? ({type(error).__name__})"
        ) from None
    except (ValueError, KeyError, RuntimeError):
        raise CallFailedError(
            f"{address}/.well-known/openid-configuration does not describe a gateway at this "
            "address: use the address that its GATEWAY_BASE_URL says."
        ) from None
    token = answer.get("access_token")
    if not token:
        reason = answer.get("error_description") or answer.get("error")
        raise CallFailedError(f"The gateway gave no token: {reason}")
    return str(token)


def _open_session(address: str, certificate: Path | None) -> requests.Session:
    import requests

    session = requests.Session()
    if certificate is not None:
        session.proxies.update(requests.utils.get_environ_proxies(address))
        session.trust_env = False
        session.verify = str(certificate)
    session.request = partial(session.request, timeout=_TOKEN_SECONDS)  # type: ignore[method-assign]
    return session
