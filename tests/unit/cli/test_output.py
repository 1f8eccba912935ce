"""Tables of the commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from cli.environment import ROOT
from cli.output import columns


def test_columns_are_aligned_and_nothing_is_cut() -> None:
    assert columns(("ROUND", "STATUS"), [("2026-01", "Open")]) == [
        "ROUND    STATUS",
        "2026-01  Open",
    ]


def test_a_table_without_rows_says_so() -> None:
    assert columns(("DROP", "FAILED"), []) == ["There are none."]


@pytest.mark.parametrize("charset", ["ascii", "iso-8859-1", "cp1252", "utf-8"])
def test_a_name_that_the_terminal_cannot_show_ends_no_command(charset: str) -> None:
    """The line behind it may be a key that is shown only once."""
    name = "Łódź é 🙂"
    program = (
        "import sys; from cli.output import show\n"
        "name, as_json = sys.argv[1], sys.argv[2] == 'json'\n"
        "show(as_json, {'name': name, 'key': 'pig_x'}, [name, 'pig_x'])\n"
    )

    def printed(form: str) -> str:
        command = [sys.executable, "-c", program, name, form]
        environ = {**os.environ, "PYTHONUTF8": "1", "PYTHONIOENCODING": charset}
        ran = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, check=True)
        return ran.stdout.decode(charset)

    first, key = printed("lines").splitlines()
    assert key == "pig_x"
    assert first == name.encode(charset, "backslashreplace").decode(charset)
    assert json.loads(printed("json")) == {"name": name, "key": "pig_x"}
