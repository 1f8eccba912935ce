"""Timer triggers: NCRONTAB in UTC, one run at a time, late missed runs (docs/platform.md#4).

The status blob of useMonitor is written. The blob lease by which only one of several processes runs
a timer is not implemented (PARITY.md).
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.functions.meta import Datum
from azure.storage.blob.aio import ContainerClient

from local_host.app_settings import InvocationFailedError, write_blob
from local_host.indexing import AppFunction
from local_host.invoking import Invoker, decode_trigger
from local_host.ncrontab import Schedule

_log = logging.getLogger(__name__)

# The time of day by which timers run, aware, in UTC.
Now = Callable[[], datetime]


def machine_time() -> datetime:
    """The time of day of the machine."""
    return datetime.now(UTC)


class TimerListener:
    """Runs one timer function."""

    def __init__(
        self,
        function: AppFunction,
        hosts: ContainerClient | None,
        host_id: str,
        invoker: Invoker,
        now: Now,
    ) -> None:
        """`hosts` stores the next occurrence for useMonitor; None: it is not stored."""
        self._function = function
        self._now = now
        self._schedule = Schedule.parse(str(function.trigger["schedule"]))
        self._hosts = hosts if self._is_monitored() else None
        self._status_name = f"timers/{host_id}/Host.Functions.{function.name}/status"
        self._invoker = invoker
        self._is_stopping = False
        self._wake = asyncio.Event()
        self._due_at: datetime | None = None
        self._is_firing = False
        self._runs = 0
        self._run_ended = asyncio.Event()

    async def run(self) -> None:
        """Run at each occurrence until stopped."""
        missed = await self._missed_run()
        if missed or self._function.trigger.get("runOnStartup"):
            await self._fire(is_past_due=missed)
        while not self._is_stopping:
            self._due_at = self._schedule.next_after(self._now())
            if self._due_at is None:
                return
            await self._pause((self._due_at - self._now()).total_seconds())
            # The clock may have been set back meanwhile: then another time is due.
            if self._now() >= self._due_at and not self._is_stopping:
                await self._fire(is_past_due=False)

    def stop(self) -> None:
        """Start no more runs."""
        self._is_stopping = True
        self._wake.set()

    async def wait_until_idle(self) -> None:
        """Wait for the end of a run."""
        while self._is_firing:
            self._run_ended.clear()
            await self._run_ended.wait()

    async def catch_up(self) -> str:
        """Look at the clock, which was moved. The function's name once it has run, or "".

        It was idle when the clock was moved.
        """
        is_due = self._due_at is not None and self._now() >= self._due_at
        runs = self._runs
        self._wake.set()
        while is_due and self._runs == runs and not self._is_stopping:
            self._run_ended.clear()
            await self._run_ended.wait()
        return self._function.name if is_due else ""

    def _is_monitored(self) -> bool:
        first = self._schedule.next_after(self._now())
        second = self._schedule.next_after(first) if first else None
        is_slow = first and second and (second - first).total_seconds() >= 60
        return bool(is_slow) and self._function.trigger.get("useMonitor") is not False

    async def _pause(self, seconds: float) -> None:
        """Wait at most a minute, since the clock may be changed, or until something wakes it."""
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(seconds, 0.0), 60.0)):
                await self._wake.wait()

    async def _fire(self, *, is_past_due: bool) -> None:
        self._is_firing = True
        now = self._now()
        following = self._schedule.next_after(now)
        status = {
            "Last": now.isoformat(),
            "Next": following.isoformat() if following else None,
            "LastUpdated": now.isoformat(),
        }
        info = {
            "Schedule": {"AdjustForDST": True},
            "ScheduleStatus": status,
            "IsPastDue": is_past_due,
        }
        argument = decode_trigger(self._function, Datum(json.dumps(info), "json"), {})
        with contextlib.suppress(InvocationFailedError):
            await self._invoker.run(self._function, argument)
        await self._save(status)
        self._runs += 1
        self._is_firing = False
        self._run_ended.set()

    async def _missed_run(self) -> bool:
        """Whether an occurrence passed while the host was not running."""
        if self._hosts is None:
            return False
        try:
            content = await (await self._hosts.download_blob(self._status_name)).readall()
            due_at = datetime.fromisoformat(json.loads(content)["Next"])
        except ResourceNotFoundError:
            now = self._now()
            following = self._schedule.next_after(now)
            if following:
                await self._save({"Next": following.isoformat(), "LastUpdated": now.isoformat()})
            return False
        except Exception as error:
            _log.warning(
                "function %s: no timer status: %s", self._function.name, type(error).__name__
            )
            return False
        return due_at < self._now()

    async def _save(self, status: dict[str, Any]) -> None:
        if self._hosts is None:
            return
        try:
            await write_blob(self._hosts, self._status_name, json.dumps(status).encode())
        except Exception as error:
            _log.warning(
                "function %s: timer status not kept: %s", self._function.name, type(error).__name__
            )
