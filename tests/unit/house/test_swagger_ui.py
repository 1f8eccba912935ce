"""The page's files are those of the npm package, unchanged, and they are deployed."""

from __future__ import annotations

import hashlib

import pytest

from shared.web.openapi.page import FOLDER

VERSION = "5.35.0"
FILES = {
    "LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
    "NOTICE": "0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2",
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui-bundle.js.LICENSE.txt": "37eb6e7e59aed57b2c1acf076574b818ea07b74265717e0bd67b59e0baf9abbb",  # noqa: E501
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_package_is_unchanged(name: str) -> None:
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == FILES[name]


def test_nothing_else_lies_beside_them_and_the_version_is_told() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*FILES, "README.md"}
    assert VERSION in (FOLDER / "README.md").read_text("utf-8")
