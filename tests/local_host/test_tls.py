"""The local host over TLS, as Core Tools are with `--useHttps`."""

from __future__ import annotations

import json
import ssl
import subprocess
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from local_host.certificate import make_certificate
from tests.local_host.running_host import ROOT, SAMPLE, command, host_environment, started

pytestmark = pytest.mark.integration
NAME = "SAMPLE_ADDRESS"


def test_over_tls_the_app_sees_https_and_is_told_its_address(
    connection_string: str, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path)
    tls = ("--tls-cert", str(certificate), "--tls-key", str(tmp_path / "key.pem"))
    environment = host_environment(connection_string)
    with started(environment, tmp_path, SAMPLE, *tls, "--address-setting", NAME) as host:
        trust = ssl.create_default_context(cafile=certificate)
        for name in ("127.0.0.1", "localhost"):
            address = f"https://{name}:{host.port}/echo?setting={NAME}"
            with urlopen(address, context=trust, timeout=10) as answer:
                document = json.load(answer)
                assert document["url"] == address
                assert document["setting"] == f"https://127.0.0.1:{host.port}"


def test_over_https_answers_ask_for_https(connection_string: str, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    tls = ("--tls-cert", str(certificate), "--tls-key", str(tmp_path / "key.pem"))
    environment = host_environment(connection_string)
    with started(environment, tmp_path, SAMPLE, *tls) as host:
        trust = ssl.create_default_context(cafile=certificate)
        for name, path, expected in (
            ("127.0.0.1", "/echo", "max-age=864000; preload"),
            ("127.0.0.1", "/nowhere", "max-age=864000; preload"),
            ("localhost", "/echo", None),
        ):
            try:
                answer = urlopen(f"https://{name}:{host.port}{path}", context=trust, timeout=10)
            except HTTPError as error:
                answer = error
            with answer:
                assert answer.headers["strict-transport-security"] == expected
    (tmp_path / "http").mkdir()
    with started(environment, tmp_path / "http", SAMPLE) as host:
        assert host.call("GET", "/echo").header("strict-transport-security") is None


def test_tls_files_that_cannot_be_used_are_refused(connection_string: str, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("no certificate")
    words = ("--tls-cert", str(tmp_path / "cert.pem"))
    environment = host_environment(connection_string)
    for more, status, message in (
        (("--tls-key", str(tmp_path / "none")), 1, "refused: TLS with"),
        ((), 2, "go together"),
    ):
        ended = subprocess.run(
            command(SAMPLE, *words, *more), cwd=ROOT, env=environment, capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (ended.returncode, ended.stdout) == (status, "")
        assert message in ended.stderr
