"""`Tables` on Azure Table storage: the SDK, and our own encoder for transactions."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

from azure.core import AsyncPipelineClient, MatchConditions
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import (
    AsyncBearerTokenCredentialPolicy,
    AsyncHTTPPolicy,
    SansIOHTTPPolicy,
    UserAgentPolicy,
)
from azure.core.rest import HttpRequest
from azure.data.tables import EdmType, EntityProperty, UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient
from yarl import URL

from shared.errors import PreconditionFailedError, StorageUnavailableError
from shared.imports.json_rows import json_bytes, read_json_text
from shared.storage.failures import error_for_status, storage_call
from shared.storage.ports import (
    Delete,
    Entity,
    EntityRange,
    EntitySlice,
    Insert,
    Merge,
    Operation,
    Replace,
    Upsert,
)
from shared.storage_time import retried, storage_time_now
from shared.telemetry import traced

# Entity-group transactions and reads, whose requests are made here.
#
# The SDK builds and parses its transactions with Python's e-mail package, which took more than
# half of the CPU time of a first load (docs/decisions/0003-transaction-bodies.md), and it converts
# each property that it reads. The body is a simple text, so this module formats it, and an answer
# is JSON. `azure-core` still does the rest (tokens, the connection pool), and the SDK the writes
# of single entities.

# The headers of an answer that name the page behind it; empty where there is none.
PageToken = Mapping[str, str]
NO_OPTIONS: Final[Mapping[str, str]] = {}

_VERSION = "2019-02-02"
_SCOPE = "https://storage.azure.com/.default"
_INT32 = range(-(2**31), 2**31)
_OWN_KEY = re.compile(r"[A-Za-z0-9._=|-]*")
_STATUS = re.compile(rb"^HTTP/1\.1 ([0-9]{3})", re.MULTILINE)
_STATUS_LINE = b"HTTP/1.1 "
_NO_CONTENT = b"\nHTTP/1.1 204 "
_JSON_HEADERS = (
    "Content-Type: application/json\r\n"
    "Accept: application/json;odata=minimalmetadata\r\n"
    "Prefer: return-no-content\r\n"
)


class SharedKeyLitePolicy(SansIOHTTPPolicy[Any, Any]):
    """Signs a request with the account's key by the scheme SharedKeyLite of the table service."""

    def __init__(self, account: str, key: str) -> None:
        super().__init__()
        self._account = account
        self._key = base64.b64decode(key)

    def on_request(self, request: PipelineRequest[Any]) -> None:
        """Add the date and the signature; called for each retry."""
        date = formatdate(usegmt=True)
        # As aiohttp sends it, which quotes some characters in another way.
        path = str(URL(urlsplit(request.http_request.url).path))
        text = f"{date}\n/{self._account}{path}"
        digest = hmac.new(self._key, text.encode(), hashlib.sha256).digest()
        signature = base64.b64encode(digest).decode()
        headers = request.http_request.headers
        headers["x-ms-date"] = date
        headers["Authorization"] = f"SharedKeyLite {self._account}:{signature}"


def token_policy(credential: AsyncTokenCredential) -> AsyncHTTPPolicy[Any, Any]:
    return AsyncBearerTokenCredentialPolicy(credential, _SCOPE)


