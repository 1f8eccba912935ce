"""Every benchmark by its name: a module each, loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.options import Options


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a bench found: everything as a JSON value, and what people read of it.

    `has_failed` ends the run with status 1: something was found that must not be.
    """

    document: Mapping[str, Any]
    lines: Sequence[str]
    has_failed: bool = False


def _import(options: Options) -> Outcome:
    from benchmarks import workers_import

    return workers_import.run(options)


def _types(options: Options) -> Outcome:
    from benchmarks import types_import

    return types_import.run(options)


def _authdata(options: Options) -> Outcome:
    from benchmarks import authdata_import

    return authdata_import.run(options)


def _export(options: Options) -> Outcome:
    from benchmarks import export

    return export.run(options)


def _files(options: Options) -> Outcome:
    from benchmarks import files_import

    return files_import.run(options)


def _faults(options: Options) -> Outcome:
    from benchmarks import faults

    return faults.run(options)


BENCHES: Mapping[str, Callable[[Options], Outcome]] = {
    "import": _import,
    "types": _types,
    "authdata": _authdata,
    "export": _export,
    "files": _files,
    "faults": _faults,
}
