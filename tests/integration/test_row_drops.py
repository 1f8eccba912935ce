"""Dropped rows on real storage: imported once, results beside them, whatever dies or changes."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from azure.storage.blob import BlobBlock, BlobType, ContentSettings, StandardBlobTier
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from cli.drops import wait_for_result
from shared.app import compose, purge_refused_without_tenant, retention_of
from shared.auth.integrations import DEFAULT_PERMISSIONS, READ, Database, ReadPermission
from shared.services.drops import DropOutcome
from shared.services.row_drops import DroppedFile, RowDrops, row_drop_id
from shared.services.status import ImportReport, ImportState
from shared.storage.names import ROW_DONE, ROW_DROP, ROW_PENDING, ROW_REJECTED, ROW_RESULTS
from tests.builders import a_worker, body_of
from tests.emulator import Emulator, settings_for
from tests.faults.proxy import Act, FaultProxy, Request, Rule, running_proxy
from tests.files_of_rows import as_xlsx
from tests.integration.harness import Harness, play
from tests.integration.test_retention import LaterClock
from tests.tenants import new_sender
from tests.unit.imports.licenses.license_bodies import license_xml, sample_rows

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),
]
GOOD, BAD = a_worker("P1"), a_worker("P2", Gender="not a number")


class Box:
    """The containers of one tenant, and the imports of its drops."""

    def __init__(self, stage: Harness, service: BlobServiceClient) -> None:
        self.stage = stage
        self.tenant = stage.sender.tenant
        self.key = stage.sender.integration.software_key
        self.gateway = stage.gateway
        self.drops = stage.gateway.row_drops
        self._service = service
        self.box = self.container(ROW_DROP)

    def container(self, name: str) -> ContainerClient:
        return self._service.get_container_client(name)

    async def put(self, rows: list[Any] | bytes, path: str = "workers/a.json", **more: Any) -> str:
        """Drop a file of this tenant's integration and return its name."""
        name = f"{self.tenant}/{self.key}/{path}"
        content = rows if isinstance(rows, bytes) else body_of(rows)
        await self.box.upload_blob(name, content, overwrite=True, **more)
        return name

    async def imported(self, rows: list[Any] | bytes, path: str = "workers/a.json") -> Any:
        """Drop a file and import it; the content of its `result.json`."""
        name = await self.put(rows, path)
        await self.drops.import_drop(name)
        await self.stage.drain()
        return await self.result()

    async def names(self, container: str, prefix: str = "") -> list[str]:
        listed = self.container(container).list_blobs(prefix or f"{self.tenant}/")
        return [blob.name async for blob in listed]

    async def read(self, container: str, name: str) -> bytes:
        return bytes(await (await self.container(container).download_blob(name)).readall())

    async def result(self) -> Any:
        """The content of the only `result.json`."""
        [name] = [each for each in await self.names(ROW_RESULTS) if each.endswith("/result.json")]
        return json.loads(await self.read(ROW_RESULTS, name))

    async def failed_rows(self) -> list[dict[str, str]]:
        """The rows of the only `failed.csv`."""
        [name] = [each for each in await self.names(ROW_RESULTS) if each.endswith("/failed.csv")]
        text = (await self.read(ROW_RESULTS, name)).decode("utf-8-sig")
        return list(csv.DictReader(StringIO(text)))

    async def imports(self) -> list[ImportReport]:
        """The imports of the tenant, oldest first."""
        page = await self.gateway.reporting.newest(self.tenant, None, 100)
        return [*reversed(page.reports)]

    async def is_settled(self) -> bool:
        """Whether nothing is left to do."""
        return await self.names(ROW_DROP) == [] == await self.names(ROW_PENDING)


def boxes(
    storage: str,
    scenario: Callable[[Box], Awaitable[None]],
    **settings: Any,
) -> None:
    """Run a test with a tenant of its own. Files are taken at once."""

    async def run(stage: Harness) -> None:
        async with BlobServiceClient.from_connection_string(storage) as service:
            await scenario(Box(stage, service))

    play(storage, run, **{"row_drop_seconds": 0, "document_sweep_seconds": 0, **settings})


