"""Dropped blobs of every kind: what is stored is the drop byte for byte, or it is rejected.

Properties that change what a reader gets, other types and tiers of blobs, leases, snapshots, names
that lists and logs cannot hold; and that no drop holds up the others.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import logging
import random
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.storage.blob import BlobBlock, BlobType, ContentSettings, StandardBlobTier

from shared.clock import derived_id
from shared.errors import PreconditionFailedError, StorageUnavailableError
from shared.imports.documents.messages import DocumentMessageId
from shared.imports.messages import MessageId
from shared.services.drops import DropOutcome, DropRuns, select_drops
from shared.storage.dropped_blobs import Drop
from shared.storage.import_records import index_row, record_row
from shared.storage.names import DOCUMENT_DROP, DOCUMENT_REJECTED, IMPORTS
from shared.storage.ports import Entity, Insert
from tests.documents import PDF, ROUND, make_ready
from tests.faults.proxy import Answer, ReplaceBody, Rule, Service, running_proxy, throttled
from tests.integration.test_documents import Drops, drops
from tests.tenants import new_sender

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),
]
NOISE = b"%PDF-" + random.Random(7).randbytes(300_000)
BLOCK = 4 * 1024 * 1024


async def put(play: Drops, content: bytes, path: str = f"{ROUND}/P1/a.pdf", **more: Any) -> str:
    """Drop a blob with further properties and return its name."""
    name = f"{play.tenant}/{path}"
    await play.box.upload_blob(name, content, overwrite=True, **more)
    return name


async def the_rejected(play: Drops) -> tuple[bytes, dict[str, str], Any]:
    """The one rejected file: its bytes as a plain reader gets them, metadata, properties."""
    [name] = await play.names(play.rejected)
    blob = await play.rejected.get_blob_client(name).download_blob()
    return await blob.readall(), blob.properties.metadata, blob.properties


async def the_stored(play: Drops) -> bytes:
    """The content of the one document."""
    [document] = await play.documents()
    return await play.gateway.documents.reading.content(play.tenant, document)


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("gzip", gzip.compress(PDF)),
        ("gzip", gzip.compress(NOISE)),
        ("GZip", gzip.compress(b"%PDF-" + bytes(2 * BLOCK))),
        ("gzip", gzip.compress(b"%PDF-" + NOISE * 20)),
        ("gzip", PDF),
        ("gzip", b""),
        ("deflate", zlib.compress(PDF)),
        ("br", PDF),
        ("gzip, gzip", gzip.compress(gzip.compress(PDF))),
    ],
)
def test_an_encoded_drop_is_rejected_with_the_bytes_that_it_has(
    delivered: str, encoding: str, content: bytes
) -> None:
    """Unzipped on its way it would be copied with the length of what was zipped."""

    async def scenario(play: Drops) -> None:
        settings = ContentSettings(content_encoding=encoding)
        await play.import_drop(await put(play, content, content_settings=settings))
        assert await play.names(play.box) == []
        stored, metadata, properties = await the_rejected(play)
        assert stored == content
        assert not properties.content_settings.content_encoding
        fault = DocumentMessageId.FILE_ENCODED if content else DocumentMessageId.EMPTY_FILE
        assert metadata["errorid"] == str(fault)
        assert await play.documents() == []

    drops(delivered, scenario)


@pytest.mark.parametrize("content", [PDF, NOISE, b"%PDF-" + bytes(2 * BLOCK + 1)])
def test_other_properties_change_nothing_about_what_is_stored(
    delivered: str, content: bytes
) -> None:
    async def scenario(play: Drops) -> None:
        settings = ContentSettings(
            content_encoding="identity",
            content_type="text/html",
            content_language="xx",
            content_disposition="inline; filename=evil.html",
            cache_control="public",
        )
        await play.import_drop(await put(play, content, content_settings=settings))
        assert await play.names(play.box) == []
        assert await the_stored(play) == content

    drops(delivered, scenario)


@pytest.mark.parametrize("is_right", [True, False])
def test_a_drop_that_does_not_have_its_md5_is_rejected(delivered: str, is_right: bool) -> None:
    async def scenario(play: Drops) -> None:
        name = f"{play.tenant}/{ROUND}/P1/a.pdf"
        blob = play.box.get_blob_client(name)
        await blob.stage_block("YQ==", PDF)
        digest = hashlib.md5(PDF if is_right else b"", usedforsecurity=False).digest()
        settings = ContentSettings(content_md5=bytearray(digest))
        await blob.commit_block_list([BlobBlock("YQ==")], content_settings=settings)
        await play.import_drop(name)
        assert await play.names(play.box) == []
        if is_right:
            assert await the_stored(play) == PDF
        else:
            content, metadata, _ = await the_rejected(play)
            assert (content, metadata["errorid"]) == (PDF, str(DocumentMessageId.FILE_DAMAGED))

    drops(delivered, scenario)


def test_an_append_blob_goes_in_and_a_page_blob_is_rejected(delivered: str) -> None:
    async def scenario(play: Drops) -> None:
        await play.import_drop(await put(play, PDF, blob_type=BlobType.APPENDBLOB))
        assert await the_stored(play) == PDF
        page = PDF.ljust(-(-len(PDF) // 512) * 512, b"\0")
        await play.import_drop(await put(play, page, blob_type=BlobType.PAGEBLOB))
        assert await play.names(play.box) == []
        content, metadata, _ = await the_rejected(play)
        assert (content, metadata["errorid"]) == (page, str(DocumentMessageId.FILE_IS_PAGE_BLOB))

    drops(delivered, scenario)


def test_an_archived_drop_is_rejected_and_readable_again(delivered: str) -> None:
    async def scenario(play: Drops) -> None:
        await put(play, PDF, standard_blob_tier=StandardBlobTier.ARCHIVE)
        await play.gateway.documents.drop_sweep.run()
        assert await play.names(play.box) == []
        content, metadata, _ = await the_rejected(play)
        assert (content, metadata["errorid"]) == (PDF, str(DocumentMessageId.FILE_ARCHIVED))

    drops(delivered, scenario, document_sweep_seconds=0)


def test_a_leased_drop_goes_in_once_and_leaves_when_the_lease_ends(delivered: str) -> None:
    async def scenario(play: Drops) -> None:
        good, bad = await put(play, PDF), await put(play, PDF, f"{ROUND}/nobody/a.pdf")
        leases = [await play.box.get_blob_client(name).acquire_lease() for name in (good, bad)]
        for _ in range(2):
            for name in (good, bad):
                await play.import_drop(name)
        assert await the_stored(play) == PDF
        assert len(await play.results()) == 2
        assert len(await play.names(play.rejected)) == 1
        for lease in leases:
            await lease.release()
        await play.gateway.documents.drop_sweep.run()
        assert await play.names(play.box) == []
        assert len(await play.results()) == 2

    drops(delivered, scenario, document_sweep_seconds=0)


def test_a_drop_with_snapshots_goes_in_and_leaves_with_them(delivered: str) -> None:
    async def scenario(play: Drops) -> None:
        name = await put(play, b"%PDF-1.7 before")
        await play.box.get_blob_client(name).create_snapshot()
        await put(play, PDF)
        await play.import_drop(name)
        assert await the_stored(play) == PDF
        assert [
            blob async for blob in play.box.list_blobs(play.tenant, include=["snapshots"])
        ] == []

    drops(delivered, scenario)


def test_a_directory_stays_and_a_file_that_calls_itself_one_does_not(delivered: str) -> None:
    async def scenario(play: Drops) -> None:
        folder = await put(play, b"", f"{ROUND}/P1", metadata={"hdi_isfolder": "true"})
        await put(play, PDF, metadata={"hdi_isfolder": "true"})
        await play.gateway.documents.drop_sweep.run()
        assert await play.names(play.box) == [folder]
        assert await the_stored(play) == PDF

    drops(delivered, scenario, document_sweep_seconds=0)


def test_a_drop_that_is_written_over_while_it_is_read_ends_as_its_last_version(
    delivered: str,
) -> None:
    async def scenario(play: Drops) -> None:
        name = await put(play, b"%PDF-" + bytes(3 * BLOCK))
        files, dropped = play.gateway.account.documents, play.gateway.account.document_drops
        drop = await dropped.find(name)
        assert drop is not None
        await put(play, PDF)
        rejecting = dropped.copy(drop, DOCUMENT_REJECTED, f"{name}/x", {})
        for copy in (files.copy_drop(drop, "x", 1), rejecting):
            with pytest.raises(PreconditionFailedError):
                await copy
        assert await play.names(play.rejected) == []
        await play.import_drop(name)
        assert await the_stored(play) == PDF

    drops(delivered, scenario)


NAMES = [
    "a\x01b.pdf", "\x00", "a\x1f", "a\x7f.pdf", "a\x85.pdf", "a\r\nb.pdf", "a\tb.pdf",
    "a\u2028b.pdf", "a\u202efdp.exe", "a\ufffe.pdf", "a\uffff", "%zz", "%", "%00", "%2F", "%2e%2e",
    "%ff", "a%0d%0a.pdf", "a?b#c.pdf", "a&<b>\"'.pdf", "a\\b.pdf", "a:b.pdf", "con", ".hidden",
    "a.", "", " ", "/", "//", "x/y", "\U0001f600" * 80, "e\u0301" * 300, "x" * 900,
    "/".join("abcdefgh" * 30), "/" * 245,
]  # fmt: skip
"""What follows the worker in the name of a drop; none of it is a file that may go in."""


def test_a_drop_of_any_name_is_rejected_and_does_not_hold_up_another(
    delivered: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="gateway")

    async def scenario(play: Drops) -> None:
        for name in NAMES:
            await put(play, PDF, f"{ROUND}/P1/{name}")
        for name in ("a\x01b", "\ufffe", "%zz", "x/y"):
            await put(play, PDF, f"{ROUND}/{name}/a.pdf")
        good = await put(play, PDF, f"{ROUND}/P1/~good.pdf")
        sent = await play.names(play.box)
        await play.gateway.documents.drop_sweep.run()
        assert await play.names(play.box) == []
        assert await the_stored(play) == PDF
        rejected = await play.names(play.rejected)
        assert len(rejected) == len(sent) - 1
        assert all(name.count("/") < 254 and len(name) <= 1_024 for name in rejected)
        assert f"drop={good}" in caplog.text

    drops(delivered, scenario, document_sweep_seconds=0)
    assert r"a\x01b.pdf" in caplog.text
    assert all(line.isprintable() for line in caplog.messages)


def test_a_drop_whose_file_cannot_be_kept_ends_as_could_not_be_processed(delivered: str) -> None:
    """By a refusal that would come again at every try."""

    async def scenario(play: Drops) -> None:
        name = await put(play, PDF)
        proxy.add(Rule(Answer(400), Service.BLOB, "PUT", f"/documents/{play.tenant}/"))
        await play.import_drop(name)
        assert await play.names(play.box) == []
        content, metadata, _ = await the_rejected(play)
        assert (content, metadata["errorid"]) == (PDF, str(MessageId.COULD_NOT_BE_PROCESSED))
        [result] = await play.results()
        assert [message.id for message in result.messages] == [MessageId.COULD_NOT_BE_PROCESSED]

    with running_proxy(delivered) as proxy:
        drops(proxy.connection_string, scenario)


def test_a_drop_that_fails_every_time_does_not_hold_up_those_of_others(
    delivered: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(play: Drops) -> None:
        other = await new_sender(play.gateway)
        await make_ready(play.gateway, other.tenant)
        bad = f"{other.tenant}/{ROUND}/P1/b\x01ad.pdf"
        blob = await play.box.upload_blob(bad, PDF)
        etag = (await blob.get_blob_properties()).etag.strip('"')
        index = index_row(derived_id("drop", bad, etag))
        for unreadable in (
            Entity(other.tenant, index, {"Number": 1}),
            Entity(other.tenant, record_row(1), {"Chunks": "nonsense"}),
        ):
            await play.gateway.account.tables.write(IMPORTS, Insert(unreadable))
        await put(play, PDF)
        try:
            await play.gateway.documents.drop_sweep.run()
            assert await play.names(play.box) == []
            assert await the_stored(play) == PDF
            assert [blob.name async for blob in play.box.list_blobs(other.tenant)] == [bad]
        finally:
            await play.box.delete_blob(bad)

    drops(delivered, scenario, document_sweep_seconds=0)
    [line] = [line for line in caplog.messages if line.startswith("drop.failed")]
    assert r"b\x01ad.pdf" in line


def test_the_drops_of_a_turn_are_of_every_tenant() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)

    def a_drop(name: str) -> Drop:
        return Drop(name, "e", 1, moment, moment, {})

    many = [a_drop(f"many/{number}") for number in range(2_000)]
    few = [a_drop(f"few/{number}") for number in range(3)]
    turns = [select_drops([*many, *few], turn) for turn in range(9)]
    assert all(len(turn) == 500 and all(drop in turn[:6] for drop in few) for turn in turns)
    assert {drop.name for turn in turns for drop in turn} == {each.name for each in [*many, *few]}
    assert select_drops([], 1) == []


def test_a_drop_that_takes_longer_goes_on_and_is_not_begun_again() -> None:
    """The sweep goes on to the others meanwhile, up to a limit for each tenant."""

    class Importer:
        """Imports a drop once `may_end` is set."""

        def __init__(self) -> None:
            self.begun: list[str] = []
            self.may_end = asyncio.Event()

        async def import_drop(self, name: str) -> DropOutcome:
            self.begun.append(name)
            await self.may_end.wait()
            return DropOutcome.DONE

    async def play() -> None:
        runs, importer = DropRuns(seconds=0.001), Importer()
        for _ in range(2):
            assert await runs.run(importer, "a/1") is DropOutcome.WAITS
        for number in range(9):
            await runs.run(importer, f"a/{number}")
        await runs.run(importer, "b/1")
        assert importer.begun == ["a/1", "a/0", "a/2", "a/3", "b/1"]
        importer.may_end.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert await runs.run(importer, "a/9") is DropOutcome.DONE
        assert await runs.run(importer, "a/1") is DropOutcome.DONE

    asyncio.run(play())


def test_a_list_that_fails_as_a_whole_is_read_by_tenant(delivered: str) -> None:
    async def scenario(play: Drops) -> None:
        await put(play, PDF)
        rule = proxy.add(
            Rule(
                Answer(500),
                Service.BLOB,
                "GET",
                f"/{DOCUMENT_DROP}\\?.*comp=list",
                when=lambda request: "prefix=" not in request.target,
            )
        )
        await play.gateway.documents.drop_sweep.run()
        assert rule.applied > 0
        assert await play.names(play.box) == []
        assert await the_stored(play) == PDF

    with running_proxy(delivered) as proxy:
        drops(proxy.connection_string, scenario, document_sweep_seconds=0)


def test_a_drop_that_storage_does_not_give_out_does_not_hold_up_the_others(
    delivered: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(play: Drops) -> None:
        bad = await put(play, PDF, f"{ROUND}/P1/bad.pdf")
        await put(play, PDF)
        proxy.add(Rule(throttled(), Service.BLOB, "HEAD", "bad.pdf"))
        await play.gateway.documents.drop_sweep.run()
        assert await play.names(play.box) == [bad]
        assert await the_stored(play) == PDF
        proxy.clear()
        await play.gateway.documents.drop_sweep.run()
        assert await play.names(play.box) == []

    with running_proxy(delivered) as proxy:
        drops(proxy.connection_string, scenario, document_sweep_seconds=0)
    assert "bad.pdf" in caplog.text


def test_a_drop_whose_length_was_lost_on_the_way_is_not_rejected_as_empty(delivered: str) -> None:
    async def scenario(play: Drops) -> None:
        name = await put(play, PDF)
        rule = proxy.add(Rule(ReplaceBody(b""), Service.BLOB, "HEAD", "a.pdf", times=1))
        with pytest.raises(StorageUnavailableError):
            await play.import_drop(name)
        assert rule.applied == 1
        await play.import_drop(name)
        assert await play.names(play.box) == []
        assert await the_stored(play) == PDF

    with running_proxy(delivered) as proxy:
        drops(proxy.connection_string, scenario)
