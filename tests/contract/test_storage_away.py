"""Storage does not answer: nothing is accepted, and the caller is told to come again.

See docs/design.md#6.
"""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from shared.storage_account import emulator_connection_string
from tests.builders import a_worker, body_of
from tests.contract.refusals import check_refusal
from tests.e2e.gateway_process import WORKERS, started

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("host", ["127.0.0.1", "storage.invalid"])
def test_a_gateway_without_its_storage_answers_503(tmp_path: Path, host: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        ports = dict.fromkeys(("blob", "queue", "table"), port)
        storage = emulator_connection_string(host, ports)
        with started(storage, tmp_path, LOCAL_HOST_STOP_SECONDS="1") as gateway:
            keys = {"X-Functions-Key": "pig_any", "X-Software-Key": "any"}
            for answer, said in (
                (gateway.call("GET", "/api/health"), "Storage does not answer"),
                (
                    gateway.call("POST", WORKERS, body_of([a_worker("P1")]), keys),
                    "nothing was accepted",
                ),
            ):
                check_refusal(answer, 503, said)
                assert int(answer.headers["retry-after"]) > 0
