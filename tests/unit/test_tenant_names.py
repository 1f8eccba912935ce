"""The id of a tenant is a slug, whatever the name is written in."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidRequestError
from shared.services.admin.tenants import numbered_slug, slug_of


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Demo Payroll", "demo-payroll"),
        ("Łódź Straße & Søn", "lodz-strasse-son"),
        ("Müller -- Crédit 24", "muller-credit-24"),
        ("AB", "tenant-ab"),
        ("株式会社", "tenant"),
        ("x" * 39 + " y", "x" * 39),
    ],
)
def test_a_name_becomes_a_slug(name: str, slug: str) -> None:
    assert slug_of(name) == slug


@given(st.text(), st.integers(1, 10_000))
def test_every_name_and_number_give_a_valid_slug(name: str, number: int) -> None:
    assert re.fullmatch(r"[a-z0-9-]{3,40}", numbered_slug(slug_of(name), number))


@given(st.text())
def test_numbers_keep_slugs_apart(name: str) -> None:
    slug = slug_of(name)
    assert len({numbered_slug(slug, number) for number in range(1, 200)}) == 199


@pytest.mark.parametrize("slug", ["ab", "a" * 41, "Demo", "a_b", "", "démo"])
def test_what_is_no_slug_is_refused(slug: str) -> None:
    with pytest.raises(InvalidRequestError):
        numbered_slug(slug, 1)
