"""A folder is current only when it was finished from exactly what is wanted now."""

from __future__ import annotations

from pathlib import Path

from local_host.setup import stamps


def test_a_finished_folder_is_current(tmp_path: Path) -> None:
    stamps.mark_unfinished(tmp_path / "made")
    stamps.mark_finished(tmp_path / "made", "abc")
    assert stamps.is_current(tmp_path / "made", "abc")


def test_a_folder_made_from_something_else_is_not_current(tmp_path: Path) -> None:
    stamps.mark_finished(tmp_path, "abc")
    assert not stamps.is_current(tmp_path, "abd")


def test_an_interrupted_folder_is_not_current(tmp_path: Path) -> None:
    stamps.mark_finished(tmp_path, "abc")
    stamps.mark_unfinished(tmp_path)
    assert stamps.is_unfinished(tmp_path)
    assert not stamps.is_current(tmp_path, "abc")


def test_a_missing_folder_is_not_current(tmp_path: Path) -> None:
    assert not stamps.is_current(tmp_path / "missing", "abc")


def test_the_digest_depends_on_contents_words_and_order(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1")
    other.write_text("2")
    digests = {
        stamps.digest([one, other]),
        stamps.digest([other, one]),
        stamps.digest([one, other], "3.11"),
        stamps.digest([one, other], "3.1", "1"),
        stamps.digest([one]),
    }
    assert len(digests) == 5
    assert stamps.digest([one, other]) == stamps.digest([one, other])
