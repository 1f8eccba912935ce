"""Which stage of an import uses the processor, for the bench `stages`.

A timer interrupts the process after every few milliseconds of processor time. The time since the
last interruption goes to the stage of the innermost function on the stack that `STAGES` names. Work
for threads is done by the main thread, because only that one is interrupted. On SIGUSR1 the process
prints the sums as a line of JSON to standard error, and begins anew.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Final

PREFIX: Final = "stages: "
REST: Final = "the rest"
_SECONDS: Final = 0.002

# Of each stage the functions (module, name; "" is all of the module) within which its time goes.
# Where one of them calls another, the inner one counts.
STAGES: Final = {
    "read the call: split into rows, key, plan": (
        ("shared/services/accept.py", "_read_plan"),
        ("shared/imports/planning.py", ""),
    ),
    "seal and open blocks of the payload": (
        ("shared/storage/sealed_storage.py", "_sealed_blocks"),
        ("shared/storage/sealed_storage.py", "_opened_blocks"),
    ),
    "read the chunk: parse, names, fields": (
        ("shared/services/record_processor.py", "read_slices"),
    ),
    "unchanged: compare digests": (
        ("shared/services/sent_rows.py", ""),
        ("shared/services/record_processor.py", "_find_unchanged"),
    ),
    "stored records: parse": (
        ("shared/storage/business_records.py", "from_any_entity"),
        ("shared/storage/business_records.py", "from_entity"),
        ("shared/storage/sealed_storage.py", "_open_entity"),
    ),
    "decide: rules, plausibility, merge": (("shared/services/record_rules.py", "resolve"),),
    "encode the record": (
        ("shared/storage/business_records.py", "writing"),
        ("shared/storage/sealed_storage.py", "_seal_operation"),
    ),
    "transactions: text, size, answers": (
        ("shared/services/record_processor.py", "operation_bytes"),
        ("shared/storage/azure_tables.py", "_format_transaction"),
        ("shared/storage/azure_tables.py", "_check_answers"),
    ),
    "results and answer": (
        ("shared/services/results.py", ""),
        ("shared/storage/result_records.py", ""),
        ("shared/imports/results.py", ""),
        ("shared/web/responses.py", ""),
    ),
    "HTTP to storage": (
        ("site-packages/azure/core/", ""),
        ("site-packages/azure/data/", ""),
        ("site-packages/azure/storage/", ""),
        ("site-packages/aiohttp/", ""),
        ("shared/storage/azure_tables.py", ""),
        ("shared/storage/azure_blobs.py", ""),
    ),
    "the host: HTTP, polls, calls of functions": (
        ("/local_host/", ""),
        ("site-packages/azure/functions/", ""),
    ),
}


class _Sampler:
    """Sums up processor seconds by stage."""

    def __init__(self) -> None:
        self._places = [
            (module, name, stage) for stage, places in STAGES.items() for module, name in places
        ]
        self._stages: dict[CodeType, str] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._last = time.process_time()

    def look(self, _signal: int, frame: FrameType | None) -> None:
        """Note the processor time since the last look for the stage that is at work."""
        now = time.process_time()
        stage = ""
        while frame is not None and not stage:
            stage = self._stage_of(frame.f_code)
            frame = frame.f_back
        self._seconds[stage or REST] += now - self._last
        self._last = now

    def print_and_forget(self, _signal: int, _frame: FrameType | None) -> None:
        """Print the sums since the last time."""
        seconds, self._seconds = self._seconds, defaultdict(float)
        sys.stderr.write(f"{PREFIX}{json.dumps(seconds)}\n")
        sys.stderr.flush()

    def _stage_of(self, code: CodeType) -> str:
        stage = self._stages.get(code)
        if stage is None:
            found = (
                stage
                for module, name, stage in self._places
                if module in code.co_filename and name in ("", code.co_name)
            )
            stage = self._stages[code] = next(found, "")
        return stage


async def _in_main_thread(work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return work(*args, **kwargs)


def start() -> None:
    """Begin to sum up, in the main thread of a process."""
    asyncio.to_thread = _in_main_thread  # type: ignore[assignment]
    sampler = _Sampler()
    signal.signal(signal.SIGUSR1, sampler.print_and_forget)
    signal.signal(signal.SIGPROF, sampler.look)
    signal.setitimer(signal.ITIMER_PROF, _SECONDS, _SECONDS)
