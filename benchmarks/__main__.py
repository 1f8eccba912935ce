"""`python -m benchmarks [NAME …] [--rows N[,N…]] [--rounds N] [--quick] [--json]`, and of the
bench `faults` `[--faults N] [--seed N] [--kind NAME …]`.

A table for people on standard output (with `--json` one JSON object instead), progress on standard
error, and every figure in a file under `.local/bench/`.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from os import cpu_count
from pathlib import Path
from typing import Any

from benchmarks.catalogue import BENCHES
from benchmarks.measuring.waiting import BenchError
from benchmarks.options import Options, read_options
from local_host.setup.messages import SetupError, note, say
from local_host.setup.paths import LOCAL

_INTERRUPTED = 130


def main(words: Sequence[str], folder: Path = LOCAL / "bench") -> int:
    """Run what is asked for, keep the figures in `folder`; returns the exit status."""
    options = read_options(words, tuple(BENCHES), folder)
    documents: dict[str, Any] = {}
    has_failed = False
    for name in options.names:
        started_at = datetime.now(UTC)
        try:
            outcome = BENCHES[name](options)
        except (BenchError, SetupError) as error:
            note(f"bench {name}: {error}")
            return 1
        except KeyboardInterrupt:
            note("Stopped.")
            return _INTERRUPTED
        documents[name] = {**_circumstances(started_at, options), **outcome.document}
        has_failed |= outcome.has_failed
        if not options.prints_json:
            say("\n".join(outcome.lines))
        document = documents[name]
        options.folder.mkdir(parents=True, exist_ok=True)
        file = options.folder / f"{name}-{started_at:%Y%m%dT%H%M%SZ}.json"
        file.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
        note(f"Every figure: {file}")
    if options.prints_json:
        say(json.dumps(documents, indent=2))
    return int(has_failed)


def _circumstances(started_at: datetime, options: Options) -> dict[str, Any]:
    return {
        "begun": started_at.isoformat(timespec="seconds"),
        "rounds": options.rounds,
        "machine": {
            "processors": cpu_count(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
