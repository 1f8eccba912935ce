"""Following the feed of changes while imports run and a gateway is killed.

Two gateways share the storage. Imports overlap, some are cancelled or retried, and one gateway is
killed and started again. A reader that polls all the time ends with a copy equal to the store.

`CHANGES_SEEDS` sets how many seeds are played.
"""

from __future__ import annotations

import http.client
import os
import random
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.builders import Row, a_worker, body_of
from tests.e2e.gateway_process import Answer, GatewayProcess, started
from tests.emulator import Emulator
from tests.tenants import Sender, a_sender
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
SEEDS = range(int(os.environ.get("CHANGES_SEEDS", "1")))
QUICK = {"GATEWAY_SWEEP_AFTER_SECONDS": "2", "GATEWAY_CHUNK_ROWS": "7"}
IMPORTS = 20
KILLED_AFTER = 8
STARTED_AFTER = 12
ENDS_WITHIN = 120.0
Key = tuple[str, ...]


@dataclass
class World:
    """Two gateways, of which one may be dead, and who sends to them.

    `accepted` counts the imports, cancels and retries that a gateway has taken.
    """

    sender: Sender
    random: random.Random
    alive: list[GatewayProcess] = field(default_factory=list)
    accepted: Counter[str] = field(default_factory=Counter)

    def call(self, method: str, path: str, rows: list[Row] | None = None) -> Answer | None:
        """A call to either gateway; None where the gateway was killed meanwhile."""
        headers = {**self.sender.headers, "Prefer": "respond-async"}
        body = None
        if method == "POST":
            headers["Content-Type"] = "application/json"
            body = body_of(rows) if rows is not None else b""
        gateway = self.random.choice(self.alive)
        with suppress(OSError, http.client.HTTPException):
            return gateway.call(method, path, body, headers)
        return None

    def send(self) -> str | None:
        """An import; its id."""
        if self.random.random() < 0.6:
            path, rows = "/api/import/workers?version=1", self._workers()
        else:
            actions = ["Override", "Update", "Insert", "Replace", "Replace"]
            path, rows = "/v1/imports/licenses", self._licenses()
            if self.random.random() < 0.15:
                path += "/delete"
            else:
                path += f"?importAction={self.random.choice(actions)}"
        answer = self.call("POST", path, rows)
        if answer is None:
            return None
        assert answer.status in (200, 202, 409), answer.body
        return answer.headers.get("x-import-id")

    def retry(self, import_id: str, sent: list[str]) -> None:
        """A retry, which is added to `sent` where it is accepted."""
        answer = self.call("POST", f"/api/imports/{import_id}/retry")
        if answer is not None and "x-import-id" in answer.headers:
            sent.append(answer.headers["x-import-id"])
            self.accepted["retry"] += 1

    def _workers(self) -> list[Row]:
        pick = self.random
        rows = []
        for _ in range(pick.randint(1, 25)):
            changes: Row = {"EmployerRef": f"E{pick.randint(1, 2)}", "Title": f"T{pick.random()}"}
            if pick.random() < 0.1:
                changes["Gender"] = "no number"
            rows.append(a_worker(f"P{pick.randint(1, 30)}", **changes))
        return rows

    def _licenses(self) -> list[Row]:
        pick = self.random
        return [
            {
                "companyCode": f"C{pick.randint(1, 2)}",
                "employeeNumber": str(pick.randint(1, 3)),
                "licenseTypeCode": "RN",
                "licenseNumber": str(pick.randint(1, 8)),
                "notes": f"n{pick.randint(1, 9)}",
            }
            for _ in range(pick.randint(1, 10))
        ]


