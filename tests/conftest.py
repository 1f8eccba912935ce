"""One storage emulator for each process that runs tests, with an account for each kind of them.

`dev.py test` runs the whole suite in three processes and a narrow one in a single process. A test
with the mark `quiet` measures time: no other test runs beside it.

Queues belong to an account, and every gateway process takes from them: tests that run a gateway of
their own, or deliver messages themselves, use an account that no other gateway works on. Within an
account each test makes a tenant of its own.
"""

from __future__ import annotations

import fcntl
import gc
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from local_host.setup.azurite import ACCOUNT, Programs, running
from tests.emulator import Emulator

# Without bytecode in `__pycache__` each process that a test starts would compile the app again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

TESTS = Path(__file__).parent
ACCOUNTS = (
    ACCOUNT,
    "contract",
    "clients",
    "keys",
    "telemetry",
    "early",
    "tls",
    "changes",
    "killed",
    "counted",
    "ordered",
    "delivered",
    "native",
    "guides",
    "documents",
    "dropped",
    "proxied",
    "slow",
    "compared",
    "searched",
    "standin",
    "standin2",
    "console",
    "backup",
)

COMPUTING = ("unit", "model", "budgets", "golden")
"""The folders whose tests hardly wait for anything."""
MIDDLE_OF_THE_CONTRACT = "test_pay"


WORKERS = 3
"""Processes for the whole suite. Each has an emulator and gateways of its own, on free ports.

They are more than two processors, because many tests wait for leases, timers and limits of time.
"""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """How many processes `-n auto` starts; 0 runs the tests in this one."""
    is_narrow = config.args_source is not pytest.Config.ArgsSource.TESTPATHS or any(
        config.getoption(name) for name in ("keyword", "markexpr", "lf", "stepwise")
    )
    return 0 if is_narrow else WORKERS


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spare the garbage collector the modules and tests, of which none is garbage until the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # it has no types
    """Each process takes one file after another; of the contract a half of its folder at once.

    These tests share a gateway, which costs time as long as it runs, whether it is used or not.
    """

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


def scope_of(nodeid: str) -> str:
    """What one process takes as a whole: a file, or a half of the contract."""
    file = nodeid.partition("::")[0]
    folder, _, name = file.rpartition("/")
    return f"{folder}/{name < MIDDLE_OF_THE_CONTRACT}" if folder == "tests/contract" else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Used by `-n`, where `dev.py test` says nothing else."""
    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the files of a run in several processes.

    A file with a quiet test comes first: then no process has a long test that it would wait for.
    The contract follows, whose halves take longest, the second one later. Files whose tests compute
    and files whose tests wait take turns, so that the processors have work while something waits.
    """
    if not hasattr(config, "workerinput"):
        return
    quiet = {item.path for item in items if item.get_closest_marker("quiet") is not None}
    files: dict[bool, list[Path]] = {True: [], False: []}
    for path in dict.fromkeys(item.path for item in items):
        files[path.relative_to(TESTS).parts[0] in COMPUTING].append(path)
    place = {
        path: number / len(paths) for paths in files.values() for number, path in enumerate(paths)
    }

    def order(item: pytest.Item) -> tuple[int, float]:
        if item.path in quiet:
            return (0, 0.0)
        if item.path.parent == TESTS / "contract":
            return (1, 0.0) if item.path.name < MIDDLE_OF_THE_CONTRACT else (2, 0.3)
        return (2, place[item.path])

    items.sort(key=order)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """First of all hooks, so that a timeout counts from when the test has begun."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    with _running(is_quiet=item.get_closest_marker("quiet") is not None):
        return (yield)


@contextmanager
def _running(*, is_quiet: bool) -> Iterator[None]:
    """The time of one test: a quiet one waits for the tests of other processes and holds them up.

    The files that are locked are of no matter; every process of the run knows them.
    """
    entrance, room = (TESTS / "__init__.py").open("rb"), (TESTS / "conftest.py").open("rb")
    with entrance, room:
        # Without the entrance, tests that follow one another could keep a quiet one out for ever.
        fcntl.flock(entrance, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if is_quiet else fcntl.LOCK_SH)
        fcntl.flock(entrance, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(room, fcntl.LOCK_UN)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """The running emulator; it writes a line for each request to its access log."""
    log = tmp_path_factory.mktemp("emulator") / "access.log"
    with running(
        Programs.from_environ(), log=log, accounts=ACCOUNTS, has_access_log=True
    ) as azurite:
        yield Emulator(azurite, log)


@pytest.fixture(scope="session")
def connection_string(emulator: Emulator) -> str:
    """The usual account, with the gateway's tables in it; no gateway process works on it."""
    return emulator.account(ACCOUNT)