def test_a_dropped_file_is_an_import_with_its_results_beside_it(delivered: str) -> None:
    async def scenario(box: Box) -> None:
        name = await box.put([GOOD, BAD])
        drop = await box.gateway.account.row_drops.find(name)
        assert drop is not None
        assert await box.drops.import_drop(name) is DropOutcome.DONE
        assert await box.names(ROW_RESULTS) == []
        await box.stage.drain()
        [report] = await box.imports()
        record = report.record
        assert record.import_id == row_drop_id(drop)
        assert record.sender.caller is not None
        assert record.sender.caller.to_document() == {"drop": name}
        assert record.sender.source == "a.json"
        assert record.sender.body_hash
        place = f"{name}/{record.import_id}"
        results = [f"{place}/failed.csv", f"{place}/result.json"]
        assert await box.names(ROW_RESULTS) == results
        result = await box.result()
        assert (result["importId"], result["state"]) == (record.import_id, "CompletedWithErrors")
        assert (result["rows"]["new"], result["rows"]["failed"]) == (1, 1)
        assert [(each["index"], each["key"]["PersonnelRef"]) for each in result["failed"]] == [
            (1, "P2")
        ]
        assert result["failed"][0]["messages"][0]["fieldName"] == "Gender"
        assert (result["failedLeftOut"], result["file"]) == (0, name)
        [failed] = await box.failed_rows()
        assert (failed["_index"], failed["PersonnelRef"], failed["Gender"]) == (
            *("1", "P2"),
            "not a number",
        )
        assert await box.names(ROW_DONE) == [place]
        assert json.loads(await box.read(ROW_DONE, place)) == [GOOD, BAD]
        assert await box.is_settled()
        assert await box.drops.import_drop(name) is DropOutcome.NOTHING_TO_DO

    boxes(delivered, scenario)


def test_files_without_failed_rows_and_without_rows(delivered: str) -> None:
    async def scenario(box: Box) -> None:
        assert (await box.imported([GOOD]))["rows"]["new"] == 1
        assert len(await box.names(ROW_RESULTS)) == 1
        name = await box.put([], "workers.v1/empty.json")
        await box.drops.import_drop(name)
        assert len(await box.imports()) == 1
        [result] = [each for each in await box.names(ROW_RESULTS) if "empty" in each]
        assert json.loads(await box.read(ROW_RESULTS, result))["rows"] == {"total": 0}
        assert await box.is_settled()
        assert len(await box.names(ROW_DONE)) == 2

    boxes(delivered, scenario)


CSV = b"EmployerRef;PersonnelRef;Surname\r\nE1;P1;Sample\r\n"


def test_files_of_every_format_are_imported(delivered: str) -> None:
    async def scenario(box: Box) -> None:
        files: dict[str, bytes] = {
            "workers/a.csv": CSV,
            "workers/b.CSV": CSV.decode().encode("utf-16"),
            "workers/c.ndjson": json.dumps(a_worker("P1")).encode() + b"\n",
            "workers.v1/d.json.gz": gzip.compress(body_of([a_worker("P1")])),
            "workers/e.csv.gz": CSV,  # as some programs unpack it on the way
            "workers/f.xlsx": as_xlsx([a_worker("P1")], "xlsxwriter").body,
            "licenses/f.xml": license_xml(sample_rows()),
            "licenses/g.json": body_of(sample_rows()),
        }
        for path, content in files.items():
            await box.put(content, path)
        settings = ContentSettings(content_encoding="gzip")
        await box.put(gzip.compress(CSV), "workers/h.csv", content_settings=settings)
        await box.gateway.row_drop_sweep.run()
        await box.stage.drain()
        states = {each.record.sender.source: each.state.value for each in await box.imports()}
        assert states == dict.fromkeys((path.split("/")[1] for path in files), "Completed") | {
            "h.csv": "Completed"
        }
        assert await box.is_settled()

    boxes(delivered, scenario)


@pytest.mark.parametrize("ending", ["json", "ndjson"])
def test_failed_rows_in_json_can_be_corrected_and_dropped_again(
    delivered: str, ending: str
) -> None:
    async def scenario(box: Box) -> None:
        message = {"fieldName": "Gender", "message": "It is wrong: the cell D2 shows a percentage"}
        rows = [
            {"index": 3, "row": a_worker("P1"), "messages": [message]},
            {"index": 7, "row": a_worker("P2", Gender=2), "messages": [message]},
        ]
        lines = [json.dumps(row) for row in rows]
        body = f"[{','.join(lines)}]" if ending == "json" else "\n".join(lines)
        result = await box.imported(body.encode(), f"workers/failed.{ending}")
        assert (result["rows"]["new"], result["rows"]["failed"]) == (1, 1)
        [row] = await box.failed_rows()
        assert row["PersonnelRef"] == "P1"
        assert "1002 Gender: " in row["_error"]
        assert "refused and is empty" in row["_error"]

    boxes(delivered, scenario)


