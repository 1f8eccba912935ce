"""What callers send while everything fails: all import types, on keys that overlap.

Each caller sends one call after another to either gateway. A call may carry an Idempotency-Key and
is then sent again while its answer is missing; one without a key is sent once, unless the answer
said that nothing was accepted. An undo will be one more entry of `Caller._choices`.
"""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient

from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.documents.definition import DOCUMENTS
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.definition import LICENSES
from shared.imports.workers.definition import WORKERS
from shared.storage.names import DOCUMENT_DROP, ROW_DROP
from tests.builders import Row
from tests.documents import MEDIA_TYPE, ROUND, Form
from tests.faults.judge import SIZE_OF_MARK, STABLE_WORKERS
from tests.faults.ledger import CallKind, Reply, SentCall, digest_of
from tests.tenants import Sender

UNKNOWN_WORKER = "no-such-worker"
_ANSWER_SECONDS = 25.0
_MOST_TRIES = 4
_LICENSE_KEYS = [f"0000000{number}-0000-4000-8000-000000000000" for number in range(1, 5)]
_ADDRESS = {
    WORKERS.name: "/api/import/workers?version=1",
    ASSIGNMENTS.name: "/api/import/assignments?version=1",
}


@dataclass(frozen=True)
class Tenant:
    """A tenant with two integrations: one updates what exists, the other one makes it an error."""

    updates: Sender
    inserts: Sender

    @property
    def id(self) -> str:
        return self.updates.tenant


class Addresses(Protocol):
    """Where gateways and storage are just now."""

    @property
    def urls(self) -> Sequence[str]:
        """The gateways that run."""

    @property
    def storage(self) -> str:
        """The connection string past the proxies."""


@dataclass
class Outgoing:
    """A call and how it goes over the wire."""

    call: SentCall
    method: str
    path: str
    body: bytes
    headers: dict[str, str]
    is_repeatable: bool = False
    """Whether sending it again cannot do anything twice, although it has no key."""

    @property
    def may_be_repeated(self) -> bool:
        return bool(self.call.key) or self.is_repeatable


