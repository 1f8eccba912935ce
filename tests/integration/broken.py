"""Ways to break what is stored, on real storage; and what an import, and the next one, make of it.

Each way is a function of the bytes of a small payload of workers, one line per row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from azure.data.tables.aio import TableServiceClient

from shared.imports.json_rows import line_of

Break = Callable[[bytes], bytes]


def _line(number: int, change: Callable[[bytes], bytes]) -> Break:
    def broken(data: bytes) -> bytes:
        lines = data.split(b"\n")
        lines[number] = change(lines[number])
        return b"\n".join(lines)

    return broken


def _line_of(index: int, text: str) -> bytes:
    return line_of(index, text).removesuffix(b"\n")


PAYLOADS: Mapping[str, tuple[Break, int]] = {
    "empty": (lambda _: b"", 0),
    "cut in a line": (lambda data: data[: data.index(b"\n") + 9], 1),
    "cut behind the first line": (lambda data: data[: data.index(b"\n") + 1], 1),
    "one byte of JSON": (_line(1, lambda line: line.replace(b"{", b"\0", 1)), 2),
    "another value": (_line(1, lambda line: line.replace(b"Sample", b"Simple")), 2),
    "no JSON": (_line(1, lambda _: _line_of(1, "no json")), 2),
    "an array": (_line(1, lambda _: _line_of(1, "[1]")), 2),
    "null": (_line(1, lambda _: _line_of(1, "null")), 2),
    "no UTF-8": (_line(1, lambda line: line.replace(b"Sample", b"\xff\xfe")), 2),
    # Longer than it was: what is behind the end of the chunk is cut off.
    "nested too deep": (_line(1, lambda _: _line_of(1, '{"a":' * 100_000)), 1),
    "no index": (_line(1, lambda line: b"x" + line), 2),
    "a negative index": (_line(1, lambda line: b"-" + line), 2),
    "an index of another row": (_line(1, lambda line: b"0" + line[1:]), 2),
    "a line twice": (_line(1, lambda line: line + b"\n" + line), 2),
    "an index of no row": (_line(1, lambda line: b"7" + line[1:]), 2),
    "no tab": (_line(1, lambda line: line.replace(b"\t", b" ")), 2),
    "a line break inside": (_line(1, lambda line: line[:9] + b"\n" + line[10:]), 2),
    "a line break that went": (lambda data: data.replace(b"\n", b" ", 1), 1),
    "a line that went": (lambda data: data[data.index(b"\n") + 1 :], 2),
    "zeros": (lambda data: b"\0" * len(data), 0),
}
"""By name: what is done to a payload of three rows, and how many of them can still go in."""


async def set_columns(
    storage: str, table: str, partition: str, row: str, columns: Mapping[str, Any]
) -> None:
    """Write columns of an entity as no code of the gateway would; None removes a column."""
    async with TableServiceClient.from_connection_string(storage) as service:
        client = service.get_table_client(table)
        entity = dict(await client.get_entity(partition, row))
        entity |= columns
        await client.upsert_entity(
            {name: value for name, value in entity.items() if value is not None}, mode="replace"
        )
