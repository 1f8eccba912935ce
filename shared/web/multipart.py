"""Reading a form of files, strictly: what is cut off or malformed is refused, not passed over.

The library's own shortcut on a request gives an empty form for a truncated body, a missing boundary
and even for capitals in the media type (LIBRARIES 5), so the parser is called here. Larger files
are kept on disk while the form is read.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import IO

from shared.errors import InvalidRequestError, UnsupportedMediaTypeError

MEDIA_TYPE = "multipart/form-data"
MAX_PARTS = 50
MAX_FIELD_BYTES = 1_048_576
"""Bytes of all fields that are no files."""
_REPLACED = "\ufffd"
_IN_MEMORY = 512 * 1024
"""Bytes of a file up to which it is not put on disk."""


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file of a form: its field, its name as sent, its content from the beginning."""

    field: str
    name: str
    content: IO[bytes]


@dataclass(frozen=True, slots=True)
class Form:
    """A form: texts by lower-cased name, the files, the names that came more than once."""

    fields: Mapping[str, str]
    files: tuple[SentFile, ...]
    repeated: frozenset[str]

    def close(self) -> None:
        """Give the space of the files back."""
        for file in self.files:
            file.content.close()

    def text(self, name: str) -> str | None:
        """A field's text, trimmed and in NFC; None where it is missing or blank."""
        return unicodedata.normalize("NFC", self.fields.get(name.lower(), "").strip()) or None


def check_media_type(content_type: str, encoding: str) -> None:
    """Raises UnsupportedMediaTypeError for anything but a form that comes as it is."""
    if encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedMediaTypeError(
            "The body must come as it is: send it without Content-Encoding."
        )
    if content_type.partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise UnsupportedMediaTypeError(f"Send the document as {MEDIA_TYPE}.")


def read_form(content_type: str, body: bytes) -> Form:
    """The form in a body, to be closed after use. Raises InvalidRequestError."""
    if not body:
        raise InvalidRequestError("The body is empty: send a form, with a Content-Length.")
    made: list[IO[bytes]] = []
    try:
        return _parsed(content_type, body, made)
    except BaseException:
        for content in made:
            content.close()
        raise


def _parsed(content_type: str, body: bytes, made: list[IO[bytes]]) -> Form:
    from werkzeug.exceptions import RequestEntityTooLarge
    from werkzeug.formparser import FormDataParser
    from werkzeug.http import parse_options_header

    def keep(*_: object, **__: object) -> IO[bytes]:
        made.append(SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115 (`Form.close` closes it)
        return made[-1]

    _, options = parse_options_header(content_type)
    if not options.get("boundary"):
        raise InvalidRequestError("Content-Type names no boundary: let the client make it.")
    parser = FormDataParser(
        keep, silent=False, max_form_parts=MAX_PARTS, max_form_memory_size=MAX_FIELD_BYTES
    )
    try:
        _, fields, files = parser.parse(BytesIO(body), MEDIA_TYPE, len(body), options)
        texts = [_field(name, text) for name, text in fields.items(multi=True)]
        sent = tuple(
            SentFile(_field(name, "")[0], file.filename or "", file.stream)
            for name, file in files.items(multi=True)
        )
    except RequestEntityTooLarge:
        raise InvalidRequestError(
            f"The form has more than {MAX_PARTS} parts, or fields of more than "
            f"{MAX_FIELD_BYTES} bytes: send the fields of the contract only."
        ) from None
    except (ValueError, LookupError):
        raise InvalidRequestError(
            "The form cannot be read: it is cut off or malformed; send it again whole."
        ) from None
    names = Counter(name for name, _ in texts)
    return Form(dict(texts), sent, frozenset(name for name, count in names.items() if count > 1))


def _field(name: str | None, text: str) -> tuple[str, str]:
    """The lower-cased name of a part and its text.

    Raises ValueError for a part without a name, which the library lets through as None, and for
    bytes that are no UTF-8, which it replaces: two references must not become the same one.
    """
    if not name or _REPLACED in text:
        raise ValueError
    return name.lower(), text
