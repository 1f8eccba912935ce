"""What a run of the benchmarks is asked for on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """Which benches, how large, how often; `rows` are the sizes of payloads, smallest first.

    `folder` is where results are kept. `faults`, `seed` and `kinds` are those of the bench
    `faults`: how many faults, the first seed (None: behind those that were run before), and which
    kinds (none: all).
    """

    names: tuple[str, ...]
    rows: tuple[int, ...]
    rounds: int
    is_quick: bool
    prints_json: bool
    folder: Path
    faults: int
    seed: int | None
    kinds: frozenset[str]


def read_options(words: Sequence[str], known_names: Collection[str], folder: Path) -> Options:
    """The command line; ends the process with a message where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="dev.py bench",
        description="Benchmarks. Only ratios within one run can be compared with another run.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which: {', '.join(known_names)} (default: all)"
    )
    parser.add_argument(
        "--rows", type=_sizes, metavar="N[,N…]", help="sizes of the payloads (1000,10000)"
    )
    parser.add_argument("--rounds", type=_count, metavar="N", help="interleaved rounds (3)")
    parser.add_argument(
        "--quick", action="store_true", help="one round of 1,000 rows, fewer calls: a first idea"
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    of_faults = parser.add_argument_group("of the bench `faults`")
    of_faults.add_argument("--faults", type=_count, metavar="N", help="at least so many (1000)")
    of_faults.add_argument(
        "--seed", type=_count, metavar="N", help="of the first round (the one after the last)"
    )
    of_faults.add_argument(
        "--kind", action="append", default=[], metavar="NAME", help="only this kind; again for more"
    )
    arguments = parser.parse_args(words)
    unknown = [name for name in arguments.names if name not in known_names]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(known_names)}")
    return Options(
        names=tuple(arguments.names or known_names),
        rows=arguments.rows or ((1_000,) if arguments.quick else (1_000, 10_000)),
        rounds=arguments.rounds or (1 if arguments.quick else 3),
        is_quick=arguments.quick,
        prints_json=arguments.json,
        folder=folder,
        faults=arguments.faults or (150 if arguments.quick else 1_000),
        seed=arguments.seed,
        kinds=frozenset(arguments.kind),
    )


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted({_count(part) for part in text.split(",")}))


def _count(text: str) -> int:
    try:
        number = int(text.replace("_", ""))
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return number
