"""A body over the gateway's limit is answered by the gateway as long as the host hands it over."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.contract.calls import check_refusal
from tests.e2e.gateway_process import ROOT, WORKERS, started
from tests.emulator import Emulator
from tests.tenants import a_sender

pytestmark = pytest.mark.e2e
HOST_LIMIT = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"
DEFAULT_OF_THE_HOST = 104_857_600


def test_body_over_both_usual_limits_is_413_with_the_settings_of_the_example(
    emulator: Emulator, tmp_path: Path
) -> None:
    values = json.loads((ROOT / "local.settings.example.json").read_text())["Values"]
    names = (HOST_LIMIT, "GATEWAY_MAX_BODY_BYTES")
    storage = emulator.account("killed")
    sender = a_sender(storage)
    with started(storage, tmp_path, **{name: values[name] for name in names}) as gateway:
        sent = {**sender.headers, "Content-Type": "application/json"}
        for size in (int(values["GATEWAY_MAX_BODY_BYTES"]) + 1, DEFAULT_OF_THE_HOST + 1):
            answer = gateway.call("POST", WORKERS, bytes(size), sent)
            check_refusal(answer, 413, values["GATEWAY_MAX_BODY_BYTES"])
        head = (
            f"POST {WORKERS} HTTP/1.1\r\nHost: h\r\nContent-Length: {int(values[HOST_LIMIT]) + 1}"
        )
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as connection:
            connection.sendall(f"{head}\r\nExpect: 100-continue\r\n\r\n".encode())
            answered = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answered.startswith(b"HTTP/1.1 500 ")
        assert answered.endswith(b"\r\n\r\n")
