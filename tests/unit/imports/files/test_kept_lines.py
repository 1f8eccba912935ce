"""The stored lines of a CSV that are kept come back as they were, up to their limit."""

from __future__ import annotations

import random

from shared.imports.files.csv_rows import KeptLines

_PLENTY = 10_000_000


def _lines(draw: random.Random) -> list[bytes]:
    """Lines like those of a file, and some that are empty, long or random."""
    alike = [
        f'{at} {{"EmployerRef":"E{at % 7}","Surname":"Sample"}}\n'.encode() for at in range(50)
    ]
    odd = [b"", draw.randbytes(20_000), b"x" * 100_000, "Łódź\u2028".encode() * 3_000]
    lines = [*alike, *odd]
    draw.shuffle(lines)
    return lines


def test_every_line_comes_back_in_any_order() -> None:
    for seed in range(10):
        draw = random.Random(seed)
        lines = _lines(draw)
        kept = KeptLines(_PLENTY)
        for line in lines:
            kept.add(line)
        for at in draw.sample(range(len(lines)), len(lines)):
            assert kept.get(at) == lines[at], (seed, at)
        assert kept.get(len(lines)) is None


def test_no_line_is_kept_after_one_that_does_not_fit() -> None:
    lines = [random.Random(at).randbytes(1_000) for at in range(10)]
    kept = KeptLines(3_500)
    for line in [*lines, b"short"]:
        kept.add(line)
    assert [kept.get(at) for at in range(3)] == lines[:3]
    assert [kept.get(at) for at in range(3, 11)] == [None] * 8