class Reader(threading.Thread):
    """Polls the feed, and reads what it names; keeps nothing but the copy and its place."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__()
        self._world = world
        self._random = random.Random(seed)
        self.copy: dict[Key, Any] = {}
        self.after: Any = 0
        self.pages = 0
        self.is_last = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while True:
                is_last = self.is_last.is_set()
                is_behind = self._poll()
                if is_last and not is_behind:
                    return
                self.is_last.wait(0 if is_behind else 0.2)
        except BaseException as error:
            self.error = error

    def _poll(self) -> bool:
        """Whether more may follow at once. A poll that fails half way is done again."""
        size = self._random.choice([1, 3, 10, 100])
        page = self._get("/api/changes", {"after": self.after, "pageSize": size})
        if page is None:
            return True
        for change in page["items"]:
            key = change["type"], *change["key"].values()
            if change["change"] == "deleted":
                self.copy.pop(key, None)
                continue
            answer = self._get(f"/api/records/{change['type']}", change["key"])
            if answer is None:
                return True
            if answer["items"]:
                self.copy[key] = answer["items"][0]["record"]
            else:
                self.copy.pop(key, None)
        has_moved = bool(page["next"] != self.after)
        self.after = page["next"]
        self.pages += has_moved
        return has_moved

    def _get(self, path: str, query: Mapping[str, Any]) -> Any:
        gateway = self._random.choice(self._world.alive)
        address = f"{path}?{urlencode(query)}"
        try:
            answer = gateway.get(address, self._world.sender)
        except (OSError, http.client.HTTPException):
            return None
        if answer.status == 503:
            return None
        assert answer.status == 200, answer.body
        return answer.json


def stored(gateway: GatewayProcess, sender: Sender) -> dict[Key, Any]:
    """Every record of the tenant, page by page."""
    records: dict[Key, Any] = {}
    for name, key in (
        ("workers", ("EmployerRef", "PersonnelRef")),
        ("licenses", ("companyCode", "licenseKey")),
    ):
        query = {"pageSize": "1000"}
        while True:
            page = gateway.get(f"/api/records/{name}?{urlencode(query)}", sender).json
            for item in page["items"]:
                records[name, *(item["record"][each] for each in key)] = item["record"]
            if page["continuation"] is None:
                break
            query["continuation"] = page["continuation"]
    return records


@pytest.mark.parametrize("seed", SEEDS)
def test_a_reader_of_the_feed_ends_with_a_copy_of_what_is_stored(
    emulator: Emulator, tmp_path: Path, seed: int
) -> None:
    storage = emulator.account("changes")
    world = World(a_sender(storage), random.Random(seed))
    with ExitStack() as running:
        surviving = running.enter_context(started(storage, tmp_path, **QUICK))
        other = running.enter_context(started(storage, tmp_path, **QUICK))
        world.alive = [surviving, other]
        reader = Reader(world, seed)
        reader.start()
        try:
            sent = _play(
                world, other, lambda: running.enter_context(started(storage, tmp_path, **QUICK))
            )
            sender = world.sender
            wait_until(lambda: _all_ended(surviving, sender), "the end of all imports", ENDS_WITHIN)
            # Now every import can be retried whose rows have failed.
            for import_id in [*sent]:
                world.retry(import_id, sent)
            wait_until(lambda: _all_ended(surviving, sender), "the end of all retries", ENDS_WITHIN)
        finally:
            reader.is_last.set()
            reader.join(60)
        if reader.error is not None:
            raise reader.error
        assert not reader.is_alive()
        expected = stored(surviving, world.sender)
    assert reader.copy == expected
    # A call to the gateway that is killed may be lost; the others are taken.
    assert world.accepted["import"] >= IMPORTS - 2, world.accepted
    assert world.accepted["retry"] >= 2, world.accepted
    assert world.accepted["cancel"] >= 1, world.accepted
    assert reader.pages > 5
    assert len(expected) > 10


def _play(world: World, other: GatewayProcess, start_again: Any) -> list[str]:
    """The imports, with cancels and retries; one gateway dies and comes back meanwhile.

    Returns the ids of the imports and retries that were accepted.
    """
    sent: list[str] = []
    for at in range(IMPORTS):
        if at == KILLED_AFTER:
            world.alive = [gateway for gateway in world.alive if gateway is not other]
            other.kill()
        elif at == STARTED_AFTER:
            world.alive = [*world.alive, start_again()]
        import_id = world.send()
        if import_id is not None:
            sent.append(import_id)
            world.accepted["import"] += 1
        if sent and world.random.random() < 0.3:
            cancelled = world.call("POST", f"/api/imports/{world.random.choice(sent[-3:])}/cancel")
            world.accepted["cancel"] += cancelled is not None and cancelled.status in (200, 202)
        if sent and world.random.random() < 0.4:
            world.retry(world.random.choice(sent), sent)
    return sent


def _all_ended(gateway: GatewayProcess, sender: Sender) -> bool:
    items = gateway.get("/api/imports?pageSize=1000", sender).json["items"]
    return all(each["endedAt"] for each in items)
