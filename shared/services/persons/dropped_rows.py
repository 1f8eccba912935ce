"""What dropped rows keep of a person (docs/persons-and-tenants.md#dropped).

A file of rows belongs to many persons. So a copy that names the person is deleted as a whole; its
rows are erased in its import as in any other. A copy that cannot be searched is deleted too, since
it is not needed. While a file waits that names the person or cannot be searched, or the results of
its import are being written, an erasure is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from shared.clock import ANY_TIME
from shared.errors import ConflictError
from shared.imports.file_names import plain_name
from shared.services.persons.dropped_file import MOST_BYTES, Mention, References, find_mention
from shared.services.persons.search import BlobRange, PersonSearch
from shared.storage.names import ROW_DONE, ROW_DROP, ROW_PENDING, ROW_REJECTED, ROW_RESULTS
from shared.storage.ports import StoredBlobs

UNSEARCHED: Final = "dropped files that cannot be searched"


@dataclass(slots=True)
class DroppedCopies:
    """What is stored of dropped rows and has to go.

    `files` name the person, `results` too, and `unsearched` cannot be searched. `others` are known
    not to name the person.
    """

    files: list[BlobRange] = field(default_factory=list)
    results: list[BlobRange] = field(default_factory=list)
    unsearched: list[BlobRange] = field(default_factory=list)
    others: set[BlobRange] = field(default_factory=set)

    @property
    def blobs(self) -> list[BlobRange]:
        """All of them, in the order to delete them: a refused file leads to its results."""
        return [*self.results, *self.files, *self.unsearched]


class DroppedRows:
    """The containers of dropped rows, as an erasure sees them."""

    def __init__(self, blobs: StoredBlobs) -> None:
        self._blobs = blobs

    async def copies(
        self,
        search: PersonSearch,
        import_ids: Collection[str],
        others: Collection[BlobRange],
        beat: Callable[[], Awaitable[None]],
    ) -> DroppedCopies:
        """The copies and results that name the person, and those of these imports.

        `others` were found not to name the person, and are not read again. `beat` is called in
        between.
        """
        copies = DroppedCopies()
        refused: set[str] = set()
        references = References([*search.keys.texts()])
        for container in (ROW_DONE, ROW_REJECTED, ROW_RESULTS):
            for name in await self._names(container, search.tenant):
                blob = BlobRange(container, name)
                is_result = container == ROW_RESULTS
                path = name.rpartition("/")[0] if is_result else name
                file, _, import_id = path.rpartition("/")
                if import_id in import_ids or import_id in refused:
                    mention = Mention.YES
                elif blob in others:
                    mention = Mention.NO
                else:
                    await beat()
                    mention = await self._mention(references, blob, file)
                if mention is Mention.YES and container == ROW_REJECTED:
                    # The reason may name columns, as which a file without a header has values.
                    refused.add(import_id)
                match mention:
                    case Mention.NO:
                        copies.others.add(blob)
                    case Mention.UNKNOWN:
                        copies.unsearched.append(blob)
                    case _:
                        (copies.results if is_result else copies.files).append(blob)
        return copies

    async def check_waiting(self, search: PersonSearch) -> None:
        """Raises ConflictError while a file waits to be imported that may name the person."""
        references = References([*search.keys.texts()])
        for name in await self._names(ROW_DROP, search.tenant):
            blob = BlobRange(ROW_DROP, name)
            mention = await self._mention(references, blob, name)
            if mention is not Mention.NO:
                what = "names the person" if mention is Mention.YES else "cannot be searched"
                raise ConflictError(
                    f"A dropped file waits and {what}: let {plain_name(name)} be imported or "
                    "refused, or delete it, then repeat the command."
                )

    async def unsettled(self, tenant: str) -> list[str]:
        """The ids of the imports whose results are not written yet."""
        return [name.split("/")[-1] for name in await self._names(ROW_PENDING, tenant)]

    async def _names(self, container: str, tenant: str) -> list[str]:
        return await self._blobs.names_before(container, f"{tenant}/", ANY_TIME)

    async def _mention(self, references: References, blob: BlobRange, path: str) -> Mention:
        """Whether a blob names the person; `path` is that of the file as it was dropped."""
        file = unquote(path.rpartition("/")[2])
        if references.are_in_name(file):
            return Mention.YES
        data = await self._blobs.read(blob.container, blob.name, 0, MOST_BYTES + 1)
        if data is None:
            return Mention.NO
        return await asyncio.to_thread(find_mention, file, data, references)
