"""Files as senders save them: charsets, byte order marks, Ctrl-Z."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from cli.row_files import UnreadableFileError, read_text_file
from cli.tenant_rules import read_values

TEXT = "EmployerRef,Surname\r\nC1,Müller\r\n"


def _file(folder: Path, content: bytes) -> Path:
    path = folder / "rows.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF8 * 2 + TEXT.encode(),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
        codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"),
    ],
)
def test_a_file_of_unicode_is_read_in_each_of_its_encodings(tmp_path: Path, content: bytes) -> None:
    assert read_text_file(_file(tmp_path, content)) == TEXT


@pytest.mark.parametrize("end", ["\x1a", "\r\n\x1a", "\x1a\x1a\x1a", "\x1a\r\n", "\n\x1a\x00\x00"])
def test_a_closing_ctrl_z_is_no_text(tmp_path: Path, end: str) -> None:
    assert read_text_file(_file(tmp_path, f"A\nb{end}".encode())) == "A\nb"


def test_a_ctrl_z_within_the_text_stays(tmp_path: Path) -> None:
    assert read_text_file(_file(tmp_path, b"A\nb\x1ac\n \n")) == "A\nb\x1ac\n \n"


@pytest.mark.parametrize("charset", ["cp1252", "latin-1", "cp850", "mac-roman"])
def test_an_older_charset_is_refused_with_the_place_and_advice(
    tmp_path: Path, charset: str
) -> None:
    with pytest.raises(UnreadableFileError) as raised:
        read_text_file(_file(tmp_path, TEXT.encode(charset)))
    message = str(raised.value)
    assert message.startswith("rows.csv is not UTF-8")
    assert "offset 25 (line 2, byte 5 of it)" in message
    assert "save it as UTF-8" in message


def test_half_a_character_of_utf16_is_refused_as_cut_off(tmp_path: Path) -> None:
    content = TEXT.encode("utf-16")[:-1]
    with pytest.raises(UnreadableFileError, match=rf"not UTF-16: .*{len(content) - 1}.*cut off"):
        read_text_file(_file(tmp_path, content))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="cannot be read: Is a directory"):
        read_text_file(tmp_path)


@pytest.mark.parametrize("content", [b"a\nb\n \n\x1a", "a\r\nb".encode("utf-16"), b"a\rb\r"])
def test_a_reference_list_is_read_as_files_of_rows_are(tmp_path: Path, content: bytes) -> None:
    assert read_values(_file(tmp_path, content)) == ["a", "b"]
