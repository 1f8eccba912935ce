"""The ports of the services to storage: tables, blobs and queues.

`Tables`, `Blobs` and `Queues` are protocols, which `azure_tables`, `azure_blobs` and `account`
implement. The model tests run the same services on an in-memory implementation under random
interleavings, so the services never use a type of the SDKs.

Every write is conditional or idempotent: an `Insert` fails if the entity exists, a `Replace` fails
unless the entity has the ETag that was read, a `Delete` or `Merge` checks the ETag if it has one,
and an `Upsert` has the same effect when it is repeated.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar

from shared.errors import GatewayError, PreconditionFailedError, UnreadableDataError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

# The types of an entity's properties. Times are ISO text, since Table storage starts in 1601.
Value = str | int | bool | bytes

# The most operations in one entity-group transaction (docs/platform.md#8.1).
MAX_OPERATIONS = 100
MAX_TRANSACTION_BYTES = 4 * 1024 * 1024
MAX_ENTITY_BYTES = 1024 * 1024
# The most characters in one string property. The service accepts 32,768 UTF-16 units.
MAX_TEXT = 32_000


@dataclass(frozen=True, slots=True)
class Entity:
    """One row of a table. `etag` is empty for an entity that was not read from storage."""

    partition: str
    row: str
    values: Mapping[str, Value]
    etag: str = ""

    def text(self, name: str, default: str = "") -> str:
        """The string property `name`, or `default` if it is missing."""
        value = self.values.get(name, default)
        return value if isinstance(value, str) else str(value)

    def number(self, name: str, default: int = 0) -> int:
        """The integer property `name`, or `default` if it is missing.

        Raises UnreadableDataError if it is not a whole number.
        """
        value = self.values.get(name, default)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        with reading(f"the column {name}"):
            if isinstance(value, str | float) and int(value) == float(value):
                return int(value)
            raise ValueError(name)

    def flag(self, name: str) -> bool:
        """Whether the boolean property `name` exists and is true."""
        return self.values.get(name) is True


class reading:  # noqa: N801  (used like a function, in `with` and as a decorator)
    """Translate any error of the block into UnreadableDataError, also as a decorator.

    For functions that build objects from stored bytes and columns. `subject` describes the data.
    """

    def __init__(self, subject: str) -> None:
        self._subject = subject

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, GatewayError):
            raise UnreadableDataError(self._subject) from error

    def __call__(self, read: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        @wraps(read)
        def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            with self:
                return read(*args, **kwargs)

        return run


@dataclass(frozen=True, slots=True)
class Insert:
    """Create the entity. Fails if it exists."""

    entity: Entity


@dataclass(frozen=True, slots=True)
class Replace:
    """Replace the entity. Fails unless the stored one has the same ETag."""

    entity: Entity


@dataclass(frozen=True, slots=True)
class Upsert:
    """Create or replace the entity."""

    entity: Entity


@dataclass(frozen=True, slots=True)
class Merge:
    """Set these properties of an existing entity. Checks the ETag if it has one."""

    entity: Entity


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the entity. Checks the ETag if it has one. Fails if the entity is missing."""

    entity: Entity


Operation = Insert | Replace | Upsert | Merge | Delete


class Tables(Protocol):
    """Table storage. Every method raises StorageUnavailableError if storage does not answer."""

    async def get(self, table: str, partition: str, row: str) -> Entity | None:
        """Read one entity; None if it is missing."""

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

        `last=None` reads to the end of the partition. `after` skips rows up to and including that
        key, for paging. `most` limits the number of entities. `select` names the properties to
        read; the keys are always included.
        """

    async def write(self, table: str, operation: Operation) -> str:
        """Write one operation and return the new ETag ("" after a delete).

        Raises PreconditionFailedError if its condition fails.
        """

    async def transact(self, table: str, operations: Sequence[Operation]) -> None:
        """Write all operations of one partition, or none.

        At most MAX_OPERATIONS and MAX_TRANSACTION_BYTES. Raises PreconditionFailedError if one
        condition fails.
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
    """Yield the results of `Tables.query` in pages of at most `most` entities, none of them empty.

    The whole range need not fit into memory, and the caller may delete the entities of a page.
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
    """Tables with the search that retention needs."""

    async def query_flagged(
        self, table: str, partition: str, first: str, last: str, flag: str, select: Sequence[str]
    ) -> list[Entity]:
        """Entities with first <= row <= last whose boolean property `flag` is true.

        The service scans every entity of the range, but sends only those.
        """


@dataclass(frozen=True, slots=True)
class EntityRange:
    """Entities of several partitions: first <= partition <= last, and in each first <= row <= last.

    `equal` limits them to entities whose property of that name has that value, `between` to those
    whose whole numbers of these names are within these limits, both included (None: no limit).
    `select` has the names of the properties to read (keys always come); None reads all.
    """

    first_partition: str
    last_partition: str
    first_row: str
    last_row: str
    equal: tuple[str, str | bool] | None = None
    between: tuple[tuple[str, int, int | None], ...] = ()
    select: tuple[str, ...] | None = None

    def contains(self, partition: str, row: str) -> bool:
        """Whether these keys are in the range."""
        return (
            self.first_partition <= partition <= self.last_partition
            and self.first_row <= row <= self.last_row
        )


@dataclass(frozen=True, slots=True)
class EntitySlice:
    """The next entities of a range, in order of partition and row; `is_last`: no more follow."""

    entities: Sequence[Entity]
    is_last: bool


class RangeTables(Tables, Protocol):
    """Tables that can also be read across several partitions, as records are."""

    async def query_range(
        self, table: str, range_: EntityRange, after: tuple[str, str] | None, most: int
    ) -> EntitySlice:
        """The first `most` entities of a range after these keys, in order of partition and row.

        If `is_last` is False, the next slice may still be empty.
        """


async def query_range_pages(
    tables: RangeTables, table: str, range_: EntityRange, most: int
) -> AsyncIterator[Sequence[Entity]]:
    """Yield a range in pages of at most `most` entities, none of them empty.

    The whole range need not fit into memory, and the caller may delete the entities of a page.
    """
    after: tuple[str, str] | None = None
    is_last = False
    while not is_last:
        page = await tables.query_range(table, range_, after, most)
        if page.entities:
            yield page.entities
            after = page.entities[-1].partition, page.entities[-1].row
        is_last = page.is_last


class StoredTables(SearchableTables, RangeTables, Protocol):
    """The tables of an account, with every way to read them."""


class BlobReader(Protocol):
    """Blob storage that is only read."""

    async def read(
        self, container: str, name: str, start: int = 0, length: int | None = None
    ) -> bytes | None:
        """Read a range of a blob's bytes; None if there is no such blob."""


