"""Reading many records of one partition: by ranges if they are dense, else one by one.

One query reads a thousand neighbours, but most of a range may not be needed, for example if few
workers of a large employer have changed. So a query is limited, and if it returns too few of the
wanted records, the rest is read one by one.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence

from shared.storage.ports import Entity, Tables

_READ_AT_ONCE = 1_000
_MARGIN = 50
# A range is worth a query if one of so many records is wanted.
WORTH_IT = 10
# The same for look-ups and small records, which are quickly read.
SMALL = 60
_POINTS_AT_ONCE = 8


async def load_records(
    tables: Tables,
    table: str,
    partition: str,
    rows: Sequence[str],
    *,
    select: Sequence[str] | None = None,
    one_in: int = WORTH_IT,
) -> dict[str, Entity]:
    """The entities among `rows` (sorted, distinct row keys) that are stored, by row key.

    Ranges are read as long as one of `one_in` entities in them is wanted.
    """
    wanted_rows = frozenset(rows)
    entities: dict[str, Entity] = {}
    start = 0
    while len(rows) - start > 1:
        most = min(_READ_AT_ONCE, one_in // 5 * (len(rows) - start) + _MARGIN)
        page = await tables.query(table, partition, rows[start], rows[-1], select=select, most=most)
        entities |= {entity.row: entity for entity in page if entity.row in wanted_rows}
        if len(page) < most:
            start = len(rows)
            break
        next_start = bisect_right(rows, page[-1].row)
        is_worth_it = (next_start - start) * one_in >= most
        start = next_start
        if not is_worth_it:
            break
    for row in rows[start:]:
        entity = await tables.get(table, partition, row)
        if entity is not None:
            entities[row] = entity
    return entities


async def load_lookups(
    tables: Tables, table: str, partition: str, names: Sequence[str]
) -> dict[str, str]:
    """The references of look-ups, by name. `names` are sorted and distinct.

    Look-ups are entities `x|<name>|<reference>` whose names need no encoding. If a name has several
    references, the first counts.
    """
    references: dict[str, str] = {}
    start = 0
    while len(names) - start > 1:
        most = min(_READ_AT_ONCE, SMALL // 5 * (len(names) - start) + _MARGIN)
        first, last = f"x|{names[start]}|", f"x|{names[-1]}|~"
        entities = await tables.query(table, partition, first, last, select=["RowKey"], most=most)
        references |= _references_by_name(entities)
        if len(entities) < most:
            start = len(names)
            break
        *_, (last_name, _reference) = map(_name_and_reference, entities)
        next_start = bisect_right(names, last_name)
        is_worth_it = (next_start - start) * SMALL >= most
        start = next_start
        if not is_worth_it:
            break
    for at in range(start, len(names), _POINTS_AT_ONCE):
        batch = names[at : at + _POINTS_AT_ONCE]
        single = (
            tables.query(table, partition, f"x|{name}|", f"x|{name}|~", most=1) for name in batch
        )
        for entities in await asyncio.gather(*single):
            references |= _references_by_name(entities)
    return {name: references[name] for name in names if name in references}


def _references_by_name(entities: Sequence[Entity]) -> dict[str, str]:
    return dict(_name_and_reference(entity) for entity in reversed(entities))


def _name_and_reference(entity: Entity) -> tuple[str, str]:
    _, name, reference = entity.row.split("|", 2)
    return name, reference
