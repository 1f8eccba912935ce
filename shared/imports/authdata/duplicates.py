"""Which records of a batch are duplicates of others (CONTRACTS 3, duplicates).

First by employee id, then, among those that are left, by the triple of their values: of several
records the one with most filled fields wins, the last one on a tie. A record that is an error by
itself takes no part, and a triple without values equals nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shared.imports.authdata.records import AuthRecord


def winners(records: Sequence[AuthRecord]) -> list[AuthRecord]:
    """The records that are neither errors, nor empty, nor duplicates; in their order."""
    able = [record for record in records if not record.is_empty and not record.is_faulty]
    left = _best_of_each_id(able)
    losers = _beaten_by_triple(left)
    return [record for record in left if record.position not in losers]


def _best_of_each_id(records: Iterable[AuthRecord]) -> list[AuthRecord]:
    best: dict[str | None, AuthRecord] = {}
    for record in records:
        held = best.get(record.employee_id)
        if held is None or record.filled >= held.filled:
            best[record.employee_id] = record
    return sorted(best.values(), key=lambda record: record.position)


def _beaten_by_triple(records: Iterable[AuthRecord]) -> set[int]:
    """Positions of the records whose triple a better record has.

    A triple goes by one name for each key that it was hashed under; records of different calls may
    know different keys when one was rotated in between, so any common name counts.
    """
    best: dict[str, AuthRecord] = {}
    losers: set[int] = set()
    for record in records:
        triples = record.prints.triples
        rivals = {held.position: held for name in triples if (held := best.get(name))}
        if any(held.filled > record.filled for held in rivals.values()):
            losers.add(record.position)
            continue
        losers.update(rivals)
        best.update(dict.fromkeys(triples, record))
    return losers
