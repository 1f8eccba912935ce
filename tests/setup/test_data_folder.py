"""Who can read the data folder of a local gateway."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from local_host.setup.data_folder import (
    DataFolder,
    RunningGateway,
    read_gateway,
    remove_gateway,
    write_gateway,
)
from local_host.setup.paths import private_umask

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
    with private_umask(), DataFolder(folder).lock():
        fill(folder, *OURS)
    assert open_to_others(folder) == []


def test_a_folder_of_an_earlier_version_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    fill(folder, *OURS)
    assert open_to_others(folder)
    with DataFolder(folder).lock():
        assert open_to_others(folder) == []
    assert (folder / "gateway.log").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_only_the_files_of_the_gateway_are_closed_in_a_shared_folder(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    fill(folder, *OURS, "letter.txt", "music/song")
    (folder / "logs" / "link").symlink_to(folder / "letter.txt")
    with DataFolder(folder).lock():
        shown = [Path(path).name for path in open_to_others(folder)]
    assert sorted(shown) == ["home", "letter.txt", "link", "music", "song"]


def test_the_umask_is_as_it_was_after_a_run(tmp_path: Path) -> None:
    with private_umask():
        fill(tmp_path, "during")
    fill(tmp_path, "later")
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("during", "later")] == [
        0o600,
        0o644,
    ]


# gateway.json: how others find a running gateway.

GATEWAY = RunningGateway("http://127.0.0.1:7071", "AccountName=a;AccountKey=b", 42)


def test_a_written_description_is_read_again(tmp_path: Path) -> None:
    write_gateway(tmp_path, GATEWAY)
    assert read_gateway(tmp_path) == GATEWAY


def test_the_description_has_the_three_fields_of_the_contract(tmp_path: Path) -> None:
    write_gateway(tmp_path, GATEWAY)
    fields = json.loads((tmp_path / "gateway.json").read_text())
    assert fields == {"url": GATEWAY.url, "storage": GATEWAY.storage, "pid": 42}


def test_a_gateway_that_serves_https_names_its_certificate_too(tmp_path: Path) -> None:
    secure = RunningGateway("https://127.0.0.1:7071", "AccountName=a", 42, "/data/tls/cert.pem")
    write_gateway(tmp_path, secure)
    assert read_gateway(tmp_path) == secure


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    write_gateway(tmp_path, GATEWAY)
    assert (tmp_path / "gateway.json").stat().st_mode & 0o777 == 0o600


def test_a_removed_description_cannot_be_read(tmp_path: Path) -> None:
    write_gateway(tmp_path, GATEWAY)
    remove_gateway(tmp_path)
    remove_gateway(tmp_path)
    assert read_gateway(tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"url": "u", "storage": "s", "pid": "x"}'])
def test_an_unreadable_description_counts_as_missing(tmp_path: Path, text: str) -> None:
    (tmp_path / "gateway.json").write_text(text)
    assert read_gateway(tmp_path) is None