class Blobs(BlobReader, Protocol):
    """Blob storage, for payloads and for results that exceed an entity."""

    async def put(
        self,
        container: str,
        name: str,
        parts: Iterable[bytes],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Write a whole blob, replacing any blob of that name. `parts` are its bytes in order.

        `metadata` is up to 8 KiB of ASCII; the names consist of letters.
        """

    async def touch(self, container: str, name: str) -> bool:
        """Give a blob another ETag, so that who has read the present one does not delete it.

        Returns whether the blob exists.
        """

    async def delete(self, container: str, name: str) -> None:
        """Delete a blob, if it exists."""


class RewritableBlobs(Blobs, Protocol):
    """Blobs whose content is changed in place, on condition that nothing else has changed it."""

    async def read_whole(self, container: str, name: str) -> tuple[bytes, str] | None:
        """All bytes of a blob and its ETag; None if there is no such blob."""

    async def replace(self, container: str, name: str, parts: Iterable[bytes], etag: str) -> None:
        """Write a whole blob. Raises PreconditionFailedError unless it has that ETag."""


class ListedBlobs(Blobs, Protocol):
    """Blobs with the list that retention needs."""

    async def names_before(self, container: str, prefix: str, time: datetime) -> list[str]:
        """The names of the blobs that begin with `prefix` and were last written before `time`."""


class StoredBlobs(ListedBlobs, RewritableBlobs, Protocol):
    """The blobs of an account."""


@dataclass(frozen=True, slots=True)
class RecordFile:
    """A file that a record may name; `is_marked` says that none did when it last changed."""

    name: str
    etag: str
    changed_at: datetime
    metadata: Mapping[str, str]
    is_marked: bool


class RecordFiles(Protocol):
    """The container of files that records name, for retention.

    Every method raises StorageUnavailableError. A write does nothing where the file has changed.
    """

    async def list_files(self, tenant: str) -> list[RecordFile]:
        """The files of a tenant."""

    async def mark(self, file: RecordFile) -> None:
        """Mark a file that no record names."""

    async def unmark(self, file: RecordFile) -> None:
        """Remove the mark of a file that a record names again."""

    async def remove(self, file: RecordFile) -> None:
        """Delete a file."""


# Only the queue triggers receive messages. Messages are base64, as `host.json` says, and never
# expire. The sweep replaces lost messages, and a message of a closed import is dropped.


class Queues(Protocol):
    """Queue storage, for sending messages to the queues of the app."""

    async def send(self, queue: str, text: str, *, delay: int = 0, expires: int = -1) -> None:
        """Send one message, which becomes visible after `delay` seconds.

        Storage removes it after `expires` seconds; never for -1.

        Raises StorageUnavailableError if storage does not answer.
        """


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message that was received; `handle` is what the queue needs to delete it."""

    text: str
    handle: Any = field(default=None, repr=False)


class ReceivingQueues(Protocol):
    """Queue storage from which messages are received."""

    async def receive(self, queue: str, most: int, hidden: int) -> list[ReceivedMessage]:
        """Up to `most` messages (at most 32), hidden from others for so many seconds.

        None of a queue that is missing. Raises StorageUnavailableError.
        """

    async def delete(self, queue: str, message: ReceivedMessage) -> None:
        """Delete a received message, unless it is gone or was received again meanwhile.

        Raises StorageUnavailableError.
        """


# Retries of conditional writes that conflict with other writers.


def retry_on_conflict(
    attempts: int, make_error: Callable[[], GatewayError]
) -> Callable[
    [Callable[Parameters, Awaitable[Result]]],
    Callable[Parameters, Coroutine[Any, Any, Result]],
]:
    """Decorate a function that reads, decides, and writes on condition that nothing has changed.

    If the function raises PreconditionFailedError, another writer was faster. It is then called
    again, so it must read again what it decides by. After `attempts` conflicts the decorated
    function raises the error of `make_error`.
    """

    def decorate(
        attempt: Callable[Parameters, Awaitable[Result]],
    ) -> Callable[Parameters, Coroutine[Any, Any, Result]]:
        @wraps(attempt)
        async def attempt_until_no_conflict(
            *args: Parameters.args, **kwargs: Parameters.kwargs
        ) -> Result:
            for _ in range(attempts):
                try:
                    return await attempt(*args, **kwargs)
                except PreconditionFailedError:
                    continue
            raise make_error()

        return attempt_until_no_conflict

    return decorate
