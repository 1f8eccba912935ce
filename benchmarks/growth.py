"""Bench `growth`: the requests of the timers' runs with idle tenants, and those of a one-row call
with finished imports, by what they are at the start.

The timers' functions run here, as the host runs them, while the gateway stands still. A run before
the one that is counted settles what new tenants cause once. The tenants have imported nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

from benchmarks.catalogue import Outcome
from benchmarks.measuring.access_log import AccessLog
from benchmarks.measuring.figures import quotient, rounded
from benchmarks.measuring.rig import Rig, Sender, running_rig, stopped
from benchmarks.measuring.tables import Line, number, render
from benchmarks.one_row import call_seconds
from benchmarks.options import Options
from local_host.indexing import load_functions
from local_host.setup.messages import note
from local_host.setup.paths import ROOT
from shared.bootstrap import gateway, open_gateway
from shared.settings import Settings
from shared.storage_account import CONNECTION, StorageAccount

_TIMERS: Final = {"sweep": "sweep", "upkeep": "authdata_upkeep", "retention": "retention"}
_MOST_IMPORTS: Final = 200
_CALLS: Final = 5
_AT_ONCE: Final = 8


def run(options: Options) -> Outcome:
    """Measure. `rows` is the number of tenants. Raises BenchError or SetupError."""
    tenants = options.rows[-1]
    imports = min(tenants, _MOST_IMPORTS)
    with running_rig(options.folder / "logs", has_access_log=True) as rig:
        sender = rig.new_sender()
        note(f"calls with one row before and after {imports:,} imports")
        few_imports = _requests_per_call(rig, sender, 0)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda at: _import_one(rig, sender, at), range(imports)))
        many_imports = _requests_per_call(rig, sender, imports)
    with running_rig(options.folder / "logs", has_access_log=True) as rig, stopped(rig.host):
        asyncio.run(_create_tenants(rig, range(1)))
        one = _timer_requests(rig)
        note(f"{tenants:,} tenants")
        asyncio.run(_create_tenants(rig, range(1, tenants)))
        many = _timer_requests(rig)
    by_one = {name: quotient(many[name], one[name]) for name in _TIMERS}
    document = {
        "tenants": tenants,
        "imports": imports,
        "requestsPerRun": {"oneTenant": one, "manyTenants": many},
        "requestsPerCall": {"noImports": few_imports, "manyImports": many_imports},
        "byOneTenant": {name: rounded(value) for name, value in by_one.items()},
    }
    lines = [
        Line(f"storage requests of a run, {tenants:,} idle tenants ÷ 1"),
        *(
            Line(f"  {name}", (f"{number(by_one[name])} ({many[name]} ÷ {one[name]})",))
            for name in _TIMERS
        ),
        Line(f"storage requests of a one-row call, after {imports:,} imports of its tenant ÷ none"),
        Line("  call", (f"{number(many_imports, 1)} ÷ {number(few_imports, 1)}",)),
    ]
    return Outcome(
        document, render(lines), {f"tenants/{name}": value for name, value in by_one.items()}
    )


def _requests_per_call(rig: Rig, sender: Sender, first: int) -> float:
    log = AccessLog(rig.access_log)
    with rig.connect(sender) as connection:
        log.begin()
        call_seconds(connection, _CALLS, 1_000_000 + first)
        log.settled()
        log.begin()
        call_seconds(connection, _CALLS, 2_000_000 + first)
        return log.settled().total / _CALLS


def _import_one(rig: Rig, sender: Sender, at: int) -> None:
    with rig.connect(sender) as connection:
        call_seconds(connection, 1, at)


async def _create_tenants(rig: Rig, numbers: Iterable[int]) -> None:
    settings = Settings(storage=StorageAccount(connection_string=rig.connection_string))
    waiting = iter(numbers)
    async with open_gateway(settings) as app:

        async def create() -> None:
            for at in waiting:
                # Without a look for the same name, which reads all tenants.
                await app.tenants.create(f"idle {at}", allows_same_name=True)

        await asyncio.gather(*(create() for _ in range(_AT_ONCE)))


def _timer_requests(rig: Rig) -> Mapping[str, int]:
    """The requests of one run of each timer's function."""
    functions = _functions()
    log = AccessLog(rig.access_log)

    async def count() -> Mapping[str, int]:
        requests: dict[str, int] = {}
        built = await gateway()
        for name, function in _TIMERS.items():
            await functions[function](None)
            log.begin()
            await functions[function](None)
            requests[name] = log.arrived()
        await built.account.close()
        return requests

    with _storage_in_environment(rig.connection_string):
        return asyncio.run(count())


def _functions() -> Mapping[str, Any]:
    """The app's functions by their names."""
    functions = load_functions(ROOT)
    return {str(each.get_function_name()): each.get_user_function() for each in functions}


@contextmanager
def _storage_in_environment(connection: str) -> Iterator[None]:
    """The gateway of this process reads its settings from the environment."""
    before = os.environ.get(CONNECTION)
    os.environ[CONNECTION] = connection
    try:
        yield
    finally:
        del os.environ[CONNECTION]
        if before is not None:
            os.environ[CONNECTION] = before
