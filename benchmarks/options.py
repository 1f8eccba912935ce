"""What a run of the benchmarks is asked for on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.catalogue import BENCHES


@dataclass(frozen=True, slots=True)
class Options:
    """Which benches, how large, how often; `rows` are the sizes of payloads, smallest first.

    No `rows` and 0 `rounds` stand for those of each bench. `folder` is where results are kept.
    `resumes` leaves out the benches that were measured by the same commit with the same options.
    `faults`, `seed` and `kinds` are those of the bench `faults`: how many faults, the first seed
    (None: behind those that were run before), and which kinds (none: all).
    """

    names: tuple[str, ...]
    rows: tuple[int, ...]
    rounds: int
    is_quick: bool
    resumes: bool
    prints_json: bool
    folder: Path
    faults: int
    seed: int | None
    kinds: frozenset[str]


def read_options(words: Sequence[str], folder: Path) -> Options:
    """The command line; ends the process with a message where it is wrong."""
    whole = ", ".join(name for name, bench in BENCHES.items() if bench.is_in_whole)
    parser = argparse.ArgumentParser(
        prog="dev.py bench",
        description="Benchmarks. Only ratios within one run can be compared with another run. "
        "`dev.py bench report` prints the table of targets from the last results and writes "
        "the figures into docs/performance.md.",
        epilog="Benches: "
        + "; ".join(f"{name} ({each.summary})" for name, each in BENCHES.items()),
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which (default: {whole})")
    parser.add_argument(
        "--rows",
        type=_sizes,
        metavar="N[,N…]",
        help="sizes of the payloads (each bench has its own)",
    )
    parser.add_argument(
        "--rounds", type=_count, metavar="N", help="interleaved rounds (each bench has its own)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one small round, fewer calls: a first idea"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="leave out what this commit has measured already with the same options",
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
    unknown = [name for name in arguments.names if name not in BENCHES]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(BENCHES)}")
    return Options(
        names=tuple(
            arguments.names or (name for name, bench in BENCHES.items() if bench.is_in_whole)
        ),
        rows=arguments.rows or (),
        rounds=arguments.rounds or 0,
        is_quick=arguments.quick,
        resumes=arguments.resume,
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
