"""gateway.json: how others find a running gateway."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local_host.setup.gateway_file import (
    RunningGateway,
    read_gateway,
    remove_gateway,
    write_gateway,
)

GATEWAY = RunningGateway("http://127.0.0.1:7071", "AccountName=a;AccountKey=b", 42)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_gateway(tmp_path, GATEWAY)
    assert read_gateway(tmp_path) == GATEWAY


def test_it_holds_the_three_fields_of_the_contract(tmp_path: Path) -> None:
    write_gateway(tmp_path, GATEWAY)
    said = json.loads((tmp_path / "gateway.json").read_text())
    assert said == {"url": GATEWAY.url, "storage": GATEWAY.storage, "pid": 42}


def test_a_gateway_that_serves_https_names_its_certificate_too(tmp_path: Path) -> None:
    secure = RunningGateway("https://127.0.0.1:7071", "AccountName=a", 42, "/data/tls/cert.pem")
    write_gateway(tmp_path, secure)
    assert read_gateway(tmp_path) == secure


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    write_gateway(tmp_path, GATEWAY)
    assert (tmp_path / "gateway.json").stat().st_mode & 0o777 == 0o600


def test_after_removal_there_is_none(tmp_path: Path) -> None:
    write_gateway(tmp_path, GATEWAY)
    remove_gateway(tmp_path)
    remove_gateway(tmp_path)
    assert read_gateway(tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"url": "u", "storage": "s", "pid": "x"}'])
def test_an_unreadable_one_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "gateway.json").write_text(text)
    assert read_gateway(tmp_path) is None
