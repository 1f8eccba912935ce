"""Calls to a running gateway over HTTP, with the standard library alone."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, Protocol
from urllib.parse import urljoin, urlsplit

from cli.surroundings import trusted_certificate
from shared.errors import GatewayError

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
