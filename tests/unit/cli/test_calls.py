"""What a command sends to a gateway, where it sends it, and what it makes of an answer."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.calls import CallFailedError, ImpossibleCallError, KeyPair, call, post_document
from cli.environment import (
    LocalGateway,
    commands_settings,
    data_folder,
    local_gateway,
    trusted_certificate,
)
from cli.import_client import ChunkLimits, RowTooLargeError, cut_into_chunks
from local_host.certificate import make_certificate
from shared.errors import SettingsError

# What a call to a gateway sends, where it goes, and what it makes of an answer.


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
    files = make_certificate(tmp_path / "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files, files.with_name("key.pem"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path))
    for name in ("GATEWAY_CA_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    return files


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


def test_a_call_to_a_closed_port_fails_with_the_address(server: HTTPServer) -> None:
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


# A file cut into calls: nothing over the limits, nothing lost, the same keys each time.

ROWS = st.lists(
    st.text(max_size=20).map(json.dumps).map(lambda text: f'{{"A":{text}}}'), max_size=40
)


@given(rows=ROWS, most=st.integers(1, 7), size=st.integers(200, 400))
def test_parts_keep_to_the_limits_and_together_are_the_file(
    rows: list[str], most: int, size: int
) -> None:
    parts = cut_into_chunks(rows, ChunkLimits(most, size), "workers", "pig_x")
    assert [row for part in parts for row in part.rows] == rows
    assert [part.first for part in parts] == [
        sum(len(earlier.rows) for earlier in parts[:place]) for place in range(len(parts))
    ]
    for part in parts:
        assert 1 <= len(part.rows) <= most
        assert len(part.body()) <= size
        assert json.loads(part.body()) == [json.loads(row) for row in part.rows]
    assert len({part.key for part in parts}) == len(parts)
    assert cut_into_chunks(rows, ChunkLimits(most, size), "workers", "pig_x") == parts


def test_a_key_says_which_rows_of_which_file_are_asked_for_how() -> None:
    limits = ChunkLimits(1, 1_000)
    keys = {
        part.key
        for rows in (['{"A":1}', '{"A":1}'], ['{"A":1}', '{"A":2}'])
        for query in ("workers", "workers again")
        for part in cut_into_chunks(rows, limits, query, "pig_x")
    }
    assert len(keys) == 8
    assert all(len(key) <= 255 for key in keys)


def test_a_row_that_no_call_carries_is_named() -> None:
    with pytest.raises(RowTooLargeError, match=r"index 1 \(line 6\) has 40 bytes"):
        cut_into_chunks(["{}", "x" * 40], ChunkLimits(10, 42), "", "pig_x", [2, 6])


def test_a_key_of_a_call_cannot_be_made_without_the_secret() -> None:
    limits = ChunkLimits(10, 1_000)
    keys = [
        cut_into_chunks(["{}"], limits, "authdata", secret)[0].key
        for secret in ("pig_x", "pig_y", "")
    ]
    assert len(set(keys)) == 3


# Which storage a command works on, and how a key pair travels.

LOCAL = "DefaultEndpointsProtocol=http;AccountName=local;AccountKey=bG9jYWw=;"
GIVEN = "DefaultEndpointsProtocol=http;AccountName=given;AccountKey=Z2l2ZW4=;"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment whose data folder says that a local gateway runs."""
    document = {"url": "http://127.0.0.1:7071", "storage": LOCAL, "pid": 1}
    (tmp_path / "gateway.json").write_text(json.dumps(document))
    return {"GATEWAY_DATA": str(tmp_path)}


def test_the_running_gateways_storage_is_the_default(environ: dict[str, str]) -> None:
    assert commands_settings(environ).storage.connection_string == LOCAL


def test_the_storage_of_the_environment_takes_precedence(environ: dict[str, str]) -> None:
    settings = commands_settings({**environ, "AzureWebJobsStorage": GIVEN})
    assert settings.storage.connection_string == GIVEN
    by_identity = commands_settings({**environ, "AzureWebJobsStorage__accountName": "acct"})
    assert by_identity.storage.uses_identity


def test_other_settings_of_the_environment_count(environ: dict[str, str]) -> None:
    assert commands_settings({**environ, "GATEWAY_MAX_ROWS": "5"}).max_rows == 5
    with pytest.raises(SettingsError, match="GATEWAY_MAX_ROWS"):
        commands_settings({**environ, "GATEWAY_MAX_ROW": "5"})


def test_the_file_of_a_gateway_is_read_without_showing_its_storage(environ: dict[str, str]) -> None:
    gateway = local_gateway(environ)
    assert gateway == LocalGateway("http://127.0.0.1:7071", LOCAL)
    assert "bG9jYWw=" not in repr(gateway)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"url": "http://127.0.0.1"}'])
def test_a_broken_file_of_a_gateway_is_reported(environ: dict[str, str], text: str) -> None:
    (data_folder(environ) / "gateway.json").write_text(text)
    with pytest.raises(SettingsError, match=r"gateway\.json"):
        commands_settings(environ)


def test_the_certificate_of_the_running_gateway_is_trusted_at_its_own_address_only(
    environ: dict[str, str],
) -> None:
    url = "https://127.0.0.1:7071"
    assert trusted_certificate(url, environ) is None
    document = {"url": url, "storage": LOCAL, "pid": 1, "certificate": "/data/tls/cert.pem"}
    (data_folder(environ) / "gateway.json").write_text(json.dumps(document))
    assert trusted_certificate(f"{url}/api/imports", environ) == Path("/data/tls/cert.pem")
    for other in ("https://127.0.0.1:70712", "https://127.0.0.1.example", "https://a.example"):
        assert trusted_certificate(other, environ) is None


def test_a_named_certificate_file_takes_precedence_and_must_exist(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("")
    named = {"GATEWAY_CA_FILE": str(file)}
    assert trusted_certificate("https://gateway.example", named) == file
    with pytest.raises(SettingsError, match="GATEWAY_CA_FILE"):
        trusted_certificate("https://gateway.example", {"GATEWAY_CA_FILE": str(tmp_path / "no")})


def test_without_a_running_gateway_there_is_no_address(tmp_path: Path) -> None:
    assert local_gateway({"GATEWAY_DATA": str(tmp_path)}) is None


def test_a_software_key_travels_as_utf_8() -> None:
    sent = KeyPair("Zażółć", " pig_made-up\n").headers()
    assert sent["X-Software-Key"].encode("latin-1") == "Zażółć".encode()
    assert sent["X-Functions-Key"] == "pig_made-up"
    assert "made-up" not in repr(KeyPair("A", "pig_made-up"))
