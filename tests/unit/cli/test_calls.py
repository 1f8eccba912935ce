"""What a call to a gateway sends, where it goes, and what it makes of an answer."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from cli.calls import CallFailedError, ImpossibleCallError, KeyPair, call, post_document
from local_host.certificate import make_certificate


class Recorder(BaseHTTPRequestHandler):
    """Keeps each request, and answers as its path says: `/302`, `/text`, otherwise JSON."""

    requests: list[tuple[str, str, dict[str, str], bytes]]

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        named = {name.lower(): value for name, value in self.headers.items()}
        self.requests.append((self.command, self.path, named, body))
        status = 302 if self.path == "/302" else 200
        content = b"text" if self.path == "/text" else b'{"items":[{"documentId":"d"}]}'
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        self.send_header("X-Import-Id", "i-1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *args: Any) -> None:
        """The output of a test stays clean."""


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    Recorder.requests = []
    with HTTPServer(("127.0.0.1", 0), Recorder) as started:
        thread = threading.Thread(target=started.serve_forever, args=(0.01,))
        thread.start()
        yield started
        started.shutdown()
        thread.join()


def _address(server: HTTPServer, path: str = "") -> str:
    return f"http://127.0.0.1:{server.server_port}{path}"


@pytest.fixture
def certificate(server: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The certificate of the server, which speaks TLS from here on; nothing trusts it yet."""
    made = make_certificate(tmp_path / "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, made.with_name("key.pem"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path))
    for name in ("GATEWAY_CA_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    return made


@pytest.mark.parametrize("name", ["GATEWAY_CA_FILE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_certificate_is_trusted_that_the_environment_or_the_machine_trusts(
    server: HTTPServer, certificate: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, str(certificate))
    assert call("GET", _address(server).replace("http:", "https:"), {}).status == 200


def test_the_named_file_of_certificates_is_the_only_one_that_is_trusted(
    server: HTTPServer, certificate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GATEWAY_CA_FILE", str(make_certificate(tmp_path / "other")))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with pytest.raises(CallFailedError, match=r"No answer from https://.*SSLError"):
        call("GET", _address(server).replace("http:", "https:"), {})


@pytest.mark.usefixtures("certificate")
def test_a_certificate_of_an_unknown_issuer_is_not_trusted(server: HTTPServer) -> None:
    with pytest.raises(CallFailedError, match=r"No answer from https://.*SSLError"):
        call("GET", _address(server).replace("http:", "https:"), {})


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    answer = call("GET", _address(server, "/x"), {})
    assert (answer.status, answer.headers["x-import-id"]) == (200, "i-1")


def test_a_proxy_of_the_environment_is_asked_for_other_machines(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", _address(server))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert call("GET", "http://gateway.example/x", {}).status == 200
    assert Recorder.requests[0][1] == "http://gateway.example/x"


def test_credentials_of_a_netrc_file_are_not_sent(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    call("GET", _address(server), {})
    assert "authorization" not in Recorder.requests[0][2]


def test_keys_travel_as_utf_8_without_blanks_around_them(server: HTTPServer) -> None:
    call("GET", _address(server), KeyPair(" Zażółć à ", " pig_made-up\n").headers())
    headers = Recorder.requests[0][2]
    assert headers["x-software-key"].encode("latin-1") == "Zażółć à".encode()
    assert headers["x-functions-key"] == "pig_made-up"


def test_a_header_that_cannot_be_sent_is_not_tried(server: HTTPServer) -> None:
    for value in ("a\nb", "\x0bkey", "ключ"):
        with pytest.raises(ImpossibleCallError, match="The header X-Key cannot be sent") as caught:
            call("GET", _address(server), {"X-Key": value})
        assert value not in str(caught.value)
    assert Recorder.requests == []


def test_a_redirect_is_not_followed(server: HTTPServer) -> None:
    assert call("GET", _address(server, "/302"), {"X-Functions-Key": "pig_x"}).status == 302
    assert [path for _, path, _, _ in Recorder.requests] == ["/302"]


def test_an_answer_that_is_not_json_fails_the_call(server: HTTPServer) -> None:
    with pytest.raises(CallFailedError, match="answered 200 without JSON"):
        call("GET", _address(server, "/text"), {})


def test_a_call_without_a_body_says_that_it_has_none(server: HTTPServer) -> None:
    call("POST", _address(server), {})
    call("POST", _address(server), {}, b"")
    assert [headers["content-length"] for _, _, headers, _ in Recorder.requests] == ["0", "0"]


def test_where_nothing_listens_the_call_fails_with_the_address(server: HTTPServer) -> None:
    with pytest.raises(CallFailedError, match=r"No answer from http://127\.0\.0\.1:9/x: is the"):
        call("GET", "http://127.0.0.1:9/x", {})


def test_a_file_is_sent_as_a_form_with_its_length_and_its_progress(
    server: HTTPServer, tmp_path: Path
) -> None:
    content = bytes(range(256)) * 400
    file = tmp_path / 'pay "ü".pdf'
    file.write_bytes(content)
    progress: list[int] = []
    answer = post_document(_address(server), {}, file, {"round": "é"}, progress.append)
    assert answer.status == 200
    method, path, headers, body = Recorder.requests[0]
    assert (method, path) == ("POST", "/api/import/documents")
    assert "transfer-encoding" not in headers
    form = re.fullmatch(r"multipart/form-data; boundary=(\S+)", headers["content-type"])
    assert form is not None
    edge = f"--{form[1]}".encode()
    field = 'Content-Disposition: form-data; name="round"\r\n\r\né'.encode()
    head = (
        'Content-Disposition: form-data; name="file"; filename="pay %22ü%22.pdf"\r\n\r\n'.encode()
    )
    assert body.split(edge) == [
        b"",
        b"\r\n" + field + b"\r\n",
        b"\r\n" + head + content + b"\r\n",
        b"--\r\n",
    ]
    assert progress == sorted(progress)
    assert progress[0] < len(content) == progress[-1]
