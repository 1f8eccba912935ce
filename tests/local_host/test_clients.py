"""Clients that offer HTTP/2 with a POST: Java's own, and curl."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.local_host.running_host import RunningHost

pytestmark = pytest.mark.integration
_CLIENT = Path(__file__).parent / "Client.java"


@pytest.mark.skipif(shutil.which("java") is None, reason="no java on this machine")
def test_java_http_client_gets_its_body_through(host: RunningHost) -> None:
    """HTTP/2 is what java.net.http.HttpClient prefers unless it is told otherwise."""
    command = ["java", str(_CLIENT), f"http://127.0.0.1:{host.port}/echo", "a row of text"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["text"] for answer in answers] == ["a row of text"] * 2
    assert answers[0]["headers"]["upgrade"] == "h2c"


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_curl_with_http2_gets_its_body_through(host: RunningHost) -> None:
    curl = ["curl", "-sS", "--max-time", "60", "--http2", "--noproxy", "*", "-d", "a row of text"]
    address = f"http://127.0.0.1:{host.port}/echo"
    done = subprocess.run([*curl, address], capture_output=True, check=False, timeout=90)
    if b"HTTP2" in done.stderr and b"support" in done.stderr:
        pytest.skip("this curl has no HTTP/2")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["text"] == "a row of text"