class TableRequests:
    """Sends requests to the table service at `endpoint` (without a slash at the end).

    `signature` is the query of a shared access signature, or "".
    """

    def __init__(self, endpoint: str, authorize: Any, transport: Any, signature: str = "") -> None:
        self._endpoint = endpoint
        self._signature = signature
        # Of each request. A policy that adds them would cost more than all of them.
        self._headers = {
            "x-ms-version": _VERSION,
            "DataServiceVersion": "3.0;NetFx",
            "MaxDataServiceVersion": "3.0;NetFx",
            "Accept-Charset": "UTF-8",
            "User-Agent": UserAgentPolicy(sdk_moniker="payroll-import-gateway").user_agent,
        }
        self._client: AsyncPipelineClient[Any, Any] = AsyncPipelineClient(
            endpoint, policies=[] if authorize is None else [authorize], transport=transport
        )

    @traced("storage.transaction")
    async def transact(self, table: str, operations: Sequence[Operation]) -> None:
        """See `Tables.transact`."""
        boundary = f"batch_{uuid.uuid4()}"
        request = HttpRequest(
            "POST",
            self._url_of("$batch"),
            headers={**self._headers, "Content-Type": f"multipart/mixed; boundary={boundary}"},
            content=_format_transaction(operations, f"{self._endpoint}/{table}", boundary),
        )
        async with storage_call(storage_time_now().longest_try):
            response = await self._send(request, 202)
        _check_answers(response.content, len(operations))

    async def read_entity(self, table: str, partition: str, row: str) -> Entity:
        """Read one entity. Raises PreconditionFailedError if it is missing."""
        key = f"PartitionKey={_quoted_literal(partition)},RowKey={_quoted_literal(row)}"
        values, _ = await self._read(f"{table}({key})")
        return _read_entity(values)

    async def read_page(
        self, table: str, filter_: str, columns: Sequence[str] | None, size: int, after: PageToken
    ) -> tuple[list[Entity], PageToken]:
        """A page of entities, and the token of the next one, which is empty after the last."""
        options = {"$filter": filter_, "$top": str(size), **after}
        if columns is not None:
            options["$select"] = ",".join(columns)
        content, headers = await self._read(f"{table}()", options)
        token = {
            name: headers[f"x-ms-continuation-{name}"]
            for name in ("NextPartitionKey", "NextRowKey")
            if headers.get(f"x-ms-continuation-{name}")
        }
        try:
            return [_read_entity(values) for values in content["value"]], token
        except (KeyError, TypeError) as error:
            raise StorageUnavailableError("storage has answered with no list") from error

    async def _read(
        self, path: str, options: Mapping[str, str] = NO_OPTIONS
    ) -> tuple[Any, Mapping[str, str]]:
        """The JSON of an answer, and its headers."""
        request = HttpRequest(
            "GET",
            self._url_of(path, options),
            headers={**self._headers, "Accept": "application/json;odata=minimalmetadata"},
        )
        async with storage_call(storage_time_now().longest_try):
            response = await self._send(request, 200)
        if "json" not in response.headers.get("Content-Type", ""):
            raise StorageUnavailableError("an answer of the table service is not JSON")
        try:
            return _read_json(response.content), response.headers
        except ValueError as error:
            raise StorageUnavailableError("an answer of the table service is not JSON") from error

    async def _send(self, request: HttpRequest, status: int) -> Any:
        """The response, which has this status. Raises the error of another one."""
        response = await self._client.send_request(request)
        if response.status_code != status:
            raise error_for_status(response.status_code) or HttpResponseError(response=response)
        return response

    def _url_of(self, path: str, options: Mapping[str, str] = NO_OPTIONS) -> str:
        query = [f"{name}={_quoted_text(value)}" for name, value in options.items()]
        if self._signature:
            query.append(self._signature)
        return f"{self._endpoint}/{path}" + ("?" + "&".join(query) if query else "")


def _read_json(content: bytes) -> Any:
    try:
        return read_json_text(content)
    except ValueError:
        return json.loads(content)  # it takes half of a surrogate pair too


def _read_entity(values: dict[str, Any]) -> Entity:
    """The entity of its JSON object, which is used up. Raises StorageUnavailableError."""
    try:
        partition, row = values.pop("PartitionKey"), values.pop("RowKey")
        timestamp = values.pop("Timestamp", "")
        etag = values.pop("odata.etag", "") or (
            timestamp and f"W/\"datetime'{_quoted_text(timestamp)}'\""
        )
        for name in [name for name in values if "odata." in name]:
            kind = values.pop(name)
            property_, _, _ = name.partition("@")
            if property_ not in values:
                continue  # the type of the timestamp, or a remark on the whole answer
            if kind == "Edm.Binary":
                values[property_] = base64.b64decode(values[property_])
            elif kind == "Edm.Int64":
                values[property_] = int(values[property_])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StorageUnavailableError("storage has answered with what is no entity") from error
    if not isinstance(partition, str) or not isinstance(row, str) or not etag:
        raise StorageUnavailableError("storage has answered with what is no entity")
    return Entity(partition, row, values, str(etag))


