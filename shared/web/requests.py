"""The parts of a call besides its rows: query, media types, size, preferences, forms.

See docs/contracts.md#0.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any

import azure.functions as func
from werkzeug.http import parse_options_header

from shared.errors import (
    InvalidRequestError,
    NotAcceptableError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from shared.imports.files.text import utf8_body
from shared.imports.text_checks import escaped
from shared.services.background import to_thread_if_large
from shared.web.media_types import (
    charset_of,
    decode_part,
    is_plain,
    part_charset,
    preferred_type,
)
from shared.web.query_names import DRY_RUN

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers


JSON = "application/json"
CSV = "text/csv"
_UTF8 = ("", "utf-8", "utf8", "us-ascii")
_WAIT = re.compile(r"""wait\s*=\s*"?([0-9]{1,9})"?""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Preferences:
    """The seconds that the caller wants to wait, and the parts of `Prefer` that are applied."""

    seconds: float
    applied: str


class DryRun(Enum):
    """Whether a call is a dry run, and the form of its answer."""

    NO = auto()
    ANSWER = auto()
    ROWS = auto()


def whole_number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A query value from 1 to `most`. Raises InvalidRequestError."""
    text = query.get(name.lower())
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= most:
        raise InvalidRequestError(f"{name} must be a whole number from 1 to {most}.")
    return int(text)


def check_size(req: func.HttpRequest, most: int) -> None:
    """Raises TooLargeError if the body has more than `most` bytes."""
    size = len(req.get_body())
    if size > most:
        raise TooLargeError(
            f"The body has {size} bytes and the limit is {most}: send it in several calls."
        )


def check_accepts_json(req: func.HttpRequest) -> None:
    """Raises NotAcceptableError if `Accept` excludes JSON."""
    accepted_type(req, JSON)


def accepted_type(req: func.HttpRequest, *media_types: str) -> str:
    """The one of these media types that `Accept` prefers, by default the first one.

    Raises NotAcceptableError if it excludes them all.
    """
    best = preferred_type(req.headers.get("Accept", ""), media_types)
    if best is None:
        names = " or ".join(media_types)
        raise NotAcceptableError(f"This endpoint answers {names}: name one of these in Accept.")
    return best


def check_encoding(req: func.HttpRequest) -> None:
    """Raises UnsupportedMediaTypeError if the body is compressed."""
    encoding = req.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMediaTypeError(
            "Compressed bodies are not supported: send the body without Content-Encoding."
        )


def is_utf8(options: Mapping[str, str]) -> bool:
    """Whether the parameters of a content type name UTF-8 or no charset."""
    return options.get("charset", "").lower() in _UTF8


def check_sends_json(req: func.HttpRequest) -> None:
    """Raises UnsupportedMediaTypeError for an encoding, or a media type other than JSON.

    A missing content type counts as JSON; `text/json` and `+json` are JSON too. The content type of
    an empty body is ignored.
    """
    if req.get_body():
        check_encoding(req)
        check_is_json(req)


def check_is_json(req: func.HttpRequest) -> None:
    """Raises UnsupportedMediaTypeError for a media type other than JSON, also of a compressed body.

    A missing content type counts as JSON.
    """
    if not req.get_body():
        return
    media_type, options = parse_options_header(req.headers.get("Content-Type", ""))
    media_type = media_type.lower()
    is_json = media_type in ("", JSON, "text/json") or media_type.endswith("+json")
    if not is_json or not is_utf8(options):
        raise UnsupportedMediaTypeError("Send the body as application/json in UTF-8.")


async def text_body(req: func.HttpRequest) -> bytes:
    """The body in UTF-8, by its bytes and the charset of its Content-Type of any media type.

    Raises InvalidRequestError if it cannot be decoded.
    """
    body, charset = req.get_body(), charset_of(req.headers.get("Content-Type", ""))
    return await to_thread_if_large(len(body), utf8_body, body, charset)


def boolean(query: Mapping[str, str], name: str, *, default: bool) -> bool:
    """Read a query value true or false, in any case. Raises InvalidRequestError.

    A name without a value is refused: `?dryRun` must not import.
    """
    text = query.get(name.lower())
    if text is None:
        return default
    if text.lower() not in ("true", "false"):
        raise InvalidRequestError(
            f"{name} in the query must be true or false, and sent once: nothing was done."
        )
    return text.lower() == "true"


def dry_run(query: Mapping[str, str]) -> DryRun:
    """Read `dryRun` and `view` of a query. Raises InvalidRequestError."""
    is_dry, view = boolean(query, DRY_RUN, default=False), query.get("view", "").lower()
    if view and not is_dry:
        raise InvalidRequestError("view belongs to a dry run: send dryRun=true with it.")
    if view not in ("", "rows"):
        raise InvalidRequestError("view must be rows, or left out for the vendor's answer.")
    if not is_dry:
        return DryRun.NO
    return DryRun.ROWS if view else DryRun.ANSWER


def preferences(req: func.HttpRequest, longest: float) -> Preferences:
    """`Prefer: wait=N` shortens the wait, `respond-async` alone ends it at once (RFC 7240)."""
    header = [part.strip() for part in req.headers.get("Prefer", "").split(",")]
    waits = [float(match[1]) for part in header if (match := _WAIT.fullmatch(part))]
    wants_async = any(part.lower() == "respond-async" for part in header)
    applied_preferences = ["respond-async"] if wants_async else []
    seconds = 0.0 if wants_async else math.inf
    if waits:
        seconds = min(waits[0], longest)
        applied_preferences.append(f"wait={seconds:.0f}")
    return Preferences(min(seconds, longest), ", ".join(applied_preferences))


# Forms with files are read strictly: a truncated or malformed form is refused.
#
# The library's own shortcut on a request returns an empty form for a truncated body, a missing
# boundary and even for capitals in the media type (docs/platform.md#multipart), so this module
# calls the parser. Larger files are on disk while the form is read.

MEDIA_TYPE = "multipart/form-data"
# The name of the part with the document.
FILE = "file"
NO_FILE_NAME = (
    "The part `file` has no file name: send it as a file, with filename= in its "
    "Content-Disposition."
)
MAX_PARTS = 50
# The most bytes of all fields that are not files.
MAX_FIELD_BYTES = 1_048_576
_REPLACED = "\ufffd"
_READ = 64 * 1024
# The most bytes of a file that is kept in memory.
_IN_MEMORY = 512 * 1024


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file of a form: its field, its name as sent, its content from the beginning."""

    field: str
    name: str
    content: IO[bytes]


