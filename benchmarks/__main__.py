"""`python -m benchmarks [NAME …] [--rows N[,N…]] [--rounds N] [--quick] [--resume] [--json]`; of
the bench `faults` also `[--faults N] [--seed N] [--kind NAME …]`; `python -m benchmarks report`.

A table for people on standard output (with `--json` one JSON object instead), progress on standard
error, and the last result of each bench in a file under `.local/bench/parts/`.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from benchmarks import report
from benchmarks.catalogue import BENCHES
from benchmarks.measuring.rig import shared_rigs
from benchmarks.measuring.waiting import BenchError
from benchmarks.options import Options, read_options
from benchmarks.parts import Part, Parts, Stopwatch
from local_host.setup.messages import SetupError, note, say
from local_host.setup.paths import LOCAL

_INTERRUPTED = 130


def main(words: Sequence[str], folder: Path = LOCAL / "bench") -> int:
    """Run what is asked for, keep the figures in `folder`; returns the exit status."""
    if words[:1] == ["report"]:
        return report.main(words[1:], folder)
    options = read_options(words, folder)
    with shared_rigs() if options.is_quick else nullcontext():
        return _run(options)


def _run(options: Options) -> int:
    parts = Parts(options.folder, is_quick=options.is_quick)
    measured: dict[str, Part] = {}
    has_failed = False
    for name in options.names:
        bench_options = BENCHES[name].options(options)
        kept = parts.measured(name, bench_options) if options.resumes else None
        if kept is not None:
            note(f"bench {name}: measured already")
            measured[name] = kept
            continue
        note(f"bench {name}: {BENCHES[name].summary}")
        stopwatch = Stopwatch(bench_options)
        try:
            outcome = BENCHES[name].run(bench_options)
        except (BenchError, SetupError) as error:
            note(f"bench {name}: {error}")
            has_failed = True
            continue
        except Exception:
            # The other benches can still be measured.
            note(f"bench {name}: {traceback.format_exc()}")
            has_failed = True
            continue
        except KeyboardInterrupt:
            note("Stopped. `--resume` goes on with the bench that was running.")
            return _INTERRUPTED
        measured[name] = Part.of(outcome, stopwatch.card())
        has_failed |= outcome.has_failed
        file = parts.keep(name, measured[name])
        note(f"Every figure: {file} ({measured[name].card.seconds:.0f} s)")
        if not options.prints_json:
            _say_part(name, measured[name])
    if options.prints_json:
        say(json.dumps({name: asdict(part) for name, part in measured.items()}, indent=2))
    elif len(options.names) > 1:
        say("\n".join(report.target_lines(measured)))
    return int(has_failed)


def _say_part(name: str, part: Part) -> None:
    card = part.card
    say("\n".join(part.lines))
    for reason in part.skipped:
        say(f"Left out: {reason}")
    say(f"{name}: rounds {card.rounds}, load {card.load_before} to {card.load_after}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
