"""What dropped rows keep of a person (docs/persons-and-tenants.md).

A file of rows belongs to many persons. So it is deleted as a whole, together with the results
beside it; its rows are erased in its import as in any other. A file that was refused is deleted if
it names the person, by its text, since it was never read as rows. While a file waits that names the
person, or the results of its import are being written, an erasure is refused.
"""

from __future__ import annotations

import asyncio
import json
import re
import zipfile
from collections.abc import Collection, Iterator
from io import BytesIO

from shared.clock import ANY_TIME
from shared.errors import RefusedError
from shared.imports.files.gzip_bodies import is_gzip, unpacked
from shared.imports.files.text import utf8_body
from shared.services.persons.search import BlobRange, PersonSearch
from shared.storage.names import ROW_DONE, ROW_DROP, ROW_PENDING, ROW_REJECTED, ROW_RESULTS
from shared.storage.ports import StoredBlobs

# The most bytes of a compressed file that are searched. A larger one counts as unreadable.
_MOST_BYTES = 256 * 1024 * 1024
_DROPPED = "dropped files"


class DroppedRows:
    """The containers of dropped rows, as an erasure sees them."""

    def __init__(self, blobs: StoredBlobs) -> None:
        self._blobs = blobs

    async def files_of(self, tenant: str, import_ids: Collection[str]) -> list[BlobRange]:
        """The files of these imports and their results."""
        if not import_ids:
            return []
        done = await self._names(ROW_DONE, tenant)
        results = await self._names(ROW_RESULTS, tenant)
        return [
            *(BlobRange(ROW_DONE, name) for name in done if name.split("/")[-1] in import_ids),
            *(
                BlobRange(ROW_RESULTS, each)
                for each in results
                if each.split("/")[-2] in import_ids
            ),
        ]

    async def rejected_files(self, search: PersonSearch) -> list[BlobRange]:
        """The refused files that name the person, with the results that say why.

        Files that cannot be searched are counted as unreadable.
        """
        found: list[BlobRange] = []
        for name in await self._names(ROW_REJECTED, search.tenant):
            if await self._is_named(search, ROW_REJECTED, name):
                found.append(BlobRange(ROW_REJECTED, name))
                found.append(BlobRange(ROW_RESULTS, f"{name}/result.json"))
        return found

    async def waiting_file(self, search: PersonSearch) -> str | None:
        """A file that waits to be imported and may name the person."""
        for name in await self._names(ROW_DROP, search.tenant):
            unreadable = search.unreadable[_DROPPED]
            if await self._is_named(search, ROW_DROP, name):
                return name
            if search.unreadable[_DROPPED] > unreadable:
                return name
        return None

    async def unsettled(self, tenant: str) -> list[str]:
        """The ids of the imports whose results are not written yet."""
        return [name.split("/")[-1] for name in await self._names(ROW_PENDING, tenant)]

    async def _names(self, container: str, tenant: str) -> list[str]:
        return await self._blobs.names_before(container, f"{tenant}/", ANY_TIME)

    async def _is_named(self, search: PersonSearch, container: str, name: str) -> bool:
        data = await self._blobs.read(container, name)
        if data is None:
            return False
        try:
            return await asyncio.to_thread(names_person, data, frozenset(search.keys.texts()))
        except (RefusedError, zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            search.unreadable[_DROPPED] += 1
            return False


def names_person(data: bytes, texts: Collection[str]) -> bool:
    """Whether one of the texts stands in a file as a whole word.

    Raises RefusedError, BadZipFile and others for what cannot be unpacked.
    """
    words = {word for text in texts if text for word in (text, json.dumps(text)[1:-1])}
    if not words:
        return False
    word = "|".join(re.escape(each) for each in sorted(words))
    pattern = re.compile(rf"(?<![A-Za-z0-9])(?:{word})(?![A-Za-z0-9])".encode())
    return any(pattern.search(part) for part in _parts(data))


def _parts(data: bytes) -> Iterator[bytes]:
    """The text of a file, of all its members if it is an archive."""
    if is_gzip(data):
        data = unpacked(data, _MOST_BYTES)
    if not data.startswith(b"PK\x03\x04"):
        try:
            yield utf8_body(data, "")
        except RefusedError:
            yield data
        return
    with zipfile.ZipFile(BytesIO(data)) as archive:
        if sum(each.file_size for each in archive.infolist()) > _MOST_BYTES:
            raise ValueError("an archive is too large")
        for member in archive.infolist():
            yield archive.read(member)