@pytest.mark.parametrize(
    ("read", "permissions"),
    [
        (ReadPermission.NONE, DEFAULT_PERMISSIONS),
        (ReadPermission.FULL, frozenset({"import:workers"})),
        (ReadPermission.FULL, DEFAULT_PERMISSIONS),
    ],
)
def test_failed_rows_show_what_the_integration_may_read(
    delivered: str, read: ReadPermission, permissions: frozenset[str]
) -> None:
    async def scenario(box: Box) -> None:
        sender = await new_sender(box.gateway, box.tenant, read=read, permissions=permissions)
        box.key = sender.integration.software_key
        bank = {"PrimaryBankDetails": {"BankAccountNumber": "12345678"}}
        await box.imported([BAD | bank])
        [row] = await box.failed_rows()
        is_full = read is ReadPermission.FULL and READ in permissions
        expected = "12345678" if is_full else "***5678"
        assert row["PrimaryBankDetails.BankAccountNumber"] == expected
        assert is_full or "12345678" not in json.dumps(await box.result())

    boxes(delivered, scenario)


def test_a_file_is_not_kept_where_the_setting_says_so(delivered: str) -> None:
    async def scenario(box: Box) -> None:
        await box.imported([GOOD])
        assert await box.is_settled()
        assert await box.names(ROW_DONE) == []

    boxes(delivered, scenario, keep_drop_days=0)


REFUSED: list[tuple[str, bytes, str]] = [
    ("workers/a.json", b"[{", "is not valid JSON"),
    ("workers/a.json", b"[1]", "not supported"),
    ("workers/a.docx", b"[]", "format"),
    ("workers/a", b"[]", "format"),
    ("nothing/a.json", b"[]", "names no type"),
    ("documents/a.json", b"[]", "names no type"),
    ("authdata/a.json", b"[]", "names no type"),
    ("workers.v2/a.json", b"[]", "names no type"),
    ("workers.v1.v1/a.json", b"[]", "names no type"),
    ("workers@nightly/a.json", b"[]", "has no profile nightly"),
    ("workers@/a.json", b"[]", "profile"),
    (f"workers.v{'9' * 400}/a.json", b"[]", "names no type"),
    ("workers.v\u0661/a.json", b"[]", "names no type"),
    ("workers/more/a.json", b"[]", "has 5 parts and 4 are expected"),
    ("a.json", b"[]", "has 3 parts"),
    ("workers/%zz.json", b"[]", "encodes nothing"),
    ("workers/%ff.json", b"[]", "not UTF-8"),
    ("workers/..%2F..%2Fa.json", b"[]", "name of the file is not safe"),
    ("workers/%2e%2e", b"[]", "name of the file is not safe"),
    ("workers/a%00.json", b"[]", "name of the file is not safe"),
    ("workers/a\x01.json", b"[]", "name of the file is not safe"),
    ("workers/a\u202efdp.json", b"[]", "name of the file is not safe"),
    (f"workers/{'x' * 300}.json", b"[]", "name of the file is not safe"),
    (f"{'x' * 800}/a.json", b"[]", "names no type"),
    ("/".join("abcdefgh" * 25), b"[]", "has 202 parts"),
]


def test_a_file_that_cannot_be_read_is_rejected_with_its_reason(delivered: str) -> None:
    async def scenario(box: Box) -> None:
        for path, content, reason in REFUSED:
            name = await box.put(content, path)
            await box.drops.import_drop(name)
            [moved] = await box.names(ROW_REJECTED)
            result = await box.result()
            assert result["state"] == "Rejected"
            assert reason in result["message"], path
            blob = await box.container(ROW_REJECTED).download_blob(moved)
            assert await blob.readall() == content
            assert unquote(blob.properties.metadata["reason"]) == result["message"][:500]
            for container in (ROW_REJECTED, ROW_RESULTS):
                for each in await box.names(container):
                    assert len(each) <= 1024
                    assert each.count("/") < 254
                    await box.container(container).delete_blob(each)
            assert await box.is_settled(), path
        assert await box.imports() == []
        assert await box.names(ROW_DONE) == []

    boxes(delivered, scenario)


