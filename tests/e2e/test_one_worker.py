"""The smallest whole path: one worker in, its result out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import a_worker
from tests.e2e.gateway_process import started
from tests.emulator import Emulator
from tests.tenants import a_sender

pytestmark = pytest.mark.e2e


def test_a_worker_goes_in_and_the_gateway_stops_when_asked(
    emulator: Emulator, tmp_path: Path
) -> None:
    storage = emulator.account("killed")
    sender = a_sender(storage)
    with started(storage, tmp_path) as gateway:
        [result] = gateway.post(sender, [a_worker("P1")]).results
        assert result["recordIds"] == [
            {"field": "EmployerRef", "value": "E1"},
            {"field": "PersonnelRef", "value": "P1"},
        ]
        assert result["importStatus"] == "OK"
        assert gateway.stop() == 0
