"""Running an installer: its output goes to a log file, a line of progress to the person."""

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

# Why an installation failed, in one sentence, from what the tool has written.

_UNREACHABLE = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|Max retries exceeded"
    r"|Temporary failure in name resolution|Name or service not known|Network is unreachable"
    r"|ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ERR_SOCKET_TIMEOUT|ENOTCACHED|ProxyError"
)
_UNTRUSTED = re.compile(
    r"CERTIFICATE_VERIFY_FAILED|SELF_SIGNED_CERT|UNABLE_TO_VERIFY_LEAF|SSLError"
)
_FULL = re.compile(r"No space left on device|ENOSPC")
_READ_ONLY = re.compile(r"Read-only file system|EROFS|Permission denied|EACCES")
_MISSING = re.compile(r"No matching distribution found for (\S+)|ETARGET|E404")
_ALTERED = re.compile(r"DO NOT MATCH THE HASHES|EINTEGRITY")
_NOT_LOCKED = re.compile(r"In --require-hashes mode|Hashes are required in --require-hashes mode")


def explain(tool: str, output: str, log: Path) -> str:
    """What went wrong with `tool` and what to do, for a person; names the log file."""
    return f"{_reason(tool, output)} Everything that {tool} said is in {log}"


def _reason(tool: str, output: str) -> str:
    # The order counts: a tool that cannot reach its index ends by saying that it found no package.
    if _UNTRUSTED.search(output):
        return (
            f"{tool} does not trust the certificate of the package index. Tell {tool} which "
            "certificate authority your network uses."
        )
    if _UNREACHABLE.search(output):
        return (
            f"{tool} cannot reach the package index. Check the network, the proxy, or which index "
            f"{tool} is configured to use, and start again."
        )
    if _ALTERED.search(output):
        return (
            f"{tool} received a package whose content is not what this checkout has recorded, and "
            f"did not install it. Check which package index {tool} is configured to use."
        )
    if _NOT_LOCKED.search(output):
        return (
            "requirements.txt is not complete. Write it anew from requirements.in, in a checkout "
            "that is set up: python3 dev.py lock"
        )
    if _FULL.search(output):
        return "The disk is full."
    if _READ_ONLY.search(output):
        return f"{tool} may not write where the checkout is."
    missing = _MISSING.search(output)
    if missing:
        name = missing.group(1) or "a package"
        return f"The package index that {tool} is configured to use does not have {name}."
    return f"{tool} failed."


_PAUSE = 0.1
_REPORT_SECONDS = 5.0
_STOP_SECONDS = 5.0
_WIDTH = 70


def install(
    text: str,
    tool: str,
    command: Sequence[str],
    *,
    log: Path,
    environ: Mapping[str, str],
    folder: Path,
) -> None:
    """Run `command` in `folder`; `text` says to people what is being done.

    Raises SetupError with the reason when it fails. An interruption ends the installer too.
    """
    log.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    with timed_step(text), log.open("wb") as output:
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


def _wait_and_report(process: subprocess.Popen[bytes], log: Path) -> int:
    begun = reported = time.monotonic()
    while (status := process.poll()) is None:
        time.sleep(_PAUSE)
        now = time.monotonic()
        if now - reported >= _REPORT_SECONDS:
            reported = now
            note(f"    {now - begun:3.0f} s  {_last_line(log)}")
    return status


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines()
    telling = [line.strip() for line in lines if line.strip() and "warn" not in line.lower()]
    return telling[-1][:_WIDTH] if telling else ""


# Stamps: small files that say from what a folder was made, so that a second start does nothing.
#
# A stamp is the last file that an installation writes. One that is missing or differs means:
# install again. A folder that an installation was interrupted in also holds a mark and is made
# anew.

_STAMP = ".gateway-stamp"
_UNFINISHED = ".gateway-unfinished"


def digest(files: Iterable[Path], *words: str) -> str:
    """One value for the content of `files` and for `words`; the order of the files counts."""
    total = hashlib.sha256()
    for file in files:
        total.update(hashlib.sha256(file.read_bytes()).digest())
    for word in words:
        total.update(hashlib.sha256(word.encode()).digest())
    return total.hexdigest()


def has_current_mark(folder: Path, wanted: str) -> bool:
    """Whether `folder` was finished from exactly this."""
    if is_unfinished(folder):
        return False
    try:
        return (folder / _STAMP).read_text("ascii").strip() == wanted
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        return False


def is_unfinished(folder: Path) -> bool:
    """Whether an installation began in `folder` and did not end."""
    return (folder / _UNFINISHED).exists()


def mark_unfinished(folder: Path) -> None:
    """To be called before the first change; makes the folder where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _UNFINISHED).touch()
    (folder / _STAMP).unlink(missing_ok=True)


def mark_finished(folder: Path, made_from: str) -> None:
    """To be called after the last change."""
    (folder / _STAMP).write_text(made_from + "\n", "ascii")
    (folder / _UNFINISHED).unlink(missing_ok=True)
