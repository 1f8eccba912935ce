"""Bench `idle`: what a gateway without work asks of storage and of a processor.

All requests count, those that poll queues too. Timers run meanwhile as they fall due.
"""

from __future__ import annotations

import time

from benchmarks.catalogue import Outcome
from benchmarks.measuring.access_log import AccessLog
from benchmarks.measuring.figures import middle, quotient, rounded
from benchmarks.measuring.meters import spent
from benchmarks.measuring.rig import Rig, running_rig
from benchmarks.measuring.tables import Line, number, render
from benchmarks.options import Options
from benchmarks.payloads import one_row
from local_host.setup.messages import note

# A run of the sweep's timer, which is due every 30 s, falls into the time.
_SECONDS = 30.0
_QUICK_SECONDS = 3.0
# After the last message the pauses between polls grow for a while.
_SETTLING_SECONDS = 5.0


def run(options: Options) -> Outcome:
    """Measure. Raises BenchError or SetupError."""
    seconds = _QUICK_SECONDS if options.is_quick else _SECONDS
    requests: list[float] = []
    gateway: list[float | None] = []
    emulator: list[float | None] = []
    with running_rig(options.folder / "logs", has_access_log=True) as rig:
        with rig.connect(rig.new_sender()) as connection:
            connection.send_workers(one_row(0), 1)
        rig.wait_until_idle()
        time.sleep(_SETTLING_SECONDS if not options.is_quick else 1)
        for count in range(1, options.rounds + 1):
            note(f"round {count} of {options.rounds}: {seconds:.0f} s without work")
            _round(rig, seconds, requests, gateway, emulator)
    figures = {"idle/requests": middle(requests), "idle/processor": middle(gateway)}
    document = {
        "seconds": seconds,
        "requestsPerSecond": rounded(figures["idle/requests"]),
        "gatewayProcessor": rounded(figures["idle/processor"]),
        "emulatorProcessor": rounded(middle(emulator)),
    }
    lines = [
        Line(f"a gateway without work, {seconds:.0f} s"),
        Line("  storage requests a second", (number(figures["idle/requests"], 1),)),
        Line("  gateway, of a processor", (number(figures["idle/processor"], 3),)),
        Line("  emulator, of a processor", (number(middle(emulator), 3),)),
    ]
    return Outcome(document, render(lines), figures)


def _round(
    rig: Rig,
    seconds: float,
    requests: list[float],
    gateway: list[float | None],
    emulator: list[float | None],
) -> None:
    log = AccessLog(rig.access_log)
    log.begin()
    started_at = time.perf_counter()
    before = rig.gateway_meter.processor_seconds(), rig.emulator_meter.processor_seconds()
    time.sleep(seconds)
    after = rig.gateway_meter.processor_seconds(), rig.emulator_meter.processor_seconds()
    passed = time.perf_counter() - started_at
    requests.append(log.arrived() / passed)
    gateway.append(quotient(spent(before[0], after[0]), passed))
    emulator.append(quotient(spent(before[1], after[1]), passed))
