"""The rows of a file through the gateway, part by part, and what became of them.

Parts go one after another, each when the one before has ended, so that rows take effect in the
order of the file. What was accepted goes on whatever happens to this process: the same command
finds it by its key and goes on behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cli.csv_files import RowFile, UnknownColumn
from cli.failures import Result, with_line
from cli.import_client import ImportClient, has_messages
from cli.message_table import GroupTally
from cli.parts import RequestChunk

FEW = 100
"""Rows of a file up to which every result is asked for, not only those of failed rows."""
_BY_ROW = {"dryRun": "true", "view": "rows"}
OUTCOMES = ("new", "updated", "unchanged", "failed")
_SEVERITIES = {"warnings": "Warning", "infos": "Info"}
_COUNTS = (*OUTCOMES, *_SEVERITIES)


@dataclass(slots=True)
class ImportProgress:
    """What became of the rows so far; `results` has the failed rows, or all of a small file."""

    file: RowFile
    counts: Counter[str] = field(default_factory=Counter)
    import_ids: list[str] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    sent_before: int = 0
    groups: GroupTally = field(default_factory=GroupTally)

    @property
    def total(self) -> int:
        """The rows of the file."""
        return len(self.file.rows)

    @property
    def failed(self) -> list[Result]:
        """The rows that did not go in."""
        return [result for result in self.results if result["outcome"] == "failed"]

    def add(self, first: int, results: Sequence[Result]) -> None:
        """Note results of the rows from place `first` on under their place in the file."""
        self.results += [
            with_line({**item, "index": item["index"] + first}, self.file.lines) for item in results
        ]

    def document(self) -> dict[str, Any]:
        """For programs."""
        counts = {name: self.counts[name] for name in _COUNTS}
        return {
            "importIds": self.import_ids,
            "rows": {"total": self.total, **counts},
            "unknownColumns": [_column_view(each) for each in self.file.unknown_columns],
            "messageGroups": self.groups.sorted(),
            "results": self.results,
        }


@dataclass(frozen=True, slots=True)
class FileImport:
    """Where the rows go, and how they are asked for; `told` hears how many rows are done."""

    client: ImportClient
    path: str
    query: Mapping[str, str]
    told: Callable[[int], None]

    def send(self, parts: Sequence[RequestChunk], tally: ImportProgress) -> None:
        """Import every part; what is known when this raises stands in the tally."""
        for part in parts:
            accepted = self.client.send(self.path, self.query, part.body(), part.key)
            tally.sent_before += accepted.is_replayed
            follow(self.client, accepted.import_id, part.first, tally, self.told)
            self.told(part.first + len(part.rows))

    def try_out(self, parts: Sequence[RequestChunk], tally: ImportProgress) -> None:
        """What would become of every part, each by itself; nothing is stored."""
        for part in parts:
            answer = self.client.try_out(self.path, {**self.query, **_BY_ROW}, part.body())
            found = sorted(answer["items"], key=_index)
            tally.counts.update(item["outcome"] for item in found)
            tally.counts.update(
                {name: _count_rows(found, kind) for name, kind in _SEVERITIES.items()}
            )
            tally.groups.add_results(part.first, found)
            tally.add(part.first, list(_worth_telling(found, tally.total)))
            self.told(part.first + len(part.rows))


def follow(
    client: ImportClient,
    import_id: str,
    first: int,
    tally: ImportProgress,
    told: Callable[[int], None],
) -> None:
    """Wait for an import of the rows from place `first` on, and note what became of them."""
    if not import_id:
        return
    tally.import_ids.append(import_id)
    ended = client.follow(import_id, lambda done: told(first + done))
    tally.counts.update({name: ended["rows"][name] for name in _COUNTS})
    if has_messages(ended):
        tally.groups.add_groups(first, client.message_groups(import_id))
    is_small = tally.total <= FEW
    if is_small or ended["rows"]["failed"]:
        found = client.results(import_id, "" if is_small else "failed")
        tally.add(first, sorted(found, key=_index))


def _count_rows(results: Sequence[Result], severity: str) -> int:
    """How many rows have a message of a severity."""
    return sum(
        any(message["messageType"] == severity for message in item["messages"]) for item in results
    )


def _column_view(column: UnknownColumn) -> dict[str, Any]:
    return {"column": column.name, "line": column.line, "nearest": column.nearest}


def _index(result: Result) -> int:
    return int(result["index"])


def _worth_telling(results: Sequence[Result], total: int) -> Iterator[Result]:
    return (item for item in results if total <= FEW or item["outcome"] == "failed")