def test_the_path_decides_who_sends_and_no_other_tenant_is_reached(delivered: str) -> None:
    """Another tenant's software key, other spellings of it and of the tenant, a disabled one."""

    async def scenario(box: Box) -> None:
        gateway = box.gateway
        other = await new_sender(gateway)
        disabled = await new_sender(gateway, box.tenant, enabled=False)
        no_database = await new_sender(gateway, box.tenant, database=Database(active=False))
        old = await new_sender(gateway, box.tenant, database=Database(version=0))
        reader = await new_sender(gateway, box.tenant, permissions=frozenset({"read"}))
        paths = {
            f"{box.tenant}/{other.integration.software_key}/workers/a.json": "Integration missing",
            f"{box.tenant}/{box.key.lower()}/workers/a.json": "Integration missing",
            f"{box.tenant}/{'K' * 700}/workers/a.json": "Integration missing",
            f"{box.tenant}/%20/workers/a.json": "Integration missing",
            f"{box.tenant}/{disabled.integration.software_key}/workers/a.json": "Integration",
            f"{box.tenant}/{no_database.integration.software_key}/workers/a.json": "not active",
            f"{box.tenant}/{old.integration.software_key}/workers/a.json": "Invalid DB Version",
            f"{box.tenant}/{reader.integration.software_key}/workers/a.json": "import:workers",
            f"{box.tenant}%2F{other.tenant}/{box.key}/workers/a.json": "no id of a tenant",
            f"{box.tenant.upper()}/{box.key}/workers/a.json": "no id of a tenant",
            f"x{box.tenant[1:]}0/{box.key}/workers/a.json": "tenant of the dropped file",
        }
        for path, reason in paths.items():
            await box.box.upload_blob(path, body_of([GOOD]))
            await box.drops.import_drop(path)
            prefix = f"{path}/"
            [result] = await box.names(ROW_RESULTS, prefix)
            assert reason in json.loads(await box.read(ROW_RESULTS, result))["message"], path
            assert len(await box.names(ROW_REJECTED, prefix)) == 1
        assert await box.imports() == []
        assert not (await gateway.reporting.newest(other.tenant, None, 10)).reports
        # Percent-encoded where it need not be, blanks around, the type in another case.
        encoded = "".join(f"%{ord(letter):02X}" for letter in f" {box.key}")
        box.key = encoded
        await box.drops.import_drop(await box.put([GOOD], "WORKERS/a%20b.json"))
        await box.stage.drain()
        [report] = await box.imports()
        assert (report.state, report.record.sender.source) == (ImportState.COMPLETED, "a%20b.json")
        assert await box.is_settled()

    boxes(delivered, scenario)


def test_a_disabled_tenant_is_refused(delivered: str) -> None:
    async def scenario(box: Box) -> None:
        await box.gateway.tenants.switch(box.tenant, is_enabled=False)
        await box.drops.import_drop(await box.put([GOOD]))
        assert "is disabled" in (await box.result())["message"]

    boxes(delivered, scenario)


def test_blobs_of_other_kinds_and_over_the_limit_are_refused(delivered: str) -> None:
    async def scenario(box: Box) -> None:
        md5 = ContentSettings(content_md5=bytearray(16))
        blob = box.box.get_blob_client(f"{box.tenant}/{box.key}/workers/md5.json")
        await blob.stage_block("YQ==", b"[]")
        await blob.commit_block_list([BlobBlock("YQ==")], content_settings=md5)
        await box.put(b"[" + b" " * 511, "workers/page.json", blob_type=BlobType.PAGEBLOB)
        archived = StandardBlobTier.ARCHIVE
        await box.put(b"[]", "workers/archived.json", standard_blob_tier=archived)
        await box.put(b"[" + b" " * 70_000 + b"]", "workers/large.json")
        await box.put(body_of([GOOD]), "workers/appended.json", blob_type=BlobType.APPENDBLOB)
        await box.gateway.row_drop_sweep.run()
        await box.stage.drain()
        said = {}
        for name in await box.names(ROW_RESULTS):
            result = json.loads(await box.read(ROW_RESULTS, name))
            said[name.split("/")[3]] = result.get("message", result["state"])
        assert "Content-MD5" in said.pop("md5.json")
        assert "page blob" in said.pop("page.json")
        assert "archive tier" in said.pop("archived.json")
        assert "the limit is 65536" in said.pop("large.json")
        assert said == {"appended.json": "Completed"}
        assert await box.is_settled()

    boxes(delivered, scenario, max_body_bytes=65_536)


