"""The same rows in every format of files, as senders write them."""

from __future__ import annotations

import csv
import gzip
import json
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import openpyxl
import xlsxwriter

from shared.imports.files.formats import XLSX_TYPE

Row = Mapping[str, Any]


@dataclass(frozen=True)
class SentFile:
    """A body in some format, and the headers that say so."""

    name: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str]

    def compressed(self) -> SentFile:
        """The same with gzip."""
        headers = {**self.headers, "Content-Encoding": "gzip"}
        return SentFile(f"{self.name}-gzip", gzip.compress(self.body), headers)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The path and the value of each field of a row."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for place, item in enumerate(value):
            yield from leaves(item, f"{path}[{place}]")
    else:
        yield path, value


def columns_of(rows: Iterable[Row]) -> list[str]:
    """The columns of rows, in the order in which they occur."""
    columns: dict[str, str] = {}
    for row in rows:
        for path, _ in leaves(row):
            columns.setdefault(path.lower(), path)
    return list(columns.values())


def csv_text(rows: Sequence[Row], delimiter: str = ",", end: str = "\r\n") -> str:
    """The rows as CSV: null as `null`, an absent field as an empty cell."""
    out = StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end)
    columns = columns_of(rows)
    writer.writerow(columns)
    for row in rows:
        cells = {path.lower(): value for path, value in leaves(row)}
        writer.writerow(
            cells[name]
            if isinstance(cells.get(name), str)
            else json.dumps(cells[name])
            if name in cells
            else ""
            for name in map(str.lower, columns)
        )
    return out.getvalue()


def as_json(rows: Sequence[Row]) -> SentFile:
    body = json.dumps(rows, ensure_ascii=False).encode()
    return SentFile("json", body, {"Content-Type": "application/json"})


def as_ndjson(rows: Sequence[Row]) -> SentFile:
    body = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    return SentFile("ndjson", body, {"Content-Type": "application/x-ndjson"})


_ENCODINGS: Mapping[str, Callable[[str], bytes]] = {
    "utf8": str.encode,
    "bom": lambda text: text.encode("utf-8-sig"),
    "utf16": lambda text: text.encode("utf-16"),
}
_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t"}
CSV_FORMS = [f"{mark}-{encoding}" for mark in _DELIMITERS for encoding in _ENCODINGS]


def as_csv(rows: Sequence[Row], form: str = "comma-utf8") -> SentFile:
    """`form` is one of CSV_FORMS."""
    mark, _, encoding = form.partition("-")
    body = _ENCODINGS[encoding](csv_text(rows, _DELIMITERS[mark]))
    media_type = "text/tab-separated-values" if mark == "tab" else "Text/CSV; header=present"
    return SentFile(f"csv-{form}", body, {"Content-Type": media_type})


def _cell_value(name: str, value: Any) -> Any:
    """A value as a typed cell: a date is one in a spreadsheet; null and empty lists are words."""
    if isinstance(value, str) and re.search("Date|DateOfBirth", name):
        return date.fromisoformat(value) if _DAY.fullmatch(value) else value
    return value if isinstance(value, str | int | float) else json.dumps(value)


_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _sheet_rows(rows: Sequence[Row]) -> Iterator[list[Any]]:
    columns = columns_of(rows)
    yield columns
    for row in rows:
        cells = dict(leaves(row))
        yield [_cell_value(name, cells[name]) if name in cells else None for name in columns]


def _by_xlsxwriter(rows: Sequence[Row]) -> bytes:
    stream = BytesIO()
    options = {"default_date_format": "yyyy-mm-dd", "strings_to_formulas": False}
    with xlsxwriter.Workbook(stream, options) as book:
        sheet = book.add_worksheet()
        for number, cells in enumerate(_sheet_rows(rows)):
            sheet.write_row(number, 0, cells)
    return stream.getvalue()


def _by_openpyxl(rows: Sequence[Row]) -> bytes:
    book = openpyxl.Workbook()
    for cells in _sheet_rows(rows):
        book.active.append(cells)
    stream = BytesIO()
    book.save(stream)
    return stream.getvalue()


def _by_libreoffice(rows: Sequence[Row]) -> bytes:
    """What LibreOffice saves of the file of another program."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rows.xlsx").write_bytes(_by_openpyxl(rows))
        libreoffice_saves(Path(folder), "rows.xlsx")
        return (Path(folder) / "out" / "rows.xlsx").read_bytes()


SOFFICE = shutil.which("soffice")


def libreoffice_saves(folder: Path, *names: str) -> None:
    """Let LibreOffice open files of a folder and save them in its folder `out`."""
    subprocess.run(
        [
            *(str(SOFFICE), f"-env:UserInstallation=file://{folder}/profile", "--headless"),
            *("--convert-to", "xlsx:Calc MS Excel 2007 XML", "--outdir", str(folder / "out")),
            *(str(folder / name) for name in names),
        ],
        check=True,
        capture_output=True,
    )


_WRITERS: Mapping[str, Callable[[Sequence[Row]], bytes]] = {
    "xlsxwriter": _by_xlsxwriter,
    "openpyxl": _by_openpyxl,
    **({"libreoffice": _by_libreoffice} if SOFFICE else {}),
}
# LibreOffice only where it is installed.
XLSX_WRITERS = [*_WRITERS]


def as_xlsx(rows: Sequence[Row], writer: str) -> SentFile:
    """`writer` is one of XLSX_WRITERS."""
    return SentFile(f"xlsx-{writer}", _WRITERS[writer](rows), {"Content-Type": XLSX_TYPE})


def in_every_format(rows: Sequence[Row]) -> list[SentFile]:
    """The rows in every format of text, each plain and with gzip."""
    plain = [as_json(rows), as_ndjson(rows), *(as_csv(rows, form) for form in CSV_FORMS)]
    return [*plain, *(file.compressed() for file in plain)]


def shared_text(text: str, rows: int, width: int, header: str = "EmployerRef") -> bytes:
    """A small spreadsheet whose cells all refer to one long text; without rows its header does."""
    cells = "<c t='s'><v>1</v></c>" * width
    names = "<c t='s'><v>0</v></c>" if rows else cells
    data = f"<row>{names}</row>" + f"<row>{cells}</row>" * rows
    texts = "".join(f"<si><t xml:space='preserve'>{each}</t></si>" for each in (header, text))
    stream = BytesIO()
    with (
        zipfile.ZipFile(BytesIO(_by_xlsxwriter([{"A": "x"}]))) as book,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name in book.namelist():
            content = book.read(name)
            if name.endswith("sheet1.xml"):
                content = _replaced(
                    content, rb"<sheetData>.*</sheetData>", f"<sheetData>{data}</sheetData>"
                )
            elif name.endswith("sharedStrings.xml"):
                content = _replaced(content, rb"<si>.*</si>", texts)
            archive.writestr(name, content)
    return stream.getvalue()


def _replaced(content: bytes, pattern: bytes, text: str) -> bytes:
    return re.sub(pattern, lambda _: text.encode(), content, flags=re.DOTALL)
