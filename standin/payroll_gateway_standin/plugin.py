"""The fixtures and options of the plugin."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from payroll_gateway_standin.calls import StandinError
from payroll_gateway_standin.process import installed_from, locked, shared_gateway
from payroll_gateway_standin.tenant import PayrollGateway, TenantGateway

_ALONE = "payroll_gateway_alone"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options in pytest.ini, pyproject.toml or tox.ini."""
    parser.addini(
        "payroll_gateway",
        "the folder of the gateway's checkout (default: where the plugin was installed from)",
        default="",
    )
    parser.addini(
        "payroll_gateway_settings",
        "settings of the gateway, as lines NAME=value",
        type="linelist",
        default=[],
    )
    parser.addini(
        "payroll_gateway_snapshots",
        "the folder of the files of snapshots (default: they are gone after the test run)",
        default="",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line(
        "markers", f"{_ALONE}: no other test uses the gateway meanwhile, so the clock can be moved"
    )


@pytest.fixture(scope="session")
def payroll_gateway_folder(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder that the processes of this test run share, with the gateway's log."""
    base = tmp_path_factory.getbasetemp()
    # Each process of pytest-xdist has a folder of its own in a common one.
    common = base.parent if hasattr(pytestconfig, "workerinput") else base
    return common / "payroll-gateway"


@pytest.fixture(scope="session")
def payroll_gateway(
    pytestconfig: pytest.Config, payroll_gateway_folder: Path
) -> Iterator[PayrollGateway]:
    """A running gateway, the same for all tests and all processes of pytest-xdist."""
    settings = pytestconfig.getini("payroll_gateway_settings")
    named = str(pytestconfig.getini("payroll_gateway_snapshots")).strip()
    snapshots = pytestconfig.rootpath / named if named else None
    repository = _repository(pytestconfig)
    with shared_gateway(repository, payroll_gateway_folder, settings, snapshots) as running:
        yield PayrollGateway(running.variables)


@pytest.fixture
def gateway(
    payroll_gateway: PayrollGateway,
    payroll_gateway_folder: Path,
    request: pytest.FixtureRequest,
) -> Iterator[TenantGateway]:
    """A tenant of the gateway that no other test knows."""
    is_alone = request.node.get_closest_marker(_ALONE) is not None
    with _turn(payroll_gateway_folder, is_alone=is_alone):
        tenant = payroll_gateway.new_tenant(is_alone=is_alone)
        # An earlier test that was alone may have died with its process.
        tenant.clock.restore()
        try:
            yield tenant
        finally:
            tenant.snapshots.clear_rules()
            if is_alone:
                tenant.clock.restore()


@contextmanager
def _turn(folder: Path, *, is_alone: bool) -> Iterator[None]:
    """The time of one test: one that is alone waits for those of other processes, and they for it.

    Without the first lock, tests that follow one another could keep it out for ever.
    """
    with ExitStack() as turn:
        with locked(folder / "entrance.lock"):
            turn.enter_context(locked(folder / "tests.lock", is_shared=not is_alone))
        yield


def _repository(config: pytest.Config) -> Path:
    named = os.environ.get("PAYROLL_GATEWAY", "").strip()
    if named:
        return Path(named).resolve()
    configured = str(config.getini("payroll_gateway")).strip()
    if configured:
        return (config.rootpath / configured).resolve()
    found = installed_from()
    if found is None:
        raise StandinError(
            "The plugin does not know where the gateway is: set payroll_gateway in the "
            "configuration of pytest to the folder of its checkout."
        )
    return found
