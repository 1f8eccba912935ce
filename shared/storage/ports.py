"""What the services ask of table storage: four verbs, and the operations of a transaction.

`Tables` is the port. `AzureTables` (module `azure_tables`) carries it out; the order model of the
tests runs the same services on an in-memory twin under random interleavings, which is why the
services never see an SDK type.

Every write is conditional or idempotent by its kind: `Insert` (must not exist), `Replace` and
`Delete` (must carry the ETag that was read), `Upsert` and `Merge` (say what is true, whoever wins).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.errors import GatewayError, UnreadableDataError

# What an entity's property may hold here. Times are ISO text: Table storage starts in 1601.
Value = str | int | bool | bytes

# Operations in one entity-group transaction (docs/platform.md#8.1).
MAX_OPERATIONS = 100
MAX_TRANSACTION_BYTES = 4 * 1024 * 1024
MAX_ENTITY_BYTES = 1024 * 1024
# Characters in one string property; the service takes 32,768 UTF-16 units.
MAX_TEXT = 32_000


@dataclass(frozen=True, slots=True)
class Entity:
    """One row of a table. `etag` is what was read; empty for one that was made here."""

    partition: str
    row: str
    values: Mapping[str, Value]
    etag: str = ""

    def text(self, name: str, default: str = "") -> str:
        """The string property `name`, or `default` where it is missing."""
        value = self.values.get(name, default)
        return value if isinstance(value, str) else str(value)

    def number(self, name: str, default: int = 0) -> int:
        """The integer property `name`, or `default` where it is missing.

        Raises UnreadableDataError where it is no whole number.
        """
        value = self.values.get(name, default)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        with reading(f"the column {name}"):
            if isinstance(value, str | float) and int(value) == float(value):
                return int(value)
            raise ValueError(name)

    def flag(self, name: str) -> bool:
        """Whether the boolean property `name` is there and true."""
        return self.values.get(name) is True


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Whatever a broken stored thing makes its reader raise becomes UnreadableDataError.

    For the functions that make our objects of stored bytes and columns, as a decorator too.
    """
    try:
        yield
    except GatewayError:
        raise
    except Exception as error:
        raise UnreadableDataError(what) from error


@dataclass(frozen=True, slots=True)
class Insert:
    """Create the entity; fails where one exists."""

    entity: Entity


@dataclass(frozen=True, slots=True)
class Replace:
    """Write the whole entity over the one whose ETag it carries."""

    entity: Entity


@dataclass(frozen=True, slots=True)
class Upsert:
    """Write the whole entity, whatever is there."""

    entity: Entity


@dataclass(frozen=True, slots=True)
class Merge:
    """Set these properties of an existing entity; where the entity has an ETag, only over that."""

    entity: Entity


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the entity; where it has an ETag, only that version. A missing one fails."""

    entity: Entity


Operation = Insert | Replace | Upsert | Merge | Delete


class Tables(Protocol):
    """Table storage, as the services see it.

    Every method raises `StorageUnavailableError` when storage does not answer.
    """

    async def get(self, table: str, partition: str, row: str) -> Entity | None:
        """One point read."""

    async def query(
        self,
        table: str,
        partition: str,
        first: str = "",
        last: str | None = None,
        *,
        after: str = "",
        select: Sequence[str] | None = None,
        most: int | None = None,
    ) -> list[Entity]:
        """Entities of one partition with first <= row <= last, in order of their row key.

        `last=None` reads to the end of the partition; `after` leaves out rows up to and with that
        key (how a list is paged); `most` stops after that many. `select` names the properties that
        are wanted (keys always come).
        """

    async def write(self, table: str, operation: Operation) -> str:
        """Carry out one operation and return the new ETag ("" after a delete).

        Raises PreconditionFailedError when its condition does not hold.
        """

    async def transact(self, table: str, operations: Sequence[Operation]) -> None:
        """Carry out all operations of one partition, or none.

        At most MAX_OPERATIONS and MAX_TRANSACTION_BYTES. Raises PreconditionFailedError when one
        condition does not hold.
        """


async def query_pages(
    tables: Tables,
    table: str,
    partition: str,
    first: str = "",
    last: str | None = None,
    *,
    after: str = "",
    select: Sequence[str] | None = None,
    most: int,
) -> AsyncIterator[list[Entity]]:
    """What `Tables.query` returns, in pages of at most `most` entities; no page is empty.

    A range may be longer than memory, and what is read may be deleted between two pages.
    """
    while True:
        page = await tables.query(
            table, partition, first, last, after=after, select=select, most=most
        )
        if page:
            yield page
        if len(page) < most:
            return
        after = page[-1].row


class SearchableTables(Tables, Protocol):
    """Tables that can also be searched for entities of a kind, as retention does."""

    async def flagged(
        self, table: str, partition: str, first: str, last: str, flag: str, select: Sequence[str]
    ) -> list[Entity]:
        """Entities with first <= row <= last whose boolean property `flag` is true.

        The service looks at every entity of the range, but sends only those.
        """


# Blobs: payloads of imports and results that outgrow an entity.
#
# `Blobs` is the port of the services; `AzureBlobs` (module `azure_blobs`) carries it out.


class Blobs(Protocol):
    """The port of the services; the order model has an in-memory twin."""

    async def put(
        self,
        container: str,
        name: str,
        parts: Iterable[bytes],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Write a whole blob, replacing one of that name; `parts` are its bytes in order.

        `metadata` are up to 8 KiB of ASCII; their names are letters.
        """

    async def read(
        self, container: str, name: str, start: int = 0, length: int | None = None
    ) -> bytes | None:
        """A range of a blob's bytes; None where there is no such blob."""

    async def delete(self, container: str, name: str) -> None:
        """Remove a blob; a missing one is as good."""


class ListedBlobs(Blobs, Protocol):
    """Blobs that can also be listed, as retention does."""

    async def names_before(self, container: str, prefix: str, moment: datetime) -> list[str]:
        """The names of the blobs that begin with `prefix` and were last written before then."""


# Sending messages to the queues of the app.
#
# The queue triggers receive; nothing here does. Messages are base64, as `host.json` says, and
# never expire: the sweep replaces what is lost, and an old message meets a closed import and is
# dropped.

# 64 KiB after base64 (docs/platform.md#8.1).
MAX_MESSAGE_BYTES = 49_152


class Queues(Protocol):
    """The port of the services; the order model has an in-memory twin."""

    async def send(self, queue: str, text: str, *, delay: int = 0) -> None:
        """Put one message on a queue, visible after `delay` seconds.

        Raises StorageUnavailableError when storage does not answer.
        """