@dataclass(frozen=True, slots=True)
class Form:
    """A form: texts by lower-cased name, the files, and the names that occurred more than once."""

    fields: Mapping[str, str]
    files: tuple[SentFile, ...]
    repeated: frozenset[str]

    def close(self) -> None:
        """Release the space of the files."""
        for file in self.files:
            file.content.close()

    def text(self, name: str) -> str | None:
        """A field's text, trimmed; None if it is missing or blank.

        The reader of a reference normalises it to NFC after it has checked the length.
        """
        return self.fields.get(name.lower(), "").strip() or None


def check_media_type(content_type: str, encoding: str) -> None:
    """Raises UnsupportedMediaTypeError for anything but an uncompressed form."""
    if encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedMediaTypeError(
            "Compressed bodies are not supported: send the body without Content-Encoding."
        )
    if content_type.partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise UnsupportedMediaTypeError(f"Send the document as {MEDIA_TYPE}.")


def read_form(content_type: str, body: bytes) -> Form:
    """Read the form in a body, to be closed after use. Raises InvalidRequestError."""
    if not body:
        raise InvalidRequestError("The body is empty: send a form, with a Content-Length.")
    form: list[IO[bytes]] = []
    try:
        return _parsed(content_type, body, form)
    except BaseException:
        for content in form:
            content.close()
        raise