def _format_transaction(operations: Sequence[Operation], address: str, boundary: str) -> bytes:
    """The body of a transaction on the table at `address`."""
    changes = f"changeset_{uuid.uuid4()}"
    head = (
        f"--{changes}\r\nContent-Type: application/http\r\n"
        "Content-Transfer-Encoding: binary\r\n\r\n"
    )
    insert = f"{head}POST {address} HTTP/1.1\r\n{_JSON_HEADERS}\r\n".encode()
    parts = [f"--{boundary}\r\nContent-Type: multipart/mixed; boundary={changes}\r\n\r\n".encode()]
    for operation in operations:
        if isinstance(operation, Insert):
            parts += (insert, _json(operation.entity), b"\r\n")
        else:
            body = b"" if isinstance(operation, Delete) else _json(operation.entity)
            parts += (f"{head}{_format_head(operation, address)}".encode(), body, b"\r\n")
    parts.append(f"--{changes}--\r\n--{boundary}--\r\n".encode())
    return b"".join(parts)


def _format_head(operation: Replace | Upsert | Merge | Delete, address: str) -> str:
    """The head of the HTTP request of an operation on a named entity."""
    entity = operation.entity
    key = f"(PartitionKey='{_quoted_partition(entity.partition)}',RowKey='{_quoted(entity.row)}')"
    line = f"{address}{key} HTTP/1.1\r\n"
    if isinstance(operation, Delete):
        accept = "Accept: application/json;odata=minimalmetadata\r\n"
        return f"DELETE {line}{accept}{_if_match(entity)}\r\n"
    if isinstance(operation, Replace) and not entity.etag:
        raise ValueError("a Replace needs the ETag that was read")
    method = "PATCH" if isinstance(operation, Merge) else "PUT"
    condition = "" if isinstance(operation, Upsert) else _if_match(entity)
    return f"{method} {line}{_JSON_HEADERS}{condition}\r\n"


def _if_match(entity: Entity) -> str:
    return f"If-Match: {entity.etag or '*'}\r\n"


# The operations of a transaction name one partition, and a key is quoted character by character.
@lru_cache(maxsize=16)
def _quoted_partition(key: str) -> str:
    return _quoted(key)


def _quoted_literal(key: str) -> str:
    return _quoted_text(_literal(key))


def _quoted_text(text: str) -> str:
    return quote(text, safe="")


def _quoted(key: str) -> str:
    """Quote a key. Our own have only letters, digits and `._-=|` (`shared.storage.entities`)."""
    if _OWN_KEY.fullmatch(key):
        return key.replace("=", "%3D").replace("|", "%7C")
    return quote(key, safe="._-")


def _json(entity: Entity) -> bytes:
    values: dict[str, Any] = {"PartitionKey": entity.partition, "RowKey": entity.row}
    for name, value in entity.values.items():
        if isinstance(value, bytes):
            values[name] = base64.b64encode(value).decode()
            values[f"{name}@odata.type"] = "Edm.Binary"
        elif type(value) is int and value not in _INT32:
            values[name] = str(value)
            values[f"{name}@odata.type"] = "Edm.Int64"
        else:
            values[name] = value
    data = json_bytes(values)
    # Azurite looks for the body of an operation with an expression that ends at the separators of
    # lines and paragraphs, U+2028 and U+2029.
    if b"\xe2" in data:
        data = data.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return data


def _check_answers(content: bytes, operations: int) -> None:
    """Check the statuses of the operations in the body of an answer, whose own status is 202.

    The body has one status for each operation if all succeeded, else that of the first failure.
    """
    # The expression takes twenty times as long as counting the lines.
    if content.count(_NO_CONTENT) == content.count(_STATUS_LINE) == operations:
        return
    statuses = [int(match[1]) for match in _STATUS.finditer(content)]
    for status in statuses:
        if status >= 300:
            raise error_for_status(status) or HttpResponseError(
                f"a transaction was refused with {status}"
            )
    if len(statuses) < operations:
        raise StorageUnavailableError("the answer to a transaction was cut")


Written = TypeVar("Written")

_PAGE = 1000
_KEYS = ("PartitionKey", "RowKey")


