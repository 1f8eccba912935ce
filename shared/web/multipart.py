"""Reading a form of files, strictly: what is cut off or malformed is refused, not passed over.

The library's own shortcut on a request gives an empty form for a truncated body, a missing boundary
and even for capitals in the media type (LIBRARIES 5), so the parser is called here. Larger files
are kept on disk while the form is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any

from shared.errors import InvalidRequestError, UnsupportedMediaTypeError
from shared.imports.reference_text import escaped
from shared.web.part_encodings import decode_part, is_plain, part_charset

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers

MEDIA_TYPE = "multipart/form-data"
FILE = "file"
"""The part that holds the document."""
NO_FILE_NAME = (
    "The part `file` has no file name: send it as a file, with filename= in its "
    "Content-Disposition."
)
MAX_PARTS = 50
MAX_FIELD_BYTES = 1_048_576
"""Bytes of all fields that are no files."""
_REPLACED = "\ufffd"
_READ = 64 * 1024
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
        """A field's text, trimmed; None where it is missing or blank.

        The reader of a reference puts it into NFC, once it has seen that the text is short enough.
        """
        return self.fields.get(name.lower(), "").strip() or None


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
    from werkzeug.http import parse_options_header

    _, options = parse_options_header(content_type)
    boundary = options.get("boundary")
    if not boundary:
        raise InvalidRequestError("Content-Type names no boundary: let the client make it.")
    texts: list[tuple[str, str]] = []
    files: list[SentFile] = []
    try:
        for place, (part, content) in enumerate(_parts(boundary.encode("ascii"), body, made), 1):
            name = _field_name(part.name, place)
            if isinstance(content, bytes):
                texts.append((name, _field_text(part.name, part.headers, content)))
            else:
                files.append(SentFile(name, part.filename, _file_content(part, content, made)))
    except RequestEntityTooLarge:
        raise InvalidRequestError(
            f"The form has more than {MAX_PARTS} parts, or fields of more than "
            f"{MAX_FIELD_BYTES} bytes: send the fields of the contract only."
        ) from None
    except (ValueError, LookupError) as error:
        raise _unreadable(error, len(texts) + len(files) + 1) from None
    names = Counter(name for name, _ in texts)
    return Form(
        dict(texts), tuple(files), frozenset(name for name, count in names.items() if count > 1)
    )


def _parts(
    boundary: bytes, body: bytes, made: list[IO[bytes]]
) -> Iterator[tuple[Any, bytes | IO[bytes]]]:
    """Each part with its content as sent: the bytes of a field, the open file of a file.

    The parser below the library's own is used, because that one hides the headers of fields.
    """
    from werkzeug.exceptions import RequestEntityTooLarge
    from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

    decoder = MultipartDecoder(boundary, MAX_FIELD_BYTES, max_parts=MAX_PARTS)
    part: Any = None
    field = bytearray()
    fields_bytes = 0
    for start in range(0, len(body) + _READ, _READ):
        decoder.receive_data(body[start : start + _READ] or None)
        while not isinstance(event := decoder.next_event(), (Epilogue, NeedData)):
            if isinstance(event, (Field, File)):
                part = event
                field.clear()
                if isinstance(event, File):
                    made.append(SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115 (see `Form.close`)
            elif isinstance(event, Data) and isinstance(part, File):
                made[-1].write(event.data)
                if not event.more_data:
                    yield part, made[-1]
            elif isinstance(event, Data):
                fields_bytes += len(event.data)
                if fields_bytes > MAX_FIELD_BYTES:
                    raise RequestEntityTooLarge
                field += event.data
                if not event.more_data:
                    yield part, bytes(field)


def _unreadable(error: Exception, place: int) -> InvalidRequestError:
    """What the library has against a form, at the part of that place or behind it."""
    if isinstance(error, UnicodeDecodeError):
        what = "The file name" if b"filename" in error.object.lower() else "A header"
        return InvalidRequestError(
            f"{what} of part {place} of the form is not UTF-8: send it in UTF-8, a file name also "
            "as filename*=UTF-8''…"
        )
    if "Content-Disposition" in str(error):
        return InvalidRequestError(
            f"Part {place} of the form has no Content-Disposition: send one with the name of the "
            "field."
        )
    return InvalidRequestError(
        f"The form cannot be read from part {place} on: it is cut off or malformed; send it again "
        "whole, as an HTTP library makes it."
    )


def _field_name(name: str | None, place: int) -> str:
    """The lower-cased name of a part. Raises InvalidRequestError."""
    if not name:
        raise InvalidRequestError(
            f"Part {place} of the form has no name: send name= in its Content-Disposition."
        )
    if _REPLACED in name:
        raise InvalidRequestError(
            f"The name of part {place} of the form has a mark in place of a character: send the "
            "field's name in UTF-8."
        )
    return name.lower()


def _field_text(name: str, headers: Headers, content: bytes) -> str:
    """The text of a field. Raises InvalidRequestError for bytes that are no text of its charset.

    A replacement mark counts as such a byte: two references must not become the same one.
    """
    charset = part_charset(headers)
    with suppress(ValueError):
        text = decode_part(headers, content).decode(charset)
        if _REPLACED not in text:
            return text
    if name.lower() == FILE:
        raise InvalidRequestError(NO_FILE_NAME)
    raise InvalidRequestError(
        f"The part `{escaped(name)}` is not text in {charset}: send it in UTF-8, or name its "
        "charset in the Content-Type of the part."
    )


def _file_content(part: Any, content: IO[bytes], made: list[IO[bytes]]) -> IO[bytes]:
    """The content of a file as it is meant, from its beginning."""
    content.seek(0)
    if is_plain(part.headers):
        return content
    decoded = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 (see `Form.close`)
    made.append(decoded)
    decoded.write(decode_part(part.headers, content.read()))
    content.close()
    decoded.seek(0)
    return decoded
