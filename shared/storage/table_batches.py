"""Entity-group transactions with a body written by hand.

The SDK builds and parses its transactions with Python's e-mail package, which was more than half of
the gateway's work on a first load. The body is a small, fixed text, so it is written here; what
carries it (retries, tokens, the connection pool) stays `azure-core`. Only `$batch` goes this way,
everything else through the SDK.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Sequence
from email.utils import formatdate
from typing import Any
from urllib.parse import quote, urlsplit

from azure.core import AsyncPipelineClient
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import (
    AsyncBearerTokenCredentialPolicy,
    AsyncHTTPPolicy,
    HeadersPolicy,
    SansIOHTTPPolicy,
    UserAgentPolicy,
)
from azure.core.rest import HttpRequest

from shared.errors import StorageUnavailableError
from shared.storage.failures import meaning_of, storage_call
from shared.storage.ports import Delete, Entity, Insert, Merge, Operation, Replace, Upsert
from shared.storage_time import storage_time_now

_VERSION = "2019-02-02"
_SCOPE = "https://storage.azure.com/.default"
_INT32 = range(-(2**31), 2**31)
_STATUS = re.compile(rb"^HTTP/1\.1 ([0-9]{3})", re.MULTILINE)
_JSON_HEADERS = (
    "Content-Type: application/json\r\n"
    "Accept: application/json;odata=minimalmetadata\r\n"
    "Prefer: return-no-content\r\n"
)


class SharedKeyLitePolicy(SansIOHTTPPolicy[Any, Any]):
    """Signs a request with the account's key, as the table service wants it ("SharedKeyLite")."""

    def __init__(self, account: str, key: str) -> None:
        super().__init__()
        self._account = account
        self._key = base64.b64decode(key)

    def on_request(self, request: PipelineRequest[Any]) -> None:
        """Add date and signature; again for each retry."""
        date = formatdate(usegmt=True)
        path = urlsplit(request.http_request.url).path
        text = f"{date}\n/{self._account}{path}"
        digest = hmac.new(self._key, text.encode(), hashlib.sha256).digest()
        signature = base64.b64encode(digest).decode()
        headers = request.http_request.headers
        headers["x-ms-date"] = date
        headers["Authorization"] = f"SharedKeyLite {self._account}:{signature}"


def token_policy(credential: AsyncTokenCredential) -> AsyncHTTPPolicy[Any, Any]:
    """Authorization by identity."""
    return AsyncBearerTokenCredentialPolicy(credential, _SCOPE)


class TableBatches:
    """Sends transactions to the table service at `endpoint` (without a slash at the end).

    `signature` is the query of a shared access signature, or "".
    """

    def __init__(self, endpoint: str, authorize: Any, transport: Any, signature: str = "") -> None:
        self._endpoint = endpoint
        self._url = f"{endpoint}/$batch" + (f"?{signature}" if signature else "")
        headers = {
            "x-ms-version": _VERSION,
            "DataServiceVersion": "3.0;NetFx",
            "MaxDataServiceVersion": "3.0;NetFx",
            "Accept-Charset": "UTF-8",
        }
        policies = [
            HeadersPolicy(headers),
            UserAgentPolicy(sdk_moniker="payroll-import-gateway"),
            *([authorize] if authorize is not None else []),
        ]
        self._client: AsyncPipelineClient[Any, Any] = AsyncPipelineClient(
            endpoint, policies=policies, transport=transport
        )

    async def transact(self, table: str, operations: Sequence[Operation]) -> None:
        """See `Tables.transact`."""
        boundary = f"batch_{uuid.uuid4()}"
        request = HttpRequest(
            "POST",
            self._url,
            headers={"Content-Type": f"multipart/mixed; boundary={boundary}"},
            content=self._body(boundary, table, operations),
        )
        async with storage_call(storage_time_now().longest_try):
            response = await self._client.send_request(request)
            if response.status_code != 202:
                raise HttpResponseError(response=response)
        _check_answers(response.content, len(operations))

    def _body(self, boundary: str, table: str, operations: Sequence[Operation]) -> bytes:
        changes = f"changeset_{uuid.uuid4()}"
        head = (
            f"--{changes}\r\nContent-Type: application/http\r\n"
            "Content-Transfer-Encoding: binary\r\n\r\n"
        )
        address = f"{self._endpoint}/{table}"
        parts = [f"--{boundary}\r\nContent-Type: multipart/mixed; boundary={changes}\r\n\r\n"]
        for operation in operations:
            parts += (head, _request_of(operation, address), "\r\n")
        parts.append(f"--{changes}--\r\n--{boundary}--\r\n")
        return "".join(parts).encode()


def _request_of(operation: Operation, address: str) -> str:
    """One operation as the text of an HTTP request."""
    entity = operation.entity
    if isinstance(operation, Insert):
        return f"POST {address} HTTP/1.1\r\n{_JSON_HEADERS}\r\n{_json(entity)}"
    here = f"{address}(PartitionKey='{_quoted(entity.partition)}',RowKey='{_quoted(entity.row)}')"
    if isinstance(operation, Delete):
        accept = "Accept: application/json;odata=minimalmetadata\r\n"
        return f"DELETE {here} HTTP/1.1\r\n{accept}{_if_match(entity)}\r\n"
    method = "PATCH" if isinstance(operation, Merge) else "PUT"
    condition = "" if isinstance(operation, Upsert) else _if_match(entity)
    if isinstance(operation, Replace) and not entity.etag:
        raise ValueError("a Replace needs the ETag that was read")
    return f"{method} {here} HTTP/1.1\r\n{_JSON_HEADERS}{condition}\r\n{_json(entity)}"


def _if_match(entity: Entity) -> str:
    return f"If-Match: {entity.etag or '*'}\r\n"


def _quoted(key: str) -> str:
    """Keys hold letters, digits and `._-=|` only (`shared.storage.entities`)."""
    return quote(key, safe="._-")


def _json(entity: Entity) -> str:
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
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def _check_answers(content: bytes, operations: int) -> None:
    """The service answers 202 and tells inside what became of the operations.

    One status for each where all went well; the fault of the first refused one else.
    """
    statuses = [int(match[1]) for match in _STATUS.finditer(content)]
    for status in statuses:
        if status >= 300:
            raise meaning_of(status) or _unexpected(status)
    if len(statuses) < operations:
        raise StorageUnavailableError("the answer to a transaction was cut")


def _unexpected(status: int) -> Exception:
    return HttpResponseError(f"a transaction was refused with {status}")