class AzureTables:
    """The port `shared.storage.ports.Tables` on a table service."""

    def __init__(self, service: TableServiceClient, requests: TableRequests) -> None:
        self._service = service
        self._requests = requests
        self._clients: dict[str, TableClient] = {}

    def _table(self, name: str) -> TableClient:
        if name not in self._clients:
            self._clients[name] = self._service.get_table_client(name)
        return self._clients[name]

    async def get(self, table: str, partition: str, row: str) -> Entity | None:
        """See `Tables.get`."""
        try:
            return await retried(lambda: self._requests.read_entity(table, partition, row))
        except PreconditionFailedError:
            return None

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
        """See `Tables.query`. Follows continuation tokens, also after an empty page."""
        columns = None if select is None else [*_KEYS, *select]
        size = _PAGE if most is None else min(most, _PAGE)
        return await self._read_pages(
            table, _filter(partition, first, last, after), columns, size, most
        )

    async def query_flagged(
        self, table: str, partition: str, first: str, last: str, flag: str, select: Sequence[str]
    ) -> list[Entity]:
        """See `SearchableTables.query_flagged`."""
        condition = f"{_filter(partition, first, last, '')} and {flag} eq true"
        return await self._read_pages(table, condition, [*_KEYS, *select], _PAGE, None)

    async def query_range(
        self, table: str, range_: EntityRange, after: tuple[str, str] | None, most: int
    ) -> EntitySlice:
        """See `RangeTables.query_range`.

        The rest of the partition of `after` is a query of its own: the service would answer an
        `or` by looking through the whole table.
        """
        entities: list[Entity] = []
        filters = _range_filters(range_, after)
        columns = None if range_.select is None else [*_KEYS, *range_.select]
        for place, query in enumerate(filters, 1):
            token: PageToken = {}
            while True:
                size = min(most - len(entities), _PAGE)
                page, token = await self._read_page(table, query, columns, size, token)
                entities += page
                if len(entities) >= most:
                    return EntitySlice(entities[:most], not token and place == len(filters))
                if not token:
                    break
        return EntitySlice(entities, is_last=True)

    async def _read_pages(
        self, table: str, query: str, columns: list[str] | None, size: int, most: int | None
    ) -> list[Entity]:
        entities: list[Entity] = []
        token: PageToken = {}
        while True:
            page, token = await self._read_page(table, query, columns, size, token)
            entities += page
            if most is not None and len(entities) >= most:
                return entities[:most]
            if not token:
                return entities

    async def _read_page(
        self, table: str, query: str, columns: list[str] | None, size: int, token: PageToken
    ) -> tuple[list[Entity], PageToken]:
        return await retried(lambda: self._requests.read_page(table, query, columns, size, token))

    async def write(self, table: str, operation: Operation) -> str:
        """See `Tables.write`. If the answer is lost, the entity is read before the write fails."""
        return await self._write_once(table, operation, lambda: self._write(table, operation))

    async def transact(self, table: str, operations: Sequence[Operation]) -> None:
        """See `Tables.transact`. A single operation is sent as a plain write, which is cheaper."""
        if len(operations) == 1:
            await self.write(table, operations[0])
            return
        await self._write_once(
            table,
            _most_telling_operation(operations),
            lambda: self._requests.transact(table, operations),
        )

    async def _write(self, table: str, operation: Operation) -> str:
        client = self._table(table)
        entity = operation.entity
        values = {} if isinstance(operation, Delete) else _to_sdk(entity)
        condition = {} if isinstance(operation, Insert | Upsert) else _condition(operation)
        async with storage_call(storage_time_now().longest_try):
            if isinstance(operation, Delete):
                await client.delete_entity(entity.partition, entity.row, **condition)
                return ""
            if isinstance(operation, Insert):
                answer = await client.create_entity(values)
            elif isinstance(operation, Upsert):
                answer = await client.upsert_entity(values, UpdateMode.REPLACE)
            else:
                answer = await client.update_entity(
                    values,
                    UpdateMode.MERGE if isinstance(operation, Merge) else UpdateMode.REPLACE,
                    **condition,
                )
        etag = answer.get("etag")
        if not etag:
            raise StorageUnavailableError("storage has answered a write without an ETag")
        return str(etag)

    async def _write_once(
        self, table: str, probe: Operation, write: Callable[[], Awaitable[Written]]
    ) -> Written | str:
        """Write, and find out whether a write was applied if its answer was lost.

        A write that was applied conflicts with its own effect when it is retried, and its condition
        fails. So after a lost answer the entity of the operation `probe` is read back before the
        write counts as failed.
        """
        is_unknown = False

        async def attempt() -> Written | str:
            nonlocal is_unknown
            try:
                return await write()
            except StorageUnavailableError:
                is_unknown = True
                raise
            except PreconditionFailedError:
                etag = await self._find_applied_etag(table, probe) if is_unknown else None
                if etag is None:
                    raise
                return etag

        try:
            return await retried(attempt)
        except StorageUnavailableError:
            etag = await self._find_applied_etag(table, probe)
            if etag is None:
                raise
            return etag

    async def _find_applied_etag(self, table: str, operation: Operation) -> str | None:
        """The ETag of the entity if the operation was applied, "" after a delete, else None.

        Raises StorageUnavailableError.
        """
        written = operation.entity
        stored = await self.get(table, written.partition, written.row)
        if isinstance(operation, Delete):
            return "" if stored is None else None
        if stored is None:
            return None
        values = stored.values
        if isinstance(operation, Merge):
            values = {name: value for name, value in values.items() if name in written.values}
        return stored.etag if values == dict(written.values) else None


