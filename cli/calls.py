"""Calls to a running gateway over HTTP: JSON, uploads of files, and bearer tokens."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from cli.environment import ca_bundle, trusted_certificate
from shared.errors import GatewayError

if TYPE_CHECKING:
    import requests
    from requests_toolbelt import MultipartEncoderMonitor  # type: ignore[import-untyped]


# A little more than the platform's limit for a call.
CALL_SECONDS = 240


class CallFailedError(GatewayError):
    """The gateway did not answer, or did not answer in JSON."""


class ImpossibleCallError(CallFailedError):
    """The call cannot be made at all. A retry does not help."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A function key with its software key."""

    software_key: str
    function_key: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        """The headers in UTF-8, decoded as Latin-1, which `requests` expects."""
        software_key = self.software_key.encode("utf-8").decode("latin-1")
        return {"X-Functions-Key": self.function_key.strip(), "X-Software-Key": software_key}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the gateway. `headers` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    document: Any

    @property
    def refusal(self) -> str:
        """The message of a refusal, or a sentence with its status."""
        message = self.document.get("message") if isinstance(self.document, dict) else None
        return str(message or f"The gateway answered {self.status}.")

    def pause_seconds(self, default: float) -> float:
        """The seconds of Retry-After, or `default` if it is not a number."""
        text = self.headers.get("retry-after", "").strip()
        return float(text) if text.isascii() and text.isdigit() else default


def send_import(url: str, path: str, body: bytes, keys: KeyPair) -> Answer:
    """Post an import and wait for its final answer, even if the gateway answers 202 first."""
    address = f"{url.rstrip('/')}{path}"
    headers = {"Content-Type": "application/json", **keys.headers()}
    answer = call("POST", address, headers, body)
    if answer.status == 202 and "location" in answer.headers:
        follows = urljoin(address, urlsplit(answer.headers["location"]).path)
        answer = call("GET", f"{follows}/answer", keys.headers())
        while answer.status == 202:
            time.sleep(answer.pause_seconds(2.0))
            answer = call("GET", f"{follows}/answer", keys.headers())
    return answer


def call(
    method: str,
    address: str,
    headers: Mapping[str, str],
    body: bytes | MultipartEncoderMonitor | None = None,
) -> Answer:
    """Make one call. Raises CallFailedError. A refusal is an answer."""
    _check_address(address)
    _check_headers(headers)
    # `requests` refuses a blank in front of a value. A server ignores it.
    base = {name: value.strip(" \t") for name, value in headers.items()}
    try:
        with _open_session(address) as session:
            # The gateway never redirects, and the keys must not go to another address.
            response = session.request(
                method,
                address,
                data=body,
                headers=base,
                timeout=CALL_SECONDS,
                allow_redirects=False,
            )
    except (OSError, ValueError) as error:
        # The errors of `requests` are OSErrors. An address or a header that it refuses is a
        # ValueError.
        raise CallFailedError(
            f"No answer from {address}: is the gateway running? ({type(error).__name__})"
        ) from error
    content = response.content
    try:
        document = json.loads(content) if content else None
    except ValueError:
        raise CallFailedError(
            f"The gateway answered {response.status_code} without JSON."
        ) from None
    lower_case = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, lower_case, document)


def address_of(url: str, path: str) -> str:
    """The address of a path of the gateway at `url`. Raises ImpossibleCallError."""
    _check_address(url)
    return urljoin(f"{url.rstrip('/')}/", path.lstrip("/"))


def _check_address(address: str) -> None:
    """Raises ImpossibleCallError for an invalid address."""
    try:
        parts = urlsplit(address)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_address = is_address and (parts.port is None or parts.port > 0)
    except ValueError:
        is_address = False
    if not is_address or not address.isascii() or not address.isprintable() or " " in address:
        raise ImpossibleCallError(
            "The gateway's address must begin with http:// or https:// and name a host, without "
            "blanks."
        )


def _check_headers(headers: Mapping[str, str]) -> None:
    """Raises ImpossibleCallError for a header that HTTP cannot carry, without quoting its value."""
    for name, value in headers.items():
        is_latin = all(character < "\u0100" for character in value)
        has_bad_start = value.strip(" \t")[:1].isspace()
        if not is_latin or has_bad_start or any(character in "\r\n\0" for character in value):
            raise ImpossibleCallError(
                f"The header {name} cannot be sent: its value has a line break, or a character "
                "that a header cannot carry. Correct the key or the option that it is made of."
            )


def _open_session(address: str) -> requests.Session:
    """Open a session for calls to one address. Raises SettingsError.

    If a certificate is configured, the session trusts only that. Otherwise it trusts the
    authorities of this machine, and those of REQUESTS_CA_BUNDLE or else of the library.
    """
    # Slow to import, and most commands make no call.
    import requests
    from requests.adapters import HTTPAdapter

    class SystemTrustAdapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            options["ssl_context"] = ssl.create_default_context()
            super().init_poolmanager(*args, **options)

        def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
            options["ssl_context"] = ssl.create_default_context()
            return super().proxy_manager_for(*args, **options)

    certificate = trusted_certificate(address)
    session = requests.Session()
    # The library would prefer REQUESTS_CA_BUNDLE over the certificate, and send what `.netrc` has.
    session.trust_env = False
    parts = urlsplit(address)
    # The proxy of the environment is not asked for this machine itself.
    if parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        session.proxies.update(requests.utils.get_environ_proxies(address))
    if certificate is not None:
        session.verify = str(certificate)
    elif parts.scheme == "https":
        session.verify = ca_bundle() or True
        session.mount("https://", SystemTrustAdapter())
    return session


# A bearer token for the commands, fetched by msal from the gateway's own discovery document.
#
# msal accepts only https, and only an address with a path, so the gateway also serves its documents
# under `/connect`.

_TOKEN_SECONDS = 30


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """The id and the secret of a client."""

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
        with _open_session(address) as session:
            request = partial(session.request, timeout=_TOKEN_SECONDS)
            session.request = request  # type: ignore[method-assign]
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


# Uploads of files.


def _ignore_progress(_sent: int) -> None:
    """The default `on_progress`, which shows nothing."""


def post_document(
    url: str,
    credentials: Mapping[str, str],
    file: Path,
    fields: Mapping[str, str],
    on_progress: Callable[[int], None] = _ignore_progress,
) -> Answer:
    """Send a file block by block, without reading it all into memory. Raises CallFailedError.

    `on_progress` is called with the number of bytes of the file that were sent so far.
    """
    from requests_toolbelt import MultipartEncoder, MultipartEncoderMonitor

    with file.open("rb") as content:
        form = MultipartEncoder({**fields, "file": (file.name, content)})
        body = MultipartEncoderMonitor(form, lambda _: on_progress(content.tell()))
        headers = {**credentials, "Content-Type": form.content_type}
        return call("POST", f"{url.rstrip('/')}/api/import/documents", headers, body)


def send_document(
    url: str,
    credentials: Mapping[str, str],
    file: Path,
    fields: Mapping[str, str],
    on_progress: Callable[[int], None] = _ignore_progress,
) -> dict[str, Any]:
    """Send a file and return its document. Raises CallFailedError for a refusal too."""
    answer = post_document(url, credentials, file, fields, on_progress)
    if answer.status != 200:
        raise CallFailedError(answer.refusal)
    [item] = answer.document["items"]
    return dict(item)