def test_a_file_that_is_still_written_waits(delivered: str) -> None:
    """Empty at first, then growing: it is imported when it has stood still, as it is then."""

    async def scenario(box: Box) -> None:
        name = await box.put(b"")
        assert await box.drops.import_drop(name) is DropOutcome.WAITS
        await box.put(b"[")
        waiting = asyncio.ensure_future(box.drops.import_drop(name))
        await box.put([GOOD])
        await box.gateway.row_drop_sweep.run()
        assert await box.imports() == []
        if await waiting is DropOutcome.WAITS:
            assert await box.drops.import_drop(name) is DropOutcome.DONE
        await box.stage.drain()
        assert (await box.result())["rows"]["new"] == 1
        assert await box.names(ROW_REJECTED) == []

    boxes(delivered, scenario, row_drop_seconds=3, document_sweep_seconds=60)


def test_an_empty_file_is_rejected_after_an_hour(delivered: str) -> None:
    async def scenario(box: Box) -> None:
        name = await box.put(b"")
        async with later(delivered, 3_590) as drops:
            assert await drops.import_drop(name) is DropOutcome.WAITS
        async with later(delivered, 3_602) as drops:
            assert await drops.import_drop(name) is DropOutcome.DONE
        assert "is empty" in (await box.result())["message"]
        assert await box.is_settled()

    boxes(delivered, scenario)


@asynccontextmanager
async def later(storage: str, seconds: float) -> AsyncIterator[RowDrops]:
    """The service of another gateway, whose clock is so far ahead."""
    gateway = compose(settings_for(storage, row_drop_seconds=0), LaterClock(seconds / 86_400))
    try:
        yield gateway.row_drops
    finally:
        await gateway.account.close()


def test_a_leased_file_waits_a_minute_and_leaves_when_the_lease_ends(delivered: str) -> None:
    async def scenario(box: Box) -> None:
        name = await box.put([GOOD])
        lease = await box.box.get_blob_client(name).acquire_lease()
        assert await box.drops.import_drop(name) is DropOutcome.WAITS
        async with later(delivered, 61) as drops:
            assert await drops.import_drop(name) is DropOutcome.DONE
            await box.stage.drain()
            for _ in range(2):
                await drops.import_drop(name)
                assert await box.names(ROW_DROP) == [name]
                assert (await box.result())["rows"]["new"] == 1
            await lease.release()
            assert await drops.import_drop(name) is DropOutcome.NOTHING_TO_DO
        assert await box.is_settled()
        assert len(await box.imports()) == 1

    boxes(delivered, scenario)


def test_a_file_that_is_told_of_many_times_at_once_is_one_import(delivered: str) -> None:
    async def scenario(box: Box) -> None:
        good = await box.put([GOOD])
        bad = await box.put(b"[", "workers/b.json")
        outcomes = await asyncio.gather(*(box.drops.import_drop(each) for each in [good] * 5))
        # One call reads the file; the others do not read it as well.
        assert outcomes.count(DropOutcome.DONE) == 1
        await asyncio.gather(*(box.drops.import_drop(bad) for _ in range(5)))
        await box.stage.drain()
        await asyncio.gather(*(box.drops.import_drop(good) for _ in range(3)))
        await asyncio.gather(*(box.drops.settle_ended() for _ in range(3)))
        assert len(await box.imports()) == 1
        assert len(await box.names(ROW_RESULTS)) == 2
        assert len(await box.names(ROW_DONE)) == len(await box.names(ROW_REJECTED)) == 1
        assert await box.is_settled()

    boxes(delivered, scenario)


