"""The archive of a spreadsheet: a zip file of XML parts, with ceilings before anything is unpacked.

A few kilobytes can unpack to gigabytes, so the directory of the archive is checked first: the
number of parts, that no two parts share bytes (a "quoted overlap" lists one compressed part a
thousand times), and for each part that is wanted its unpacked size and how much smaller it is
compressed. Only the parts that a sheet needs are ever unpacked, in blocks. A part that has more
bytes than the directory says is refused where it passes that size.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any, Final

from lxml import etree

from shared.errors import InvalidRequestError, TooLargeError
from shared.imports.files.text import OLD_OFFICE, is_zip

# A name in the directory of a file that is behind a password.
_ENCRYPTED: Final = "EncryptedPackage".encode("utf-16-le")

# A workbook with hundreds of sheets and pictures has a thousand parts.
MAX_PARTS: Final = 5_000
# The size unpacked over the size compressed. Sheets reach 10 to 40, a bomb 1,000.
MAX_RATIO: Final = 100
# Bytes of parts that are read as a stream, over those of parts that stay in memory. The XML of a
# sheet of 100,000 rows and 33 columns has 170 MB, and its rows as they are stored half of that.
STREAMED_RATIO: Final = 4
# The list of the sheets, the formats and the like.
_LARGEST_SMALL_PART: Final = 8 * 1024 * 1024
_MAX_SMALL_ELEMENTS: Final = 500_000
# Parts up to this size may have any ratio.
_SMALL_PART: Final = 1024 * 1024
_BLOCK: Final = 128 * 1024
_DIRECTORY_ENTRY: Final = b"PK\x01\x02"
_LOCAL_HEADER_BYTES: Final = 30
_IS_ENCRYPTED: Final = 0x1
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGED: Final = (
    "The spreadsheet is damaged: {what}. Open it in a spreadsheet program and save it again as "
    ".xlsx."
)


# What the libraries raise for a damaged part, and for one that is packed in a way they do not know.
# ValueError is also what a number raises that no program would have written.
_DAMAGES: Final = (
    *(etree.XMLSyntaxError, zipfile.BadZipFile, zlib.error, struct.error),
    *(EOFError, ValueError, LookupError, OverflowError),
)
_UNSUPPORTED: Final = (RuntimeError, NotImplementedError, OSError)


def damaged_error(what: str) -> InvalidRequestError:
    """The refusal of a spreadsheet that no program would have written."""
    return InvalidRequestError(_DAMAGED.format(what=what))


class Archive:
    """The parts of a spreadsheet by name."""

    def __init__(self, body: bytes, max_bytes: int) -> None:
        """`max_bytes`: the most that all parts that stay in memory may have unpacked. Those that
        are read as a stream may have STREAMED_RATIO times as much.

        Raises InvalidRequestError and TooLargeError.
        """
        self._left = {False: max_bytes, True: STREAMED_RATIO * max_bytes}
        self._limits = dict(self._left)
        if body.startswith(OLD_OFFICE):
            raise InvalidRequestError(
                "The spreadsheet is protected by a password: save it without one."
                if _ENCRYPTED in body
                else "The spreadsheet is in the format of before 2007 (.xls): save it as .xlsx."
            )
        if not is_zip(body):
            raise InvalidRequestError(
                "The file or body is no spreadsheet (.xlsx): send one, or correct its format (the "
                "Content-Type of a call, the ending of a file)."
            )
        if body.count(_DIRECTORY_ENTRY) > MAX_PARTS:
            raise TooLargeError(
                f"The spreadsheet has more than {MAX_PARTS} parts, which is the limit: save the "
                "sheet in a new file."
            )
        try:
            self._zip = zipfile.ZipFile(BytesIO(body))
        except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError) as error:
            raise damaged_error(_short(error)) from None
        except Exception as error:  # struct.error and others of a hostile directory
            raise damaged_error(type(error).__name__) from None
        self._parts = {part.filename: part for part in self._zip.infolist()}
        self._check_directory(len(body))

    def _check_directory(self, size: int) -> None:
        parts = sorted(self._zip.infolist(), key=lambda part: part.header_offset)
        if len(self._parts) != len(parts):
            raise damaged_error("it has two parts of the same name")
        ends = [*(part.header_offset for part in parts[1:]), size]
        for part, end in zip(parts, ends, strict=True):
            least = part.header_offset + _LOCAL_HEADER_BYTES + part.compress_size
            if part.header_offset < 0 or least > end:
                raise damaged_error("two of its parts share bytes")

    @property
    def names(self) -> frozenset[str]:
        """The names of all parts."""
        return frozenset(self._parts)

    def feed(self, name: str, target: Any) -> None:
        """Parse a part that is small; `target` gets its elements (`start`, `end`, `data`).

        Raises InvalidRequestError, TooLargeError, and what the target raises.
        """
        part = self._parts.get(name)
        if part is not None and part.file_size > _LARGEST_SMALL_PART:
            raise TooLargeError(
                "A part of the spreadsheet that names its sheets and formats is too large: save "
                "the sheet in a new file."
            )
        for _ in self.feed_in_blocks(name, _FewElements(target)):
            pass

    def feed_in_blocks(
        self, name: str, target: Any, *, is_streamed: bool = False
    ) -> Iterator[None]:
        """The same for a part of any size, in blocks; the target limits its elements.

        After each block the caller can take what the target has collected. `is_streamed`: the
        caller takes it, so that it does not stay in memory.
        """
        part = self._parts.get(name)
        if part is None:
            raise damaged_error("a part that it names is missing")
        self._check(part, is_streamed)
        self._left[is_streamed] -= part.file_size
        parser = etree.XMLParser(
            target=_NoDoctype(target), resolve_entities=False, no_network=True, huge_tree=False
        )
        try:
            with self._zip.open(part) as stream:
                while block := stream.read(_BLOCK):
                    parser.feed(block)
                    yield
            parser.close()
        except (*_DAMAGES, *_UNSUPPORTED) as error:
            raise damaged_error(f"a part of it cannot be read ({type(error).__name__})") from None
        yield

    def _check(self, part: zipfile.ZipInfo, is_streamed: bool) -> None:
        if part.flag_bits & _IS_ENCRYPTED:
            raise InvalidRequestError(
                "The spreadsheet is protected by a password: save it without one."
            )
        if part.compress_type not in _METHODS:
            raise damaged_error("a part is compressed in a way that spreadsheets do not use")
        if part.file_size > self._left[is_streamed]:
            raise TooLargeError(
                f"The spreadsheet unpacks to more than {self._limits[is_streamed]} bytes, which is "
                "the limit: send its rows in several files, or as CSV."
            )
        if part.file_size > max(_SMALL_PART, MAX_RATIO * part.compress_size):
            raise TooLargeError(
                f"A part of the spreadsheet unpacks to more than {MAX_RATIO} times its size, which "
                "is the limit: delete empty rows and columns that have a format, or send CSV."
            )


class _FewElements:
    """A parser target that refuses a small part of very many elements, which cost time."""

    def __init__(self, target: Any) -> None:
        self._start = target.start
        self._left = _MAX_SMALL_ELEMENTS
        self.end = target.end
        self.data = target.data

    def start(self, tag: str, attributes: Any) -> None:
        self._left -= 1
        if self._left < 0:
            raise too_many_elements_error(_MAX_SMALL_ELEMENTS)
        self._start(tag, attributes)


def too_many_elements_error(limit: int) -> TooLargeError:
    """The refusal of a part with more elements than its cells or texts need."""
    return TooLargeError(
        f"A part of the spreadsheet has more than {limit} elements beside its cells, which is the "
        "limit: copy the cells into a new file, or send CSV."
    )


class _NoDoctype:
    """A parser target that refuses a document type, which no spreadsheet has: no entities then."""

    def __init__(self, target: Any) -> None:
        self.start = target.start
        self.end = target.end
        self.data = target.data

    def comment(self, text: str | bytes) -> None:
        """Comments are ignored."""

    def doctype(self, *_: str | None) -> None:
        raise damaged_error("a part declares a document type")

    def close(self) -> None:
        """What the parser wants of a target."""


def _short(error: Exception) -> str:
    return str(error)[:80] or type(error).__name__
