"""A gateway's services on an account where nothing else takes messages from the queues."""

from __future__ import annotations

import pytest

from tests.emulator import Emulator


@pytest.fixture(scope="session")
def delivered(emulator: Emulator) -> str:
    """The account whose messages only the tests deliver."""
    return emulator.account("delivered")