@pytest.mark.parametrize("then", ["overwritten", "deleted"])
def test_a_file_that_changes_while_it_is_imported_keeps_its_results(
    delivered: str, then: str
) -> None:
    async def scenario(box: Box) -> None:
        name = await box.put([GOOD])
        await box.drops.import_drop(name)
        if then == "deleted":
            await box.box.delete_blob(name)
        else:
            await box.put([a_worker("P9")])
        await box.stage.drain()
        assert len(await box.names(ROW_RESULTS)) == 1
        assert await box.names(ROW_DONE) == []
        await box.gateway.row_drop_sweep.run()
        await box.stage.drain()
        expected = 1 if then == "deleted" else 2
        assert len(await box.imports()) == expected
        assert len(await box.names(ROW_RESULTS)) == expected
        assert len(await box.names(ROW_DONE)) == expected - 1
        assert await box.is_settled()

    boxes(delivered, scenario)


def test_a_file_that_was_refused_first_gets_the_results_of_its_import(delivered: str) -> None:
    """The process died while it refused it; by the next event the tenant is enabled."""

    async def scenario(box: Box) -> None:
        name = await box.put([GOOD])
        drop = await box.gateway.account.row_drops.find(name)
        assert drop is not None
        place = f"{name}/{row_drop_id(drop)}/result.json"
        refused = json.dumps({"importId": None, "state": "Rejected"})
        await box.container(ROW_RESULTS).upload_blob(place, refused)
        await box.drops.import_drop(name)
        await box.stage.drain()
        assert (await box.result())["state"] == "Completed"
        assert await box.is_settled()

    boxes(delivered, scenario)


def test_a_file_that_cannot_be_sealed_says_that_it_waits_and_is_imported_later(
    delivered: str,
) -> None:
    async def scenario(box: Box) -> None:
        name = await box.put([GOOD])
        unsealed = compose(settings_for(delivered, row_drop_seconds=0, data_keys=""))
        for _ in range(2):
            assert await unsealed.row_drops.import_drop(name) is DropOutcome.WAITS
        await unsealed.account.close()
        result = await box.result()
        assert (result["state"], result["importId"], result["file"]) == ("Waiting", None, name)
        assert "GATEWAY_DATA_KEYS" in result["message"]
        assert (await box.names(ROW_DROP), await box.names(ROW_PENDING)) == ([name], [])
        await box.drops.import_drop(name)
        await box.stage.drain()
        assert (await box.result())["state"] == "Completed"
        assert await box.is_settled()

    boxes(delivered, scenario)


def test_a_command_that_waits_ends_whatever_becomes_of_the_file(
    delivered: str, tmp_path: Path
) -> None:
    async def scenario(box: Box) -> None:
        file = tmp_path / "a.csv"
        file.write_bytes(CSV)

        async def drop() -> DroppedFile:
            return await box.drops.drop(box.tenant, box.key, "workers", file)

        dropped = await drop()
        result = await wait_for_result(box.gateway, dropped, patience=0.1)
        assert "No gateway has imported the file" in result["message"]
        await box.drops.import_drop(dropped.name)
        result = await wait_for_result(box.gateway, dropped, patience=0.1)
        assert "has not gone on" in result["message"]
        await box.stage.drain()
        assert (await wait_for_result(box.gateway, dropped))["rows"]["new"] == 1
        dropped = await drop()
        await box.put(CSV, "workers/a.csv")
        assert (await wait_for_result(box.gateway, dropped))["state"] == "Gone"
        await box.box.delete_blob(dropped.name)
        assert (await wait_for_result(box.gateway, dropped))["state"] == "Gone"

    boxes(delivered, scenario)


def test_a_note_of_a_call_that_died_is_removed_after_an_hour(delivered: str) -> None:
    async def scenario(box: Box) -> None:
        note = f"{box.tenant}/00000000-0000-8000-8000-000000000000"
        content = json.dumps({"name": f"{box.tenant}/K/workers/a.json", "etag": "x"})
        await box.container(ROW_PENDING).upload_blob(note, content)
        await box.drops.settle_ended()
        assert await box.names(ROW_PENDING) == [note]
        async with later(delivered, 3_601) as drops:
            await drops.settle_ended()
        assert await box.is_settled()

    boxes(delivered, scenario)


