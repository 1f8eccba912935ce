"""Why an installation failed, in one sentence, from what the tool has written."""

from __future__ import annotations

import re
from pathlib import Path

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
