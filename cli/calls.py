"""Calls to a running gateway over HTTP: JSON, uploads of files, and bearer tokens."""

from __future__ import annotations

import io
import json
import secrets
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol
from urllib.parse import urljoin, urlsplit

from cli.environment import trusted_certificate
from shared.errors import GatewayError

if TYPE_CHECKING:
    import requests


CALL_SECONDS = 240
"""A little more than the platform gives a call."""


class CallFailedError(GatewayError):
    """The gateway did not answer, or not with JSON."""


class ImpossibleCallError(CallFailedError):
    """The call cannot be made at all, so that trying again does not help."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The credentials of a call."""

    software_key: str
    function_key: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        """As headers; their bytes are UTF-8, which `http.client` wants spelt as Latin-1."""
        software_key = self.software_key.encode("utf-8").decode("latin-1")
        return {"X-Functions-Key": self.function_key.strip(), "X-Software-Key": software_key}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `headers` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    document: Any

    @property
    def refusal(self) -> str:
        """The message of a refusal, or a sentence about its status."""
        message = self.document.get("message") if isinstance(self.document, dict) else None
        return str(message or f"The gateway answered {self.status}.")

    def pause_seconds(self, otherwise: float) -> float:
        """What Retry-After asks for, where it is a number of seconds."""
        text = self.headers.get("retry-after", "").strip()
        return float(text) if text.isascii() and text.isdigit() else otherwise


def send_import(url: str, path: str, body: bytes, keys: KeyPair) -> Answer:
    """Post an import and wait for its answer, also where the gateway answers 202 at first."""
    address = f"{url.rstrip('/')}{path}"
    headers = {"Content-Type": "application/json", **keys.headers()}
    answer = call("POST", address, headers, body)
    if answer.status == 202 and "location" in answer.headers:
        followed = urljoin(address, urlsplit(answer.headers["location"]).path)
        return _await_answer(f"{followed}/answer", keys)
    return answer


def _await_answer(address: str, keys: KeyPair) -> Answer:
    while True:
        answer = call("GET", address, keys.headers())
        if answer.status != 202:
            return answer
        time.sleep(answer.pause_seconds(2.0))


class Readable(Protocol):
    """A body that is read block by block; its Content-Length is among the headers."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; none at the end."""


def call(
    method: str,
    address: str,
    headers: Mapping[str, str],
    body: bytes | Readable | None = None,
) -> Answer:
    """One call. Raises CallFailedError; a refusal is an answer."""
    _check_address(address)
    _check_headers(headers)
    request = urllib.request.Request(address, body, dict(headers), method=method)  # noqa: S310
    try:
        with _build_opener(address).open(request, timeout=CALL_SECONDS) as response:
            return _read_answer(response.status, response.headers.items(), response.read())
    except urllib.error.HTTPError as error:
        with error:
            return _read_answer(error.code, error.headers.items(), error.read())
    except (OSError, HTTPException, ValueError) as error:
        raise CallFailedError(
            f"No answer from {address}: is the gateway running? ({type(error).__name__})"
        ) from error


def address_of(url: str, path: str) -> str:
    """The address of a path of the gateway at `url`. Raises ImpossibleCallError."""
    _check_address(url)
    return urljoin(f"{url.rstrip('/')}/", path.lstrip("/"))


def _check_address(address: str) -> None:
    """Raises ImpossibleCallError for what is no address of a gateway."""
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
    """Raises ImpossibleCallError for a header that HTTP cannot carry; never quotes its value."""
    for name, value in headers.items():
        is_latin = all(character < "\u0100" for character in value)
        if not is_latin or any(character in "\r\n\0" for character in value):
            raise ImpossibleCallError(
                f"The header {name} cannot be sent: its value has a line break, or a character "
                "that a header cannot carry. Correct the key or the option that it is made of."
            )


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The gateway never sends a caller elsewhere, and the library would take the keys along."""

    def redirect_request(self, *_: Any) -> None:
        """None leaves the answer as it is."""


def _build_opener(address: str) -> urllib.request.OpenerDirector:
    """A proxy of the environment is not asked for this very machine."""
    handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
    if urlsplit(address).hostname in ("127.0.0.1", "localhost", "::1"):
        handlers.append(urllib.request.ProxyHandler({}))
    certificate = trusted_certificate(address)
    if certificate is not None:
        trust = ssl.create_default_context(cafile=certificate)
        handlers.append(urllib.request.HTTPSHandler(context=trust))
    return urllib.request.build_opener(*handlers)


def _read_answer(status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Answer:
    named = {name.lower(): value for name, value in headers}
    try:
        return Answer(status, named, json.loads(body) if body else None)
    except ValueError:
        raise CallFailedError(f"The gateway answered {status} without JSON.") from None


# A bearer token for the commands, fetched by msal from the gateway's own discovery document.
#
# msal takes https only, and an address with a path, which is why the gateway's documents are also
# there under `/connect`. It asks `requests`, and `requests` prefers REQUESTS_CA_BUNDLE over the
# certificate that a session is told to trust: so a session with one does not look at the
# environment.

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


# A form with one file as it goes over the wire: read block by block, never whole in memory.


class UploadForm:
    """What `http.client` reads as the body of a call; tells `sent` how much of the file went."""

    def __init__(
        self,
        fields: Mapping[str, str],
        name: str,
        content: IO[bytes],
        content_size: int,
        sent: Callable[[int], None],
    ) -> None:
        boundary = secrets.token_hex(16)
        head = b"".join(
            _part_head(boundary, f'name="{field}"') + text.encode() + b"\r\n"
            for field, text in fields.items()
        )
        head += _part_head(boundary, f'name="file"; filename="{_quote_name(name)}"')
        tail = f"\r\n--{boundary}--\r\n".encode()
        self.media_type = f"multipart/form-data; boundary={boundary}"
        self.size = len(head) + content_size + len(tail)
        self._parts: list[IO[bytes]] = [io.BytesIO(head), content, io.BytesIO(tail)]
        self._content = content
        self._sent = sent

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size`; none at the end."""
        while self._parts:
            block = self._parts[0].read(size)
            if block:
                if self._parts[0] is self._content:
                    self._sent(self._content.tell())
                return block
            self._parts.pop(0)
        return b""


def _part_head(boundary: str, disposition: str) -> bytes:
    return f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode()


def _quote_name(name: str) -> str:
    """As browsers write it."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


# Sending a document to a running gateway, block by block; with the standard library alone.


def _ignore_progress(_sent: int) -> None:
    """Nobody watches."""


def post_document(
    url: str,
    credentials: Mapping[str, str],
    file: Path,
    fields: Mapping[str, str],
    sent: Callable[[int], None] = _ignore_progress,
) -> Answer:
    """Send a file; `sent` is told how many of its bytes went. Raises CallFailedError."""
    with file.open("rb") as content:
        form = UploadForm(fields, file.name, content, file.stat().st_size, sent)
        headers = {
            **credentials,
            "Content-Type": form.media_type,
            "Content-Length": str(form.size),
        }
        return call("POST", f"{url.rstrip('/')}/api/import/documents", headers, form)


def send_document(
    url: str,
    credentials: Mapping[str, str],
    file: Path,
    fields: Mapping[str, str],
    sent: Callable[[int], None] = _ignore_progress,
) -> dict[str, Any]:
    """The same, and what became of the document. Raises CallFailedError for a refusal too."""
    answer = post_document(url, credentials, file, fields, sent)
    if answer.status != 200:
        raise CallFailedError(answer.refusal)
    [item] = answer.document["items"]
    return dict(item)