def test_a_tenant_with_too_many_open_imports_waits(delivered: str) -> None:
    async def scenario(box: Box) -> None:
        await box.stage.accept([a_worker("P7")])
        name = await box.put([GOOD])
        assert await box.drops.import_drop(name) is DropOutcome.WAITS
        assert await box.names(ROW_DROP) == [name]
        assert await box.names(ROW_RESULTS) == []
        await box.stage.drain()
        await box.box.delete_blob(name)

    boxes(delivered, scenario, open_imports=1)


def test_files_and_results_go_after_their_time(delivered: str) -> None:
    async def scenario(box: Box) -> None:
        await box.imported([GOOD, BAD])
        await box.drops.import_drop(await box.put(b"[", "workers/b.json"))
        kept = {ROW_DONE: 1, ROW_REJECTED: 1, ROW_RESULTS: 3}
        for days, gone in ((29, ()), (31, (ROW_DONE, ROW_REJECTED)), (91, (ROW_RESULTS,))):
            await retention_of(box.gateway, LaterClock(days)).purge([box.tenant], None)
            kept |= dict.fromkeys(gone, 0)
            assert {name: len(await box.names(name)) for name in kept} == kept
        # A refused file whose path names no tenant goes too.
        stray = f"{box.tenant.upper()}/{box.key}/workers/a.json"
        await box.box.upload_blob(stray, body_of([GOOD]))
        await box.drops.import_drop(stray)
        await box.drops.import_drop(await box.put(b"[", "workers/c.json"))
        for days, strays in ((29, 1), (31, 0)):
            await purge_refused_without_tenant(box.gateway, LaterClock(days))
            assert len(await box.names(ROW_REJECTED, f"{box.tenant.upper()}/")) == strays
        assert len(await box.names(ROW_REJECTED)) == 1

    boxes(delivered, scenario)


# Deaths: the process goes at each write of one drop, before or after storage has applied it.


@pytest.mark.timeout(300)
@pytest.mark.parametrize("is_applied", [False, True])
def test_a_process_that_dies_at_any_write_loses_nothing_and_doubles_nothing(
    emulator: Emulator, is_applied: bool
) -> None:
    """On an account with few tenants, since the sweep goes through all of them."""
    with running_proxy(emulator.account("dropped")) as proxy:

        async def scenario(box: Box) -> None:
            writes = 0
            while await dies_at(proxy, box, writes, is_applied):
                writes += 1
            # Note, acceptance, message, record, result, close, failed.csv, result.json, copy, …
            assert writes >= 10

        boxes(proxy.connection_string, scenario, sweep_after_seconds=0)


async def dies_at(proxy: FaultProxy, box: Box, writes: int, is_applied: bool) -> bool:
    """Whether there was such a write at which the process died."""
    rows = [a_worker(f"P{writes}"), a_worker(f"Q{writes}", Gender="x")]
    name = await box.put(rows, f"workers/{writes}-{is_applied}.json")
    loop = asyncio.get_running_loop()

    async def work() -> None:
        await box.drops.import_drop(name)
        await box.stage.drain()

    task = asyncio.ensure_future(work())

    def die() -> None:
        loop.call_soon_threadsafe(task.cancel)

    rule = proxy.add(Rule(Act(die, is_applied), when=is_write, after=writes, times=1))
    await asyncio.wait({task})
    proxy.clear()
    has_died = task.cancelled()
    assert has_died or task.exception() is None
    if has_died:
        # What was sent to a queue may be lost with the process; the sweeps find it.
        await box.gateway.row_drop_sweep.run()
        await box.gateway.sweep.run()
        await box.stage.drain()
        await box.gateway.row_drop_sweep.run()
        await box.gateway.row_drops.settle_ended()
    assert rule.applied == has_died
    mine = [each for each in await box.imports() if each.record.sender.source == name.split("/")[3]]
    [report] = mine
    assert (report.counts.new, report.counts.failed) == (1, 1)
    place = f"{name}/{report.record.import_id}"
    results = [f"{place}/failed.csv", f"{place}/result.json"]
    assert await box.names(ROW_RESULTS, f"{name}/") == results
    assert json.loads(await box.read(ROW_RESULTS, results[1]))["rows"]["failed"] == 1
    assert await box.names(ROW_DONE, f"{name}/") == [place]
    assert await box.is_settled()
    return has_died


def is_write(request: Request) -> bool:
    is_message = "/messages" in request.target and request.method != "POST"
    return request.method not in ("GET", "HEAD") and not is_message
