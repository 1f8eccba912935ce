"""Who can read the data folder of a local gateway."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from local_host.setup.data_folder import DataFolder
from local_host.setup.private import files_are_private

OURS = ("azurite/__queue__/a", "azurite.log", "gateway.log", "demo.json", "tls/key.pem", "logs/x")


@pytest.fixture(autouse=True)
def usual_umask() -> object:
    before = os.umask(0o022)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    everything = [folder, *folder.rglob("*")]
    return [str(path) for path in everything if path.lstat().st_mode & 0o077]


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def test_a_new_folder_and_what_is_made_in_it_are_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "data"
    with files_are_private(), DataFolder(folder).held():
        fill(folder, *OURS)
    assert open_to_others(folder) == []


def test_a_folder_of_an_earlier_version_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    fill(folder, *OURS)
    assert open_to_others(folder)
    with DataFolder(folder).held():
        assert open_to_others(folder) == []
    assert (folder / "gateway.log").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_of_a_folder_with_other_things_only_what_is_ours_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    fill(folder, *OURS, "letter.txt", "music/song")
    (folder / "logs" / "link").symlink_to(folder / "letter.txt")
    with DataFolder(folder).held():
        shown = [Path(path).name for path in open_to_others(folder)]
    assert sorted(shown) == ["home", "letter.txt", "link", "music", "song"]


def test_the_umask_is_as_it_was_after_a_run(tmp_path: Path) -> None:
    with files_are_private():
        fill(tmp_path, "during")
    fill(tmp_path, "later")
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("during", "later")] == [
        0o600,
        0o644,
    ]
