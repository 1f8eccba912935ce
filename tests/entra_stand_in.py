"""A stand-in for Entra ID, over TLS: its metadata, its keys, its token endpoint, signed tokens.

It publishes what a directory of Entra publishes (docs/platform.md#entra): two versions of the
metadata with issuers of their own, keys with certificates and more than one needs, and it answers
token requests of registered applications with RS256 tokens of either version, errors with AADSTS
numbers.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric import rsa

from local_host.certificate import make_certificate

TENANT = "72f988bf-0000-4000-8000-2d7cd011db47"
AUDIENCE = "api://payroll"
GATEWAY_ID = "11111111-2222-4333-8444-555555555555"
"""The client id of the gateway's own application, which newer tokens have as their audience."""


class EntraStandIn:
    """A running stand-in. `applications` maps client ids to their secrets."""

    def __init__(self, url: str, certificate: Path) -> None:
        self.url = url
        self.certificate = certificate
        self.applications: dict[str, str] = {}
        self.roles = ["import_inbox"]
        self.version = "2.0"
        self.requests: list[str] = []
        self.is_away = False
        self.keys: dict[str, rsa.RSAPrivateKey] = {}
        self.add_key()

    @property
    def settings(self) -> dict[str, str]:
        """What makes a gateway's process take its tokens."""
        return {
            "GATEWAY_IDENTITY_PROVIDER": "entra",
            "GATEWAY_ENTRA_TENANT": TENANT,
            "GATEWAY_ENTRA_AUTHORITY": self.url,
            "GATEWAY_AUDIENCE": f"{AUDIENCE},{GATEWAY_ID}",
            "REQUESTS_CA_BUNDLE": str(self.certificate),
        }

    def session(self) -> requests.Session:
        """A session that trusts it, whatever the environment says."""
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self.certificate)
        return session

    def add_key(self) -> str:
        """Roll over: a further key is published and signs from now on; returns its id."""
        kid = uuid.uuid4().hex
        self.keys[kid] = rsa.generate_private_key(65537, 2048)
        return kid

    def issuer(self, version: str) -> str:
        """The older version's is on another host than everything else."""
        return (
            f"{self.url}/{TENANT}/v2.0"
            if version == "2.0"
            else f"https://sts.windows.net/{TENANT}/"
        )

    def claims(self, application: str, version: str = "2.0") -> dict[str, Any]:
        """What the token of an application says."""
        now = int(time.time())
        own = {"azp": application, "azpacr": "1"} if version == "2.0" else {"appid": application}
        return {
            "aud": GATEWAY_ID if version == "2.0" else AUDIENCE,
            "iss": self.issuer(version),
            "iat": now,
            "nbf": now,
            "exp": now + 3_599,
            "sub": str(uuid.uuid4()),
            "tid": TENANT,
            "ver": version,
            "uti": uuid.uuid4().hex,
            "roles": list(self.roles),
            **own,
        }

    def sign(self, claims: Mapping[str, Any], kid: str = "") -> str:
        """A token with these claims, by the newest key or by another one of its own."""
        chosen = kid or list(self.keys)[-1]
        body = json.dumps(dict(claims)).encode()  # The library refuses to write some claims.
        return jwt.PyJWS().encode(body, self.keys[chosen], "RS256", {"kid": chosen})

    def answer(self, path: str, form: Mapping[str, list[str]] | None) -> tuple[int, Any]:
        """What is at an address; `form` is the body of a POST."""
        self.requests.append(path)
        if self.is_away:
            return 503, {"error": "temporarily_unavailable"}
        published = {
            f"/{TENANT}/.well-known/openid-configuration": lambda: self._metadata("1.0"),
            f"/{TENANT}/v2.0/.well-known/openid-configuration": lambda: self._metadata("2.0"),
            "/common/discovery/keys": self._jwks,
            f"/{TENANT}/discovery/v2.0/keys": self._jwks,
        }
        if form is None and path in published:
            return 200, published[path]()
        if form is not None and path == f"/{TENANT}/oauth2/v2.0/token":
            return self._token({name: values[0] for name, values in form.items()})
        return 404, {"error": "invalid_request"}

    def _metadata(self, version: str) -> dict[str, Any]:
        old = version == "1.0"
        start = f"{self.url}/{TENANT}/oauth2" + ("" if old else "/v2.0")
        keys = "common/discovery/keys" if old else f"{TENANT}/discovery/v2.0/keys"
        return {
            "issuer": self.issuer(version),
            "token_endpoint": f"{start}/token",
            "authorization_endpoint": f"{start}/authorize",
            "jwks_uri": f"{self.url}/{keys}",
            "tenant_region_scope": "EU",
        }

    def _jwks(self) -> dict[str, Any]:
        others = [{"kty": "EC", "kid": "other", "crv": "P-256"}, {"kty": "RSA", "kid": "broken"}]
        keys = []
        for kid, private in self.keys.items():
            public = jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
            numbers = {"n": public["n"], "e": public["e"]}
            more = {"x5t": kid, "x5c": ["MIIC"], "cloud_instance_name": "example"}
            keys.append({"kty": "RSA", "use": "sig", "kid": kid, **numbers, **more})
        return {"keys": [*others, *keys]}

    def _token(self, form: Mapping[str, str]) -> tuple[int, Any]:
        application = form.get("client_id", "")
        if application not in self.applications:
            return 400, _error("unauthorized_client", 700016, "Application was not found.")
        if form.get("client_secret") != self.applications[application]:
            return 401, _error("invalid_client", 7000215, "Invalid client secret provided.")
        if form.get("grant_type") != "client_credentials":
            return 400, _error("unsupported_grant_type", 70003, "Grant type not supported.")
        if form.get("scope") != f"{AUDIENCE}/.default":
            return 400, _error("invalid_resource", 500011, "Resource principal was not found.")
        token = self.sign(self.claims(application, self.version))
        return 200, {"token_type": "Bearer", "expires_in": 3599, "access_token": token}


def _error(error: str, number: int, text: str) -> dict[str, Any]:
    description = f"AADSTS{number}: {text} Trace ID: {uuid.uuid4()}"
    return {"error": error, "error_description": description, "error_codes": [number]}


@contextmanager
def running_stand_in(folder: Path) -> Iterator[EntraStandIn]:
    """A stand-in on a free port for the time of the block."""
    certificate = make_certificate(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    stand_in = EntraStandIn(f"https://127.0.0.1:{server.server_port}", certificate)
    server.RequestHandlerClass = _handler_of(stand_in)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler_of(stand_in: EntraStandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(*stand_in.answer(self.path, None))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._send(*stand_in.answer(self.path, parse_qs(body)))

        def log_message(self, *args: Any) -> None:
            return

        def _send(self, status: int, document: Any) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