def _most_telling_operation(operations: Sequence[Operation]) -> Operation:
    """The operation of a transaction whose entity shows best whether the transaction was applied.

    A transaction is applied as a whole. An insert or a replace shows it for certain. A delete shows
    it only if no other writer deletes the same entity.
    """
    kinds = (Insert, Replace, Upsert, Merge, Delete)
    return min(operations, key=lambda operation: kinds.index(type(operation)))


def _condition(operation: Replace | Merge | Delete) -> dict[str, Any]:
    etag = operation.entity.etag
    if etag:
        return {"etag": etag, "match_condition": MatchConditions.IfNotModified}
    if isinstance(operation, Replace):
        raise ValueError("a Replace needs the ETag that was read")
    return {}


def _filter(partition: str, first: str, last: str | None, after: str) -> str:
    parts = [f"PartitionKey eq {_literal(partition)}"]
    if first:
        parts.append(f"RowKey ge {_literal(first)}")
    if after:
        parts.append(f"RowKey gt {_literal(after)}")
    if last is not None:
        parts.append(f"RowKey le {_literal(last)}")
    return " and ".join(parts)


def _range_filters(range_: EntityRange, after: tuple[str, str] | None) -> list[str]:
    """The OData filters whose results, one after the other, are a range behind some keys."""
    common = [f"RowKey le {_literal(range_.last_row)}"]
    if range_.equal is not None:
        name, value = range_.equal
        literal = str(value).lower() if isinstance(value, bool) else _literal(value)
        common.append(f"{name} eq {literal}")
    for name, least, most in range_.between:
        common.append(f"{name} ge {_number_literal(least)}")
        if most is not None:
            common.append(f"{name} le {_number_literal(most)}")
    from_first_row = f"RowKey ge {_literal(range_.first_row)}"
    if range_.first_partition == range_.last_partition:
        only = f"PartitionKey eq {_literal(range_.first_partition)}"
        return [" and ".join([only, *_rows_behind(range_, after), *common])]
    last = f"PartitionKey le {_literal(range_.last_partition)}"
    if after is None or after[0] < range_.first_partition:
        first = f"PartitionKey ge {_literal(range_.first_partition)}"
        return [" and ".join([first, last, from_first_row, *common])]
    partition = _literal(after[0])
    rest = [f"PartitionKey eq {partition}", *_rows_behind(range_, after), *common]
    following = [f"PartitionKey gt {partition}", last, from_first_row, *common]
    return [" and ".join(rest), " and ".join(following)]


def _rows_behind(range_: EntityRange, after: tuple[str, str] | None) -> list[str]:
    first = [f"RowKey ge {_literal(range_.first_row)}"]
    return first if after is None else [*first, f"RowKey gt {_literal(after[1])}"]


def _number_literal(value: int) -> str:
    return str(value) if value in _INT32 else f"{value}L"


def _literal(key: str) -> str:
    """A key in quotes. Our own keys have no quotes, but a queue message may name any key."""
    return "'" + key.replace("'", "''") + "'"


def _to_sdk(entity: Entity) -> dict[str, Any]:
    values: dict[str, Any] = {"PartitionKey": entity.partition, "RowKey": entity.row}
    for name, value in entity.values.items():
        if type(value) is int and value not in _INT32:
            values[name] = EntityProperty(value, EdmType.INT64)
        else:
            values[name] = value
    return values