@dataclass
class Workload:
    """The callers of one round and everything that they have sent."""

    seed: int
    tenants: Sequence[Tenant]
    addresses: Addresses
    calls: list[SentCall] = field(default_factory=list)
    unanswered: list[Outgoing] = field(default_factory=list)
    processing: list[Outgoing] = field(default_factory=list)
    followable: list[tuple[str, str, str]] = field(default_factory=list)
    """Tenant, type and id of imports that were accepted, for cancels and retries."""
    retried: set[str] = field(default_factory=set)
    is_over: bool = False
    _serial: Iterator[int] = field(default_factory=lambda: iter(range(1, 1_000_000)))

    async def prepare(self) -> None:
        """Import the stable workers, and one of each for the first tenant; nothing fails yet."""
        async with aiohttp.ClientSession() as session:
            caller = Caller(self, session, random.Random(self.seed), ["wait=60"])
            for tenant in self.tenants:
                await caller.send_stable_workers(tenant)
            await caller.send_one_of_each(self.tenants[0])

    async def run(self, callers: int, calls: int) -> None:
        """Let so many callers send so many calls in all, or until `is_over` is set."""
        numbers = iter(range(calls))

        async def work(number: int) -> None:
            caller = Caller(self, session, random.Random(f"{self.seed}.{number}"))
            for _ in numbers:
                if self.is_over:
                    return
                await caller.send_something()

        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            await asyncio.gather(*(work(number) for number in range(callers)))

    async def finish(self, seconds: float) -> None:
        """Get the answers that are missing, and have every staged batch processed.

        Called when nothing fails any more. Gateways may still be starting, and refuse calls for a
        while.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            caller = Caller(self, session, random.Random(self.seed), gives_up=False)

            async def settle(outgoing: Sequence[Outgoing]) -> None:
                waiting = [each for each in outgoing if not each.call.is_settled]
                while waiting and asyncio.get_running_loop().time() < deadline:
                    await asyncio.gather(*(caller.send_once(each) for each in waiting))
                    waiting = [each for each in waiting if not each.call.is_settled]
                    await asyncio.sleep(0.2)

            await settle(self.unanswered)
            # A batch into which records have come only now was not there to be processed before,
            # and the caller of another one gave up when storage did not answer.
            late = [each for each in self.processing if not each.call.was_accepted]
            for each in late:
                each.call.is_settled = False
            await settle(late)

    def next_mark(self) -> str:
        return f"call-{next(self._serial)}"


@dataclass
class Caller:
    """Sends calls one after another."""

    load: Workload
    session: aiohttp.ClientSession
    pick: random.Random
    wishes: Sequence[str] = ("respond-async", "respond-async", "wait=3")
    gives_up: bool = True
    """Whether a refusal that may pass can be the end of a call."""

    async def send_something(self) -> None:
        choices = self._choices()
        [choice] = self.pick.choices([c for c, _ in choices], [weight for _, weight in choices])
        await choice(self.pick.choice(self.load.tenants))

    def _choices(self) -> list[tuple[Callable[[Tenant], Awaitable[None]], float]]:
        return [
            (self._send_workers, 30),
            (self._send_assignments, 16),
            (self._send_licenses, 16),
            (self.send_batch, 8),
            (self._send_batch_at_once, 6),
            (self._upload, 10),
            (self._drop, 4),
            (self._drop_rows, 8),
            (self._cancel, 6),
            (self._retry, 8),
            (self._send_dry_run, 3),
        ]

    # -- what is sent ------------------------------------------------------------------------

    async def send_stable_workers(self, tenant: Tenant) -> None:
        mark = self.load.next_mark()
        rows = [
            {"EmployerRef": employer, "PersonnelRef": reference, "Surname": "Stable"}
            for employer, reference in (("E1", "S1"), ("E2", "S2"), ("E1", "S3"))
        ]
        rows.append({"EmployerRef": "E1", "PersonnelRef": mark, "Surname": "Mark"})
        call = self._new_call(mark, tenant, CallKind.ROWS, WORKERS.name, rows)
        await self._deliver(self._of_rows(call, tenant.updates))
        assert call.was_accepted, call

    async def send_one_of_each(self, tenant: Tenant) -> None:
        """So that every type is there however little of the rest comes in."""
        worker: Row = {"EmployerRef": "E1", "PersonnelRef": "W-first", "Surname": "Ada"}
        for title in ("Dr", "Prof"):
            mark = self.load.next_mark()
            rows = [{**worker, "Title": title}, {**worker, "PersonnelRef": mark}]
            call = self._new_call(mark, tenant, CallKind.ROWS, WORKERS.name, rows)
            await self._deliver(self._of_rows(call, tenant.updates))
        mark = self.load.next_mark()
        rows = [
            {**self._assignment(mark), "StartDate": "2026-01-01", "EmployerRef": "E1",
             "PersonnelRef": "S1", "AssignmentRef": reference}
            for reference in ("A-first", mark)
        ]  # fmt: skip
        call = self._new_call(mark, tenant, CallKind.ROWS, ASSIGNMENTS.name, rows)
        await self._deliver(self._of_rows(call, tenant.updates))
        mark = self.load.next_mark()
        rows = [
            {"companyCode": "C1", "employeeNumber": mark, "licenseNumber": number,
             "documents": [{"name": "d1", "content": "QQ=="}]}
            for number in ("first", mark)
        ]  # fmt: skip
        override = LicenseAction.OVERRIDE.value
        call = self._new_call(mark, tenant, CallKind.ROWS, LICENSES.name, rows, override)
        await self._deliver(self._of_rows(call, tenant.updates))
        await self._send_batch_at_once(tenant)
        await self._send_batch_at_once(tenant)
        await self._upload(tenant, STABLE_WORKERS[0])

    async def _send_workers(self, tenant: Tenant) -> None:
        mark = self.load.next_mark()
        count = self.pick.choice([0, 1, 1, 3, 8, 20, 40, 110])
        first = self.pick.randrange(40)
        rows = [self._worker(first, f"{mark}.{at}") for at in range(count)]
        rows.append({"EmployerRef": "E1", "PersonnelRef": mark, "Surname": "Mark"})
        self.pick.shuffle(rows)
        sender = self.pick.choice([tenant.updates, tenant.updates, tenant.inserts])
        call = self._new_call(mark, tenant, CallKind.ROWS, WORKERS.name, rows)
        await self._deliver(self._of_rows(call, sender))

    async def _send_assignments(self, tenant: Tenant) -> None:
        mark = self.load.next_mark()
        rows = [self._assignment(f"{mark}.{at}") for at in range(self.pick.choice([0, 1, 4, 25]))]
        rows.append({**self._assignment(mark), "AssignmentRef": mark, "EmployerRef": "E1",
                     "PersonnelRef": "S1"})  # fmt: skip
        self.pick.shuffle(rows)
        call = self._new_call(mark, tenant, CallKind.ROWS, ASSIGNMENTS.name, rows)
        await self._deliver(self._of_rows(call, tenant.updates))

    async def _send_licenses(self, tenant: Tenant) -> None:
        mark = self.load.next_mark()
        action = self.pick.choice(list(LicenseAction))
        rows = [self._license(f"{mark}.{at}") for at in range(self.pick.choice([0, 1, 3, 10]))]
        rows.append({"companyCode": "C1", "employeeNumber": mark, "licenseNumber": mark})
        self.pick.shuffle(rows)
        call = self._new_call(mark, tenant, CallKind.ROWS, LICENSES.name, rows, action.value)
        await self._deliver(self._of_rows(call, tenant.updates))

    async def _send_dry_run(self, tenant: Tenant) -> None:
        mark = self.load.next_mark()
        rows = [self._worker(0, mark), {"EmployerRef": "E1", "PersonnelRef": mark, "Surname": "M"}]
        call = self._new_call(mark, tenant, CallKind.DRY_RUN, WORKERS.name, rows)
        outgoing = self._of_rows(call, tenant.updates)
        outgoing.path += "&dryRun=true"
        outgoing.is_repeatable = True
        await self._deliver(outgoing)

    async def send_batch(self, tenant: Tenant) -> None:
        """Stage one to three times, then process."""
        batch = str(uuid.UUID(int=self.pick.getrandbits(128), version=4))
        for _ in range(self.pick.randint(1, 3)):
            mark = self.load.next_mark()
            call = self._authdata_call(mark, tenant, CallKind.STAGE, batch)
            await self._deliver(self._of_batch(call, tenant, "/stage"))
        mark = self.load.next_mark()
        call = self._new_call(mark, tenant, CallKind.PROCESS, AUTHDATA.name, about=batch)
        path = f"/api/admin/authdata/{batch}"
        outgoing = Outgoing(call, "POST", path, b"", self._headers(call, tenant.updates))
        outgoing.is_repeatable = True
        self.load.processing.append(outgoing)
        await self._deliver(outgoing)

    async def _send_batch_at_once(self, tenant: Tenant) -> None:
        batch = str(uuid.UUID(int=self.pick.getrandbits(128), version=4))
        mark = self.load.next_mark()
        call = self._authdata_call(mark, tenant, CallKind.STAGE_AND_PROCESS, batch)
        await self._deliver(self._of_batch(call, tenant, ""))

    async def _upload(self, tenant: Tenant, worker: str = "") -> None:
        mark = self.load.next_mark()
        worker = worker or self.pick.choice([*STABLE_WORKERS, UNKNOWN_WORKER])
        content = _file_of(mark)
        call = self._new_call(mark, tenant, CallKind.UPLOAD, DOCUMENTS.name, about=worker)
        call.size, call.digest = len(content), digest_of(content)
        form = Form(worker, file_name=f"f{self.pick.randrange(4)}.txt", content=content)
        headers = {**self._headers(call, tenant.updates), "Content-Type": MEDIA_TYPE}
        path = "/api/import/documents"
        await self._deliver(Outgoing(call, "POST", path, form.body(), headers))

    async def _drop(self, tenant: Tenant) -> None:
        mark = self.load.next_mark()
        worker = self.pick.choice(STABLE_WORKERS)
        content = _file_of(mark)
        call = self._new_call(mark, tenant, CallKind.DROP, DOCUMENTS.name, about=worker)
        call.size, call.digest, call.is_settled = len(content), digest_of(content), True
        # A drop that is written over before it is taken in is legally gone: names of its own.
        name = f"{tenant.id}/{quote(ROUND)}/{worker}/{mark}.txt"
        try:
            await asyncio.to_thread(_put_blob, self.load.addresses.storage, name, content)
        except AzureError:
            return
        call.replies.append(Reply(202))

    async def _drop_rows(self, tenant: Tenant) -> None:
        mark = self.load.next_mark()
        sender = self.pick.choice([tenant.updates, tenant.inserts])
        count = self.pick.choice([0, 1, 8, 40])
        rows = [self._worker(0, f"{mark}.{at}") for at in range(count)]
        rows.append({"EmployerRef": "E1", "PersonnelRef": mark, "Surname": "Mark"})
        path = f"{sender.integration.software_key}/workers/{mark}.json"
        call = self._new_call(mark, tenant, CallKind.ROW_DROP, WORKERS.name, rows, about=path)
        call.is_settled = True
        content, storage = json.dumps(rows).encode(), self.load.addresses.storage
        try:
            await asyncio.to_thread(_put_blob, storage, f"{tenant.id}/{path}", content, ROW_DROP)
        except AzureError:
            return
        call.replies.append(Reply(202))

    async def _cancel(self, tenant: Tenant) -> None:
        mine = [each for each in self.load.followable[-12:] if each[0] == tenant.id]
        if not mine:
            return
        _, type_name, import_id = self.pick.choice(mine)
        mark = self.load.next_mark()
        call = self._new_call(mark, tenant, CallKind.CANCEL, type_name, about=import_id)
        path = f"/api/imports/{import_id}/cancel"
        outgoing = Outgoing(call, "POST", path, b"", self._headers(call, tenant.updates))
        outgoing.is_repeatable = True
        await self._deliver(outgoing)

    async def _retry(self, tenant: Tenant) -> None:
        """Retry an import that has ended with failed rows; about half of them are corrected."""
        mine = [
            each
            for each in self.load.followable
            if each[0] == tenant.id
            and each[1] in (*_ADDRESS, LICENSES.name)
            and each[2] not in self.load.retried
        ]
        if not mine:
            return
        _, type_name, import_id = self.pick.choice(mine[-20:])
        failed = await self._failed_of(tenant, import_id)
        if not failed or import_id in self.load.retried:
            return
        self.load.retried.add(import_id)
        mark = self.load.next_mark()
        corrected: list[Row] = [
            {"index": index, "row": self._row_of(type_name, f"{mark}.{index}")}
            for index in failed
            if self.pick.random() < 0.5
        ]
        call = self._new_call(mark, tenant, CallKind.RETRY, type_name, corrected, about=import_id)
        body = json.dumps(corrected).encode() if corrected else b""
        path = f"/api/imports/{import_id}/retry"
        headers = {**self._headers(call, tenant.updates), "Content-Type": "application/json"}
        await self._deliver(Outgoing(call, "POST", path, body, headers))

    async def _failed_of(self, tenant: Tenant, import_id: str) -> list[int]:
        """The indexes of the failed rows of an import that has ended; none where it has not."""
        path = f"/api/imports/{import_id}/results?outcome=failed&pageSize=1000"
        shown = await self._get(tenant, f"/api/imports/{import_id}")
        if not shown or not shown.get("endedAt"):
            return []
        listed = await self._get(tenant, path)
        return [item["index"] for item in listed["items"]] if listed else []

    async def _get(self, tenant: Tenant, path: str) -> dict[str, Any] | None:
        url = self._some_url()
        if url is None:
            return None
        try:
            async with self.session.get(url + path, headers=tenant.updates.headers) as answer:
                document: dict[str, Any] | None = (
                    await answer.json() if answer.status == 200 else None
                )
                return document
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None

    # -- rows --------------------------------------------------------------------------------

    def _row_of(self, type_name: str, label: str) -> Row:
        if type_name == WORKERS.name:
            return self._worker(self.pick.randrange(40), label)
        return self._assignment(label) if type_name == ASSIGNMENTS.name else self._license(label)

    def _worker(self, first: int, label: str) -> Row:
        pick = self.pick
        number = (first + pick.randrange(20)) % 40
        row: Row = {"EmployerRef": pick.choice(["E1", "E2"]), "PersonnelRef": f"W{number:02d}"}
        if pick.random() < 0.7:
            row["Surname"] = pick.choice(["Ada", "Bo"])
        if pick.random() < 0.5:
            row["Title"] = pick.choice(["Mr", None, label])
        if pick.random() < 0.3:
            row["UKPayrollDetails"] = {"PAYECode": label, "TaxRegime": pick.choice(["S", None])}
        if pick.random() < 0.2:
            row["ExternalWorkerRef"] = pick.choice(["X1", "X2", None])
        if pick.random() < 0.05:
            row["Gender"] = "not a number"
        if pick.random() < 0.02:
            del row["PersonnelRef"]
        return row

    def _assignment(self, label: str) -> Row:
        pick = self.pick
        worker = pick.choice(["S1", "S2", *(f"W{number:02d}" for number in range(0, 40, 4))])
        row: Row = {
            "EmployerRef": pick.choice(["E1", "E2"]),
            "AssignmentRef": f"A{pick.randrange(30):02d}",
            "PersonnelRef": worker,
            "ClientRef": "C1",
            "DivisionRef": "D1",
            "DepartmentRef": "D1",
            "StartDate": "2026-01-01",
            "ExpectedEndDate": None,
            "ActualEndDate": None,
        }
        if pick.random() < 0.6:
            row["JobTitle"] = pick.choice(["Cook", None, label])
        if pick.random() < 0.05:
            del row["StartDate"]
        return row

    def _license(self, label: str) -> Row:
        pick = self.pick
        row: Row = {"companyCode": pick.choice(["C1", "C1", "C2"])}
        if pick.random() < 0.9:
            row["employeeNumber"] = pick.choice(["1", "2", "3", "4"])
            row["licenseNumber"] = pick.choice(["A", "B", "C"])
        if pick.random() < 0.3:
            row["licenseKey"] = pick.choice(_LICENSE_KEYS)
        if pick.random() < 0.7:
            row["notes"] = pick.choice(["x", None, label])
        if pick.random() < 0.2:
            content = pick.choice(["QQ==", "Qg==", "Qw=="])
            row["documents"] = [{"name": pick.choice(["d1", "d2"]), "content": content}]
        if pick.random() < 0.05:
            row["issuedDate"] = "no date"
        if pick.random() < 0.02:
            del row["companyCode"]
        return row

    def _employee(self, label: str) -> Row:
        pick = self.pick
        row: Row = {"employeeId": f"e{pick.randrange(25):02d}"}
        if pick.random() < 0.5:
            row["employeeStatus"] = pick.choice(["Active", "Left"])
        if pick.random() < 0.9:
            row["authValue1"] = pick.choice([f"v{pick.randrange(25):02d}", label])
        if pick.random() < 0.4:
            row["authValue2"] = pick.choice(["a", "b"])
        if pick.random() < 0.03:
            del row["employeeId"]
        return row

    # -- how it is sent ----------------------------------------------------------------------

    def _new_call(
        self,
        mark: str,
        tenant: Tenant,
        kind: CallKind,
        type_name: str,
        rows: Sequence[Row] = (),
        action: str = "",
        about: str = "",
    ) -> SentCall:
        call = SentCall(mark, tenant.id, kind, type_name, list(rows), action, about)
        takes_key = kind not in (CallKind.DRY_RUN, CallKind.CANCEL, CallKind.PROCESS)
        if takes_key and self.pick.random() < 0.6:
            call.key = f"key-{mark}"
        self.load.calls.append(call)
        return call

    def _authdata_call(self, mark: str, tenant: Tenant, kind: CallKind, batch: str) -> SentCall:
        rows = [self._employee(f"{mark}.{at}") for at in range(self.pick.choice([0, 2, 12]))]
        rows.insert(0, {"employeeId": mark, "authValue1": mark})
        return self._new_call(mark, tenant, kind, AUTHDATA.name, rows, about=batch)

    def _of_rows(self, call: SentCall, sender: Sender) -> Outgoing:
        headers = {**self._headers(call, sender), "Content-Type": "application/json"}
        path = _ADDRESS.get(call.type_name, "")
        if call.action == LicenseAction.DELETE.value:
            # Not DELETE itself: the HTTP client would send that again of its own accord.
            path = f"{LICENSES.address}/delete"
        elif call.action:
            path = f"{LICENSES.address}?importAction={call.action}"
        return Outgoing(call, "POST", path, json.dumps(call.rows).encode(), headers)

    def _of_batch(self, call: SentCall, tenant: Tenant, step: str) -> Outgoing:
        body = json.dumps({"fileLogId": call.about, "employee": call.rows}).encode()
        headers = {**self._headers(call, tenant.updates), "Content-Type": "application/json"}
        return Outgoing(call, "POST", f"/api/admin/authdata{step}", body, headers)

    def _headers(self, call: SentCall, sender: Sender) -> dict[str, str]:
        headers = {**sender.headers, "Prefer": self.pick.choice(self.wishes)}
        if call.key:
            headers["Idempotency-Key"] = call.key
        return headers

    async def _deliver(self, outgoing: Outgoing) -> None:
        """Send a call until it has an answer, as far as that may be done."""
        call = outgoing.call
        if call.key and self.pick.random() < 0.15:
            # An impatient caller: the same call twice at once.
            await asyncio.gather(self.send_once(outgoing), self.send_once(outgoing))
        for _ in range(_MOST_TRIES):
            if call.is_settled:
                break
            await self.send_once(outgoing)
            if not call.is_settled:
                await asyncio.sleep(self.pick.uniform(0.1, 1.0))
        if not call.is_settled:
            self.load.unanswered.append(outgoing)
        elif call.key and call.was_accepted and self.pick.random() < 0.1:
            await self.send_once(outgoing)

    async def send_once(self, outgoing: Outgoing) -> None:
        """One try; the call is settled where its answer, or the lack of one, is final."""
        url = self._some_url()
        if url is None:
            await asyncio.sleep(0.2)
            return
        call = outgoing.call
        try:
            async with self.session.request(
                outgoing.method, url + outgoing.path, data=outgoing.body, headers=outgoing.headers
            ) as answer:
                reply = _reply_of(answer, await answer.read())
        except aiohttp.ClientConnectorError:
            # The gateway does not listen: nothing was sent.
            return
        except (aiohttp.ClientError, TimeoutError):
            reply = Reply(0)
        call.replies.append(reply)
        if reply.accepts:
            call.is_settled = True
            if reply.import_id and call.kind is not CallKind.CANCEL:
                self.load.followable.append((call.tenant, call.type_name, reply.import_id))
        elif call.is_settled:
            # The call was answered before, and is only sent again.
            return
        elif reply.refuses:
            may_pass = reply.status in (429, 503) and (
                not self.gives_up
                or (self.pick.random() < 0.7 and len(call.replies) < 2 * _MOST_TRIES)
            )
            call.is_settled |= not may_pass
        else:
            call.is_settled |= not outgoing.may_be_repeated

    def _some_url(self) -> str | None:
        urls = self.load.addresses.urls
        return self.pick.choice(urls) if urls else None


def _reply_of(answer: aiohttp.ClientResponse, body: bytes) -> Reply:
    statuses: tuple[str, ...] = ()
    if answer.status == 200 and b'"importStatus"' in body:
        statuses = tuple(row["importStatus"] for row in json.loads(body)["results"])
    import_id = answer.headers.get("X-Import-Id", "")
    return Reply(answer.status, import_id, body[:300].decode("utf-8", "replace"), statuses)


def _file_of(mark: str) -> bytes:
    """A file whose size and content are those of no other call."""
    size = SIZE_OF_MARK + int(mark.removeprefix("call-"))
    return f"{mark} ".encode().ljust(size, b"x")


def _put_blob(storage: str, name: str, content: bytes, container: str = DOCUMENT_DROP) -> None:
    with BlobServiceClient.from_connection_string(storage, retry_total=0) as service:
        service.get_container_client(container).upload_blob(name, content)
