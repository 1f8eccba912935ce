"""Which names were meant to be others."""

from __future__ import annotations

import pytest

from shared.imports.near_names import is_like_dry_run, is_one_slip_away, nearest

FIELDS = ("EmployerRef", "FirstForename", "Surname", "WorkerAddress.Postcode", "Rates.PayRate")


@pytest.mark.parametrize(
    "name",
    [
        *("version", "VERSION", "ver-sion", "versin", "versionn", "bersion", "vesrion", "ersion"),
        *("versiom", "xversion", "evrsion", "versino", "\uff56ersion", " version "),
    ],
)
def test_one_slip(name: str) -> None:
    assert is_one_slip_away(name, "version")


@pytest.mark.parametrize("name", ["", "apiversion", "vers", "vresoin", "verzioon", "v", "noisrev"])
def test_more_than_one_slip(name: str) -> None:
    assert not is_one_slip_away(name, "version")


@pytest.mark.parametrize(
    "name", ["dryRun", "dry_run", "dry", "dryrn", "DRYMODE", "isDryRun", "ddryRun", "$dryRun[]"]
)
def test_what_must_mean_a_dry_run(name: str) -> None:
    assert is_like_dry_run(name)


@pytest.mark.parametrize("name", ["run", "trial", "view", "laundryrun2"[:7], "", "d"])
def test_what_is_no_dry_run(name: str) -> None:
    assert not is_like_dry_run(name)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Forename1", "FirstForename"),
        ("first forename", "FirstForename"),
        ("Sirname", "Surname"),
        ("Employer Reference", "EmployerRef"),
        ("Postcode", "WorkerAddress.Postcode"),
        ("Address.PostCode", "WorkerAddress.Postcode"),
        ("WorkerAdress.Postcode", "WorkerAddress.Postcode"),
        ("xyz", None),
        ("", None),
    ],
)
def test_the_nearest_known_name(name: str, known: str | None) -> None:
    assert nearest(name, FIELDS) == known