def _parsed(content_type: str, body: bytes, form: list[IO[bytes]]) -> Form:
    from werkzeug.exceptions import RequestEntityTooLarge
    from werkzeug.http import parse_options_header

    _, options = parse_options_header(content_type)
    boundary = options.get("boundary")
    if not boundary:
        raise InvalidRequestError("Content-Type names no boundary: let the HTTP library write it.")
    texts: list[tuple[str, str]] = []
    files: list[SentFile] = []
    try:
        for position, (part, content) in enumerate(_parts(boundary.encode("ascii"), body, form), 1):
            name = _field_name(part.name, position)
            if isinstance(content, bytes):
                texts.append((name, _field_text(part.name, part.headers, content)))
            else:
                files.append(SentFile(name, part.filename, _file_content(part, content, form)))
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
    boundary: bytes, body: bytes, form: list[IO[bytes]]
) -> Iterator[tuple[Any, bytes | IO[bytes]]]:
    """Yield each part with its content as sent: the bytes of a field, the open file of a file.

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
                    form.append(SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115 (see `Form.close`)
            elif isinstance(event, Data) and isinstance(part, File):
                form[-1].write(event.data)
                if not event.more_data:
                    yield part, form[-1]
            elif isinstance(event, Data):
                fields_bytes += len(event.data)
                if fields_bytes > MAX_FIELD_BYTES:
                    raise RequestEntityTooLarge
                field += event.data
                if not event.more_data:
                    yield part, bytes(field)


def _unreadable(error: Exception, position: int) -> InvalidRequestError:
    """The refusal of a form that the library cannot read from this part on."""
    if isinstance(error, UnicodeDecodeError):
        subject = "The file name" if b"filename" in error.object.lower() else "A header"
        return InvalidRequestError(
            f"{subject} of part {position} of the form is not UTF-8: send it in UTF-8, a file name "
            "also as filename*=UTF-8''…"
        )
    if "Content-Disposition" in str(error):
        return InvalidRequestError(
            f"Part {position} of the form has no Content-Disposition: send one with the name of "
            "the field."
        )
    return InvalidRequestError(
        f"The form cannot be read from part {position} on, since it is cut off or malformed: let "
        "an HTTP library write it, and send it again."
    )


def _field_name(name: str | None, position: int) -> str:
    """The lower-cased name of a part. Raises InvalidRequestError."""
    if not name:
        raise InvalidRequestError(
            f"Part {position} of the form has no name: send name= in its Content-Disposition."
        )
    if _REPLACED in name:
        raise InvalidRequestError(
            f"The name of part {position} of the form has a replacement character (U+FFFD): send "
            "the field's name in UTF-8."
        )
    return name.lower()


def _field_text(name: str, headers: Headers, content: bytes) -> str:
    """The text of a field. Raises InvalidRequestError for bytes that are invalid in its charset.

    A replacement character counts as invalid, so that two references cannot become the same one.
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


def _file_content(part: Any, content: IO[bytes], form: list[IO[bytes]]) -> IO[bytes]:
    """The decoded content of a file."""
    content.seek(0)
    if is_plain(part.headers):
        return content
    decoded = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 (see `Form.close`)
    form.append(decoded)
    decoded.write(decode_part(part.headers, content.read()))
    content.close()
    decoded.seek(0)
    return decoded


# Continuations of lists are texts that are opaque to the caller.


def to_opaque(text: str) -> str:
    """The continuation for a position in a list."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def from_opaque(continuation: str) -> str:
    """The position of a continuation. Raises InvalidRequestError."""
    try:
        return base64.urlsafe_b64decode(continuation + "=" * (-len(continuation) % 4)).decode()
    except (binascii.Error, ValueError):
        raise wrong_continuation() from None


def wrong_continuation() -> InvalidRequestError:
    """The refusal of an invalid continuation."""
    return InvalidRequestError(
        "continuation must be the value of the previous page; leave it out for the first page."
    )
