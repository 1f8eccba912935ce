"""Running pip or npm: output to a log file, progress to the terminal, one sentence for a failure.

Each installed folder has a mark: a small file with the digest of its requirements. If the digest is
unchanged, nothing has to be installed.
"""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from local_host.setup import processes
from local_host.setup.messages import SetupError, note, timed_step
from local_host.setup.paths import FOLDER_MODE

_PAUSE = 0.1
_REPORT_SECONDS = 5.0
_STOP_SECONDS = 5.0
_WIDTH = 70

_MARK = ".gateway-stamp"
_UNFINISHED = "unfinished"

# What a tool writes when it fails -> what is wrong and what to do. The first pattern that is found
# counts: a tool that cannot reach its index also says, at the end, that it found no package.
_REASONS = (
    (
        "CERTIFICATE_VERIFY_FAILED|SELF_SIGNED_CERT|UNABLE_TO_VERIFY_LEAF|SSLError",
        "{tool} does not trust the certificate of the package index. Tell {tool} which certificate "
        "authority your network uses.",
    ),
    (
        "NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|Max retries exceeded"
        "|Temporary failure in name resolution|Name or service not known|Network is unreachable"
        "|ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ERR_SOCKET_TIMEOUT|ENOTCACHED"
        "|ProxyError|dns error|tcp connect error|error sending request",
        "{tool} cannot reach the package index. Check the network, the proxy, or which index "
        "{tool} is configured to use, and start again.",
    ),
    (
        "DO NOT MATCH THE HASHES|Hash mismatch|EINTEGRITY",
        "{tool} received a package whose content differs from the hash in this checkout, and did "
        "not install it. Check which package index {tool} is configured to use.",
    ),
    (
        "In --require-hashes mode|Hashes are required in --require-hashes mode",
        "requirements.txt is not complete. Write it again from requirements.in, in a checkout that "
        "is set up: python3 dev.py lock",
    ),
    ("No space left on device|ENOSPC", "The disk is full. Free some space and start again."),
    (
        "Read-only file system|EROFS|Permission denied|EACCES",
        "{tool} may not write to the folder of the checkout. Check whose it is, and that its "
        "disk can be written to.",
    ),
    (
        r"No matching distribution found for (?P<package>\S+)|ETARGET|E404",
        "The package index that {tool} is configured to use does not have {package}. Check which "
        "index that is.",
    ),
    ("", "{tool} failed."),
)


def install(
    title: str,
    tool: str,
    command: Sequence[str],
    *,
    log: Path,
    environ: Mapping[str, str],
    folder: Path,
) -> None:
    """Run `command` of `tool` in `folder`; `title` is shown to the user.

    Raises SetupError with the reason when it fails. An interruption ends the tool too.
    """
    log.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    with timed_step(title), log.open("wb") as output:
        process = processes.start(
            command,
            death_signal=signal.SIGKILL,
            environ=environ,
            folder=folder,
            output=output,
            errors=subprocess.STDOUT,
        )
        try:
            status = _wait_and_report(process, log)
        except BaseException:
            processes.stop(process, _STOP_SECONDS)
            raise
        if status:
            raise SetupError(explain(tool, log.read_text("utf-8", "replace"), log))


def explain(tool: str, output: str, log: Path) -> str:
    """The problem and what to do, from the `output` that a failed `tool` has written to `log`."""
    reason = next(
        text.format(tool=tool, package=match.groupdict().get("package") or "a package")
        for pattern, text in _REASONS
        if (match := re.search(pattern, output))
    )
    return f"{reason} The output of {tool} is in {log}"


def _wait_and_report(process: subprocess.Popen[bytes], log: Path) -> int:
    start = last_report = time.monotonic()
    while (status := process.poll()) is None:
        time.sleep(_PAUSE)
        now = time.monotonic()
        if now - last_report >= _REPORT_SECONDS:
            last_report = now
            lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines()]
            lines = [line for line in lines if line and "warn" not in line.lower()]
            note(f"    {now - start:3.0f} s  {lines[-1][:_WIDTH] if lines else ''}")
    return status


def digest(files: Iterable[Path], *words: str) -> str:
    """One value for the content of `files` and for `words`; the order of the files counts."""
    total = hashlib.sha256()
    for file in files:
        total.update(hashlib.sha256(file.read_bytes()).digest())
    for word in words:
        total.update(hashlib.sha256(word.encode()).digest())
    return total.hexdigest()


def is_installed_from(folder: Path, source: str) -> bool:
    """Whether an installation from files with the digest `source` has ended in `folder`."""
    return _read_mark(folder) == source


def is_unfinished(folder: Path) -> bool:
    """Whether an installation began in `folder` and did not end."""
    return _read_mark(folder) == _UNFINISHED


def mark_unfinished(folder: Path) -> None:
    """To be called before the first change; makes the folder where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).write_text(_UNFINISHED + "\n", "ascii")


def mark_finished(folder: Path, source: str) -> None:
    """To be called after the last change, with the digest of what was installed from."""
    (folder / _MARK).write_text(source + "\n", "ascii")


def _read_mark(folder: Path) -> str:
    try:
        return (folder / _MARK).read_text("ascii").strip()
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        return ""
