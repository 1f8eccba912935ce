"""Digests of rows as they were sent: what is part of them, and when they match."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from shared.imports.import_type import ImportType, Options
from shared.imports.json_rows import line_of, line_places
from shared.imports.timesheets.definition import TIMESHEETS, TIMESHEETS_V2
from shared.imports.workers.definition import WORKERS
from shared.services.sent_rows import SentRows, digest_of_code
from shared.storage.import_records import ImportRecord, Parent
from shared.storage.sealing import PLAIN_DIGESTS, RecordDigests, digest_number

PARTS = (b"acme|E1", b"r|7", b"E1", b"7", b"code", b'{"A": 1}')
DOCUMENT = ("acme|E1", "r|7", '{"A":1}')
DAY = 700_000
KEYED = RecordDigests(2, {1: b"old", 2: b"new"})


def kept(digests: RecordDigests = KEYED) -> bytes:
    return digests.make(*DOCUMENT) + digests.make_sent(PARTS, DAY)


def test_a_digest_matches_its_row_and_its_document() -> None:
    assert KEYED.matches_sent(kept(), PARTS, DAY)
    assert KEYED.matches(kept(), *DOCUMENT)
    assert digest_number(kept()) == 2


@pytest.mark.parametrize("at", range(len(PARTS)))
def test_every_part_of_a_row_counts(at: int) -> None:
    changed = [*PARTS]
    changed[at] += b"x"
    assert not KEYED.matches_sent(kept(), changed, DAY)


def test_parts_cannot_be_shifted_into_each_other() -> None:
    for at in range(len(PARTS) - 1):
        both = PARTS[at] + PARTS[at + 1]
        for cut in range(len(both) + 1):
            shifted = (*PARTS[:at], both[:cut], both[cut:], *PARTS[at + 2 :])
            assert KEYED.matches_sent(kept(), shifted, DAY) is (shifted == PARTS)
    assert not KEYED.matches_sent(kept(), [b"".join(PARTS)], DAY)


def test_a_document_is_no_row() -> None:
    """Of equal bytes the two have different digests, so one cannot stand for the other."""
    text = "\n".join(DOCUMENT)
    made = KEYED.make(*DOCUMENT)
    assert KEYED.make_sent([text.encode()], DAY)[:16] != made[4:]


def test_a_day_counts_only_where_it_is_earlier() -> None:
    assert KEYED.matches_sent(kept(), PARTS, DAY + 1)
    assert not KEYED.matches_sent(kept(), PARTS, DAY - 1)


def test_the_key_of_the_tenant_counts() -> None:
    rotated = RecordDigests(3, {2: b"new", 3: b"newest"})
    assert rotated.matches_sent(kept(), PARTS, DAY)
    for keys in ({}, {2: b"other"}, {3: b"new"}):
        assert not RecordDigests(3, keys).matches_sent(kept(), PARTS, DAY)
    assert RecordDigests(0, {}).make_sent(PARTS, DAY) == b""


@pytest.mark.parametrize("length", [0, 3, 4, 20, 21, 39, 41, 60])
def test_a_digest_of_another_length_matches_no_row(length: int) -> None:
    digest = (kept() * 2)[:length]
    assert len(kept()) == 40
    assert not KEYED.matches_sent(digest, PARTS, DAY)
    assert digest_number(digest) == (2 if length == 20 else -1)


def test_every_change_of_the_code_changes_its_digest(tmp_path: Path) -> None:
    later = time.time() + 60
    (tmp_path / "a.py").write_text("one")
    (tmp_path / "type").mkdir()
    (tmp_path / "type" / "b.py").write_text("two")
    before = digest_of_code(tmp_path, later)
    assert before == digest_of_code(tmp_path, later) != b""
    (tmp_path / "type" / "b.py").write_text("three")
    changed = digest_of_code(tmp_path, later)
    (tmp_path / "type" / "b.py").rename(tmp_path / "type" / "c.py")
    renamed = digest_of_code(tmp_path, later)
    (tmp_path / "d.py").touch()
    added = digest_of_code(tmp_path, later)
    assert len({before, changed, renamed, added}) == 4


def test_code_that_is_newer_than_the_process_has_no_digest(tmp_path: Path) -> None:
    started = time.time() - 60
    assert digest_of_code(tmp_path, started) == b"", "no code is there"
    file = tmp_path / "a.py"
    file.touch()
    os.utime(file, (started - 60, started - 60))  # as an archive sets it
    assert digest_of_code(tmp_path, started) == b""


def lines(*notes: str) -> bytes:
    return b"".join(
        line_of(at, f'{{"EmployerRef": "E1", "PersonnelRef": "{at}"}}', note)
        for at, note in enumerate(notes)
    )


def test_the_places_of_lines_are_those_of_their_json() -> None:
    data = lines("", '{"line":2}', "")
    places = list(line_places(data))
    assert [place.row for place in places] == [0, 1, 2]
    assert [data[each.text : each.text_end].decode() for each in places] == [
        f'{{"EmployerRef": "E1", "PersonnelRef": "{at}"}}' for at in range(3)
    ]
    assert data[places[1].text_end + 1 : places[1].end] == b'{"line":2}'
    assert b"".join(data[each.start : each.end + 1] for each in places) == data


def an_import(kind: ImportType, accepted_at: str = "2026-01-01T00:00:00.000Z") -> ImportRecord:
    return ImportRecord(
        tenant="acme",
        number=1,
        import_id="id",
        type_name=kind.name,
        type_version=kind.version,
        rows=60,
        chunks=(),
        options=Options(),
        accepted_at=accepted_at,
    )


def test_rows_of_retries_and_without_a_day_or_a_key_are_not_compared() -> None:
    data, record = lines(*[""] * 60), an_import(WORKERS)
    assert SentRows.of_chunk(WORKERS, record, PLAIN_DIGESTS, data) is not None
    retry = replace(record, parent=Parent("id", 1))
    assert SentRows.of_chunk(WORKERS, retry, PLAIN_DIGESTS, data) is None
    assert SentRows.of_chunk(WORKERS, record, RecordDigests(0, {}), data) is None
    assert SentRows.of_chunk(WORKERS, an_import(WORKERS, ""), PLAIN_DIGESTS, data) is None
    outside = replace(WORKERS, load_rules=lambda: WORKERS.rules)
    assert SentRows.of_chunk(outside, record, PLAIN_DIGESTS, data) is None


def test_versions_of_a_type_have_other_digests() -> None:
    made = set()
    for kind in (TIMESHEETS, TIMESHEETS_V2, TIMESHEETS):
        sent = SentRows.of_chunk(kind, an_import(kind), PLAIN_DIGESTS, lines(*[""] * 60))
        assert sent is not None
        made.add(sent.code)
    assert len(made) == 2
