"""The rows in the body of a call, in any format of files (docs/contracts.md#11).

The Content-Type names the format. A call that names none of them has rows in the vendor's format,
which is JSON for most types. Every body may be compressed with gzip.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

import azure.functions as func
from werkzeug.http import parse_options_header

from shared.errors import GatewayError, InvalidRequestError, UnsupportedMediaTypeError
from shared.gateway import Gateway
from shared.imports.files.formats import (
    XLSX_TYPE,
    FileFormat,
    ReadOptions,
    format_of_media_type,
    readable_content,
    reader_of,
)
from shared.imports.files.gzip_bodies import unpacked
from shared.imports.files.mapping import ProfileMapping
from shared.imports.files.profile import NO_PROFILE, ProfileRef
from shared.imports.files.text import utf8_body
from shared.imports.import_type import ImportType, Rules
from shared.imports.json_rows import Reader
from shared.services.background import SMALL_BODY, UNPACKED, to_thread_if_large
from shared.web.idempotency import REPLAYED
from shared.web.query_names import PROFILE, PROFILE_VERSION, SHEET, query_of

_NO_ENCODING: Final = ("", "identity")
_GZIP: Final = ("gzip", "x-gzip")


@dataclass(frozen=True, slots=True)
class SentRows:
    """The body of a call, and how its rows are read.

    `format` is None for the format of the vendor.
    """

    format: FileFormat | None
    rules: Rules = field(repr=False)
    options: ReadOptions = field(repr=False)
    is_compressed: bool
    charset: str
    body: bytes = field(repr=False)

    @property
    def reader(self) -> Reader:
        """The reader of the content."""
        return reader_of(self.format or FileFormat.JSON, self.rules, self.options)

    @property
    def is_small(self) -> bool:
        """Whether the body is so small that large work may wait for it."""
        is_packed = self.is_compressed or self.format is FileFormat.XLSX
        return len(self.body) <= SMALL_BODY and not is_packed

    @property
    def mapping(self) -> ProfileMapping | None:
        """The mapping of the profile that reads the rows; None without one."""
        return self.options.mapping

    @property
    def profile(self) -> ProfileRef:
        """The version of that profile."""
        return self.mapping.ref if self.mapping else NO_PROFILE

    async def with_profile(
        self, gateway: Gateway, tenant: str, kind: ImportType, query: Mapping[str, str]
    ) -> SentRows:
        """The same rows, read by the profile that the query names, if it names one.

        Raises InvalidRequestError where there is no such profile for rows of the type.
        """
        name = query.get(PROFILE)
        if name is None:
            return self
        version = await gateway.profiles.find(tenant, name, kind)
        return replace(self, options=replace(self.options, mapping=version.mapping))

    async def content(self) -> bytes:
        """The body as the reader takes it, unpacked and in UTF-8.

        Raises InvalidRequestError, and TooLargeError for one that is too large once unpacked.
        """
        size = len(self.body) * (UNPACKED if self.is_compressed else 1)
        return await to_thread_if_large(size, self._content)

    async def unpacked(self) -> bytes:
        """The body in its own charset, for a vendor's format that names it within the text.

        Raises the same.
        """
        size = len(self.body) * (UNPACKED if self.is_compressed else 1)
        return await to_thread_if_large(size, self._unpacked)

    def _unpacked(self) -> bytes:
        return unpacked(self.body, self.options.max_bytes) if self.is_compressed else self.body

    def _content(self) -> bytes:
        body = self._unpacked()
        if self.format is None:
            return utf8_body(body, self.charset)
        return readable_content(self.format, body, self.charset)


async def with_profile_version(
    response: func.HttpResponse,
    gateway: Gateway,
    tenant: str,
    kind: ImportType,
    query: Mapping[str, str],
) -> func.HttpResponse:
    """The answer to a call; a repeated one says which version of the profile is the newest.

    The first import was perhaps read by an earlier version, and only another key imports again.
    """
    name = query.get(PROFILE)
    if name is not None and REPLAYED in response.headers:
        # The answer stands whatever became of the profile.
        with suppress(GatewayError):
            version = await gateway.profiles.find(tenant, name, kind)
            response.headers[PROFILE_VERSION] = str(version.ref.version)
    return response


def sent_rows(req: func.HttpRequest, rules: Rules, max_bytes: int) -> SentRows:
    """The rows of a call, by its Content-Type and Content-Encoding; `sheet=` names a sheet.

    `max_bytes` limits what a spreadsheet unpacks to. Raises UnsupportedMediaTypeError for an
    encoding other than gzip, InvalidRequestError for the sheet of what is no spreadsheet.
    """
    media_type, options = parse_options_header(req.headers.get("Content-Type", ""))
    file_format = format_of_media_type(media_type.lower())
    sheet = query_of(req).get(SHEET, "")
    if sheet and file_format is not FileFormat.XLSX:
        raise InvalidRequestError(
            f"sheet names a sheet of a spreadsheet, and the body is none: leave it out, or send "
            f"Content-Type: {XLSX_TYPE}."
        )
    read_options = ReadOptions(sheet=sheet, max_bytes=max_bytes)
    return SentRows(
        file_format,
        rules,
        read_options,
        is_compressed(req),
        options.get("charset", ""),
        req.get_body(),
    )


def is_compressed(req: func.HttpRequest) -> bool:
    """Whether the body is compressed with gzip, once.

    Raises UnsupportedMediaTypeError for another encoding.
    """
    header = req.headers.get("Content-Encoding", "").lower()
    encodings = [each.strip() for each in header.split(",")]
    encodings = [each for each in encodings if each not in _NO_ENCODING]
    if len(encodings) > 1 or (encodings and encodings[0] not in _GZIP):
        raise UnsupportedMediaTypeError(
            "Content-Encoding must be gzip, once, or be left out: send the body so."
        )
    return bool(encodings)
