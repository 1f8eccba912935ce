"""Entity-group transactions, whose request bodies are formatted here.

The SDK builds and parses its transactions with Python's e-mail package, which took more than half
of the CPU time of a first load (docs/decisions/0003-transaction-bodies.md). The body is a simple
text, so this module formats it. `azure-core` still does the rest (retries, tokens, the connection
pool), and the SDK all requests but `$batch`.
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
from shared.storage.failures import error_for_status, storage_call
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
    """Signs a request with the account's key by the scheme SharedKeyLite of the table service."""

    def __init__(self, account: str, key: str) -> None:
        super().__init__()
        self._account = account
        self._key = base64.b64decode(key)

    def on_request(self, request: PipelineRequest[Any]) -> None:
        """Add the date and the signature; called for each retry."""
        date = formatdate(usegmt=True)
        path = urlsplit(request.http_request.url).path
        text = f"{date}\n/{self._account}{path}"
        digest = hmac.new(self._key, text.encode(), hashlib.sha256).digest()
        signature = base64.b64encode(digest).decode()
        headers = request.http_request.headers
        headers["x-ms-date"] = date
        headers["Authorization"] = f"SharedKeyLite {self._account}:{signature}"


def token_policy(credential: AsyncTokenCredential) -> AsyncHTTPPolicy[Any, Any]:
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
        changes = f"changeset_{uuid.uuid4()}"
        head = (
            f"--{changes}\r\nContent-Type: application/http\r\n"
            "Content-Transfer-Encoding: binary\r\n\r\n"
        )
        address = f"{self._endpoint}/{table}"
        parts = [f"--{boundary}\r\nContent-Type: multipart/mixed; boundary={changes}\r\n\r\n"]
        for operation in operations:
            parts += (head, _format_request(operation, address), "\r\n")
        parts.append(f"--{changes}--\r\n--{boundary}--\r\n")
        request = HttpRequest(
            "POST",
            self._url,
            headers={"Content-Type": f"multipart/mixed; boundary={boundary}"},
            content="".join(parts).encode(),
        )
        async with storage_call(storage_time_now().longest_try):
            response = await self._client.send_request(request)
            if response.status_code != 202:
                raise HttpResponseError(response=response)
        _check_answers(response.content, len(operations))


def _format_request(operation: Operation, address: str) -> str:
    """The text of the HTTP request of one operation."""
    entity = operation.entity
    if isinstance(operation, Insert):
        return f"POST {address} HTTP/1.1\r\n{_JSON_HEADERS}\r\n{_json(entity)}"
    entity_address = (
        f"{address}(PartitionKey='{_quoted(entity.partition)}',RowKey='{_quoted(entity.row)}')"
    )
    if isinstance(operation, Delete):
        accept = "Accept: application/json;odata=minimalmetadata\r\n"
        return f"DELETE {entity_address} HTTP/1.1\r\n{accept}{_if_match(entity)}\r\n"
    method = "PATCH" if isinstance(operation, Merge) else "PUT"
    condition = "" if isinstance(operation, Upsert) else _if_match(entity)
    if isinstance(operation, Replace) and not entity.etag:
        raise ValueError("a Replace needs the ETag that was read")
    return f"{method} {entity_address} HTTP/1.1\r\n{_JSON_HEADERS}{condition}\r\n{_json(entity)}"


def _if_match(entity: Entity) -> str:
    return f"If-Match: {entity.etag or '*'}\r\n"


def _quoted(key: str) -> str:
    """Quote a key, which has only letters, digits and `._-=|` (`shared.storage.entities`)."""
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
    """Check the statuses of the operations in the body of an answer, whose own status is 202.

    The body has one status for each operation if all succeeded, else that of the first failure.
    """
    statuses = [int(match[1]) for match in _STATUS.finditer(content)]
    for status in statuses:
        if status >= 300:
            raise error_for_status(status) or HttpResponseError(
                f"a transaction was refused with {status}"
            )
    if len(statuses) < operations:
        raise StorageUnavailableError("the answer to a transaction was cut")
