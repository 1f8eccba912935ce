"""Everything that is installed is pinned, and nothing names a registry."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LISTS = ("requirements-dev.txt", "requirements-worker.txt", "constraints.txt")
LOCK = ROOT / "local_host" / "azurite" / "package-lock.json"
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


def test_every_package_of_the_emulator_has_an_integrity_hash() -> None:
    packages = json.loads(LOCK.read_text())["packages"]
    without = [name for name, entry in packages.items() if name and "integrity" not in entry]
    assert (without, len(packages) > 300) == ([], True)


def test_the_lock_file_names_no_registry() -> None:
    packages = json.loads(LOCK.read_text())["packages"]
    assert [name for name, entry in packages.items() if "resolved" in entry] == []
    hosts = set(re.findall(r"https?://([^/\"]+)", LOCK.read_text()))
    assert [host for host in hosts if "registry" in host or "npm" in host] == []


def test_no_package_of_the_emulator_wants_to_run_a_script_when_installed() -> None:
    packages = json.loads(LOCK.read_text())["packages"]
    assert [name for name, entry in packages.items() if entry.get("hasInstallScript")] == []
