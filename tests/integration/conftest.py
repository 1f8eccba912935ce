"""A gateway's services on an account where nothing else takes messages from the queues."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.emulator import Emulator
from tests.integration.manage import Manage


@pytest.fixture(scope="session")
def delivered(emulator: Emulator) -> str:
    """The account whose messages only the tests deliver."""
    return emulator.account("delivered")


@pytest.fixture
def manage(connection_string: str, tmp_path: Path) -> Manage:
    return Manage(connection_string, tmp_path)


@pytest.fixture
def tenant(manage: Manage) -> str:
    """The id of a new tenant with a name that is no id."""
    return str(manage.document("tenant", "create", f"Büro {uuid.uuid4()}")["tenant"])
