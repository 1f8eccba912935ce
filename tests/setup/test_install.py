"""Installing: everything is pinned, and errors of pip and npm become one sentence."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from local_host.setup.install import (
    digest,
    explain,
    is_installed_from,
    is_unfinished,
    mark_finished,
    mark_unfinished,
)

# Everything that is installed is pinned, and nothing names a registry.

ROOT = Path(__file__).resolve().parents[2]
LISTS = ("requirements-dev.txt", "requirements-worker.txt", "constraints.txt")
LOCKS = {
    "emulator": ROOT / "local_host" / "azurite" / "package-lock.json",
    "console": ROOT / "console" / "package-lock.json",
}
of_each_lock = pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS)
PIN = re.compile(r"([A-Za-z0-9._-]+)==[0-9][0-9A-Za-z.]*")


def _pins(name: str) -> list[str]:
    lines = [line.strip() for line in (ROOT / name).read_text().splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def test_every_requirement_is_pinned_exactly() -> None:
    assert [line for name in LISTS for line in _pins(name) if not PIN.fullmatch(line)] == []


def test_no_version_is_written_in_two_places() -> None:
    locked = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    pinned = [canonicalize_name(line.split("==")[0]) for name in LISTS for line in _pins(name)]
    names = [*set(locked), *pinned]
    assert {name for name in names if names.count(name) > 1} == set()


def test_requirements_in_has_no_exact_version() -> None:
    """The exact ones are in requirements.txt, which is written from it."""
    assert [line for line in _pins("requirements.in") if "==" in line.split(";")[0]] == []


def test_every_direct_requirement_says_why_it_is_there() -> None:
    lines = (ROOT / "requirements.in").read_text().splitlines()
    above = {line: before for before, line in pairwise(lines)}
    unexplained = [line for line in _pins("requirements.in") if not above[line]]
    assert unexplained == []


@of_each_lock
def test_every_package_of_npm_has_an_integrity_hash(lock: Path) -> None:
    packages = json.loads(lock.read_text())["packages"]
    without = [name for name, entry in packages.items() if name and "integrity" not in entry]
    assert (without, len(packages) > 5) == ([], True)


@of_each_lock
def test_a_lock_file_names_no_registry(lock: Path) -> None:
    packages = json.loads(lock.read_text())["packages"]
    assert [name for name, entry in packages.items() if "resolved" in entry] == []
    hosts = set(re.findall(r"https?://([^/\"]+)", lock.read_text()))
    assert [host for host in hosts if "registry" in host or "npm" in host] == []


@of_each_lock
def test_no_package_of_npm_wants_to_run_a_script_when_installed(lock: Path) -> None:
    packages = json.loads(lock.read_text())["packages"]
    assert [name for name, entry in packages.items() if entry.get("hasInstallScript")] == []


# What pip and npm say when they fail becomes one sentence that helps.

LOG = Path("/logs/pip.log")
PIP_WITHOUT_NETWORK = """\
WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError("Failed to \
establish a new connection: [Errno -2] Name or service not known")': /simple/pydantic/
ERROR: Could not find a version that satisfies the requirement pydantic==2.14.3
ERROR: No matching distribution found for pydantic==2.14.3
"""


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (PIP_WITHOUT_NETWORK, "cannot reach the package index"),
        ("npm error code ENOTFOUND\nnpm error network request failed", "cannot reach"),
        ("npm error code EAI_AGAIN", "cannot reach"),
        ("npm error code ENOTCACHED\nnpm error request to azurite failed", "cannot reach"),
        ("ERROR: No matching distribution found for pydantic==9", "does not have pydantic==9"),
        ("npm error code ETARGET", "does not have a package"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed", "certificate"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("OSError: [Errno 30] Read-only file system: '/x'", "may not write"),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
            "differs from the hash",
        ),
        ("npm error code EINTEGRITY", "differs from the hash"),
        ("ERROR: Hashes are required in --require-hashes mode, but they are missing", "lock"),
        ("ERROR: In --require-hashes mode, all requirements must have their versions", "lock"),
        ("something new", "pip failed."),
    ],
)
def test_the_reason_is_named(output: str, expected: str) -> None:
    assert expected in explain("pip", output, LOG)


def test_the_log_is_named() -> None:
    assert str(LOG) in explain("pip", "", LOG)


# A folder is current only when it was finished from exactly what is wanted now.
def test_a_finished_folder_is_current(tmp_path: Path) -> None:
    mark_unfinished(tmp_path / "made")
    mark_finished(tmp_path / "made", "abc")
    assert is_installed_from(tmp_path / "made", "abc")


def test_a_folder_made_from_something_else_is_not_current(tmp_path: Path) -> None:
    mark_finished(tmp_path, "abc")
    assert not is_installed_from(tmp_path, "abd")


def test_an_interrupted_folder_is_not_current(tmp_path: Path) -> None:
    mark_finished(tmp_path, "abc")
    mark_unfinished(tmp_path)
    assert is_unfinished(tmp_path)
    assert not is_installed_from(tmp_path, "abc")


def test_a_missing_folder_is_not_current(tmp_path: Path) -> None:
    assert not is_installed_from(tmp_path / "missing", "abc")


def test_the_digest_depends_on_contents_words_and_order(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1")
    other.write_text("2")
    digests = {
        digest([one, other]),
        digest([other, one]),
        digest([one, other], "3.11"),
        digest([one, other], "3.1", "1"),
        digest([one]),
    }
    assert len(digests) == 5
    assert digest([one, other]) == digest([one, other])
