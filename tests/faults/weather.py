"""Which faults there are, and how they are let loose on a rig.

`Weather.run` draws a few faults of requests for each gateway every second or two, and about once a
second something larger: a process killed, the emulator stopped, a clock that jumps. Everything is
drawn from the seed; what a fault meets depends on the machine's timing too.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from azure.core.exceptions import AzureError
from azure.storage.queue import QueueServiceClient

from tests.faults.proxy import (
    Act,
    Answer,
    ApplyLate,
    ApplyTwice,
    CutAnswer,
    CutConnection,
    Delay,
    Fault,
    Hang,
    ReplaceBody,
    Request,
    Rule,
    Service,
    Trickle,
    throttled,
)
from tests.faults.rig import LEASE_SECONDS, Host, Rig, point_of

FRONT_SECONDS = 1.5
EVENT_SECONDS = 1.0
_DENSITY = 0.5
"""More, and most of the work is done by nobody: five tries are over too soon."""
_HTML = b"<html><body>It works!</body></html>"

RequestFault = Callable[[random.Random], Fault]
REQUEST_FAULTS: dict[str, tuple[RequestFault, float, int | None]] = {
    "delayed": (lambda pick: Delay(pick.uniform(0.05, 1.0)), 0.08, None),
    "answer cut": (lambda pick: CutAnswer(pick.randrange(900)), 0.06, None),
    "answer cut in its head": (lambda pick: CutAnswer(pick.randrange(120)), 0.05, None),
    "answer without a body": (lambda _: ReplaceBody(b""), 0.04, None),
    "answer of another kind": (lambda _: ReplaceBody(_HTML, "text/html"), 0.04, None),
    "500, not applied": (lambda _: Answer(500), 0.06, None),
    "500, applied": (lambda _: Answer(500, applied=True), 0.06, None),
    "503, not applied": (lambda _: Answer(503), 0.06, None),
    "503, applied": (lambda _: Answer(503, applied=True), 0.06, None),
    "throttled": (lambda pick: throttled(1, pick.choice([429, 503])), 0.05, None),
    "connection cut, not applied": (lambda _: CutConnection(), 0.06, None),
    "connection cut, applied": (lambda _: CutConnection(applied=True), 0.06, None),
    "applied late": (lambda pick: ApplyLate(pick.uniform(0.1, 4), pick.choice([500, None])), 0.04,
                     None),
    "applied twice": (lambda pick: ApplyTwice(pick.random() < 0.5), 0.06, None),
    "no answer, not applied": (lambda _: Hang(), 0.02, 1),
    "no answer, applied": (lambda _: Hang(applied=True), 0.02, 1),
    "trickling answer": (lambda pick: Trickle(pick.choice([20, 100]), 0.02), 0.04, None),
}  # fmt: skip
"""By the names of the table: how it is made, how likely it is per request, how often at most."""

EVENTS: dict[str, float] = {
    "SIGKILL": 3,
    "SIGKILL at a request": 6,
    "SIGTERM": 2,
    "SIGTERM at a request": 2,
    "SIGSTOP past the lease": 2,
    "connections refused": 3,
    "emulator stopped": 1,
    "emulator silent": 2,
    "emulator's disk full": 2,
    "clock jumped": 3,
    "message copied": 8,
    "message late": 6,
    "message garbled": 5,
    "message given up": 3,
}
"""Larger faults and their weights."""


@dataclass
class Weather:
    """The faults of one round; `counts` by their names in the table.

    `only` names the faults to draw from, all of them without.
    """

    rig: Rig
    seed: int
    only: frozenset[str] = frozenset()
    counts: Counter[str] = field(default_factory=Counter)
    points: set[str] = field(default_factory=set)
    """The kinds of requests at which a gateway was killed or asked to stop."""
    _rules: list[tuple[str, Rule]] = field(default_factory=list)
    _busy: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._pick = random.Random(f"weather {self.seed}")

    async def run(self) -> None:
        """Let faults loose until cancelled, then undo what does not end by itself."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._repeat(self._change_requests, FRONT_SECONDS))
                group.create_task(self._repeat(self._let_loose, EVENT_SECONDS))
        finally:
            await self._clear_up()

    async def _repeat(self, change: Callable[[], None], seconds: float) -> None:
        while True:
            change()
            await asyncio.sleep(self._pick.uniform(0.5, 1.5) * seconds)

    def _change_requests(self) -> None:
        self._count()
        names = [name for name in REQUEST_FAULTS if not self.only or name in self.only]
        for host in self.rig.hosts:
            host.proxy.rules = [rule for rule in host.proxy.rules if _is_set_trap(rule)]
            for name in self._pick.sample(names, min(3, len(names))):
                make, probability, times = REQUEST_FAULTS[name]
                rule = Rule(
                    make(self._pick),
                    probability=probability * _DENSITY,
                    times=times,
                    when=_Thinned(random.Random(self._pick.random())),
                )
                self._rules.append((name, host.proxy.add(rule)))

    def _let_loose(self) -> None:
        names = [name for name in EVENTS if not self.only or name in self.only]
        if not names:
            return
        [name] = self._pick.choices(names, [EVENTS[name] for name in names])
        task = asyncio.get_running_loop().create_task(self._happen(name))
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)

    async def _happen(self, name: str) -> None:
        host = self._pick.choice(self.rig.hosts)
        match name:
            case "SIGKILL":
                self.counts[name] += host.send_signal(signal.SIGKILL)
            case "SIGTERM":
                self.counts[name] += host.send_signal(signal.SIGTERM)
            case "SIGKILL at a request":
                self._signal_at_request(name, host, signal.SIGKILL)
            case "SIGTERM at a request":
                self._signal_at_request(name, host, signal.SIGTERM)
            case "SIGSTOP past the lease":
                self.counts[name] += host.pause()
                await asyncio.sleep(LEASE_SECONDS + self._pick.uniform(0.5, 2))
                host.resume()
            case "connections refused":
                service = self._pick.choice(list(Service))
                self.counts[name] += 1
                await asyncio.to_thread(host.proxy.refuse, service)
                await asyncio.sleep(self._pick.uniform(0.3, 2))
                await asyncio.to_thread(host.proxy.accept, service)
            case "clock jumped":
                self.counts[name] += 1
                host.set_clock(self._pick.choice([-3600, -60, 60, 3600]))
                await asyncio.sleep(self._pick.uniform(0.5, 4))
                host.set_clock(0)
            case "message copied" | "message late" | "message garbled" | "message given up":
                await self._send_message(name)
            case _:
                await self._disturb_emulator(name)

    async def _disturb_emulator(self, name: str) -> None:
        if self._emulator_is_disturbed:
            return
        self._emulator_is_disturbed = True
        self.counts[name] += 1
        seconds = self._pick.uniform(0.3, 2)
        try:
            if name == "emulator stopped":
                await self.rig.restart_emulator(seconds)
            elif name == "emulator silent":
                self.rig.pause_emulator()
                await asyncio.sleep(seconds)
                self.rig.resume_emulator()
            else:
                self.rig.fill_disk(True)
                await asyncio.sleep(seconds)
                self.rig.fill_disk(False)
        finally:
            self._emulator_is_disturbed = False

    _emulator_is_disturbed = False

    def _signal_at_request(self, name: str, host: Host, number: signal.Signals) -> None:
        """At the next request of a kind: each kind that has been seen is as likely as the others.

        SIGKILL cuts the request off, before or after it is applied; with SIGTERM it is answered.
        """
        if not self.rig.points:
            return
        point = self._pick.choice(sorted(self.rig.points))

        def act() -> None:
            host.send_signal(number)
            self.points.add(point)

        fault = Act(act, self._pick.random() < 0.5, cuts=number is signal.SIGKILL)
        rule = Rule(
            fault,
            when=lambda request: point_of(request) == point,
            after=self._pick.choice([0, 0, 1, 3]),
            times=1,
        )
        # It comes before the others, which would take the request away from it.
        host.proxy.rules = [rule, *host.proxy.rules]
        self._rules.append((name, rule))

    async def _send_message(self, name: str) -> None:
        if not self.rig.messages:
            return
        # Most of the imports are done with soon, so the latest messages are the interesting ones.
        latest = list(self.rig.messages)[-self._pick.choice([5, 20, 200]) :]
        queue, text = self._pick.choice(latest)
        delay = 0
        if name == "message late":
            delay = self._pick.randint(1, 6)
        elif name == "message garbled":
            text = self._garbled(text)
        elif name == "message given up":
            # As the host does after five tries, whoever is still at work on an earlier delivery.
            queue = f"{queue}-poison"
            self.rig.note_poisoned(text)
        try:
            await asyncio.to_thread(_send, self.rig.storage, queue, text, delay)
        except AzureError:
            return
        self.counts[name] += 1

    def _garbled(self, text: str) -> str:
        """Broken as a whole: a message has no check sum that would tell a changed number."""
        pick = self._pick
        data = base64.b64decode(text)
        wrong = json.loads(data)
        wrong["chunk"]["importId"] = "00000000-0000-0000-0000-000000000001"
        choices: list[bytes] = [
            data[: pick.randrange(len(data))],
            bytes(pick.randrange(256) for _ in range(40)),
            b"[]",
            b'{"chunk":null}',
            b'{"chunk":{"tenant":1,"number":"x"}}',
            json.dumps(wrong).encode(),
        ]
        if pick.random() < 0.2:
            return "no base64 at all!"
        return base64.b64encode(pick.choice(choices)).decode()

    def _count(self) -> None:
        """Take over what the rules have counted; a trap that nobody has met yet stays set."""
        for name, rule in self._rules:
            self.counts[name] += rule.applied
        self._rules = [(name, rule) for name, rule in self._rules if _is_set_trap(rule)]

    async def _clear_up(self) -> None:
        for host in self.rig.hosts:
            host.proxy.clear()
        self._count()
        if self._busy:
            await asyncio.wait(self._busy)
        for host in self.rig.hosts:
            host.resume()
            host.set_clock(0)
            await asyncio.to_thread(host.proxy.accept)
            await asyncio.to_thread(host.proxy.release)


class _Thinned:
    """Chooses every request, but only one in ten of those that only ask for messages."""

    def __init__(self, luck: random.Random) -> None:
        self._luck = luck

    def __call__(self, request: Request) -> bool:
        return not request.is_poll or self._luck.random() < 0.1


def _is_set_trap(rule: Rule) -> bool:
    """Whether a signal waits for a kind of request that has not come yet."""
    return isinstance(rule.fault, Act) and not rule.applied


def _send(storage: str, queue: str, text: str, delay: int) -> None:
    with QueueServiceClient.from_connection_string(storage, retry_total=0) as service:
        service.get_queue_client(queue).send_message(text, visibility_timeout=delay)
