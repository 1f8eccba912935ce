"""Client secrets: made here, shown once, stored as a slow hash that a flood cannot make us compute.

A secret carries 256 random bits. It is stored as scrypt, which takes a quarter of a second: so it
runs in a thread, two at a time, and what was right once is remembered in this process under a keyed
digest. Beside the hash stand three bytes of a quick one. A wrong guess is refused by them, but for
one in sixteen million, so that only who has the secret can cause the slow hash; 232 bits remain
unknown to who steals the record. An unknown client and a wrong secret take the same short time.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections import OrderedDict

# Begins every secret, so that a scanner for leaked secrets can know one.
PREFIX = "pigs_"

# 16 MiB and five rounds; stored with each hash, so that they may grow.
_LOG_N, _R, _P = 14, 8, 5
_MEMORY = 64 * 1024 * 1024
_SALT_BYTES = 16
_CHECK_BYTES = 3
_AT_ONCE = 2
_STORED = re.compile(
    r"scrypt\$[0-9]+\$[0-9]+\$[0-9]+"
    rf"\$[0-9a-f]{{{2 * _SALT_BYTES}}}\$[0-9a-f]{{{2 * _CHECK_BYTES}}}\$[0-9a-f]{{64}}"
)
# Stands in for the hash that an unknown client does not have.
_OF_NO_CLIENT = f"scrypt$14$8$5${'00' * _SALT_BYTES}${'00' * _CHECK_BYTES}$00"
_MOST_REMEMBERED = 10_000


def new_client_secret() -> str:
    """A new secret in the clear; the only time that it exists outside its owner's hands."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_client_secret(secret: str) -> str:
    """`scrypt$14$8$5$salt$check$hash`, the last three in hex. Takes a quarter of a second."""
    salt = secrets.token_bytes(_SALT_BYTES)
    parts = (salt, _check(salt, secret), _scrypt(secret, salt, _LOG_N, _R, _P))
    return "$".join(["scrypt", str(_LOG_N), str(_R), str(_P), *(part.hex() for part in parts)])


def may_match(stored: str, secret: str) -> bool:
    """Whether it is worth computing the slow hash.

    Nothing matches an empty or a broken hash, but comparing with one takes the same time.
    """
    is_usable = _STORED.fullmatch(stored) is not None
    *_, salt, check, _ = (stored if is_usable else _OF_NO_CLIENT).split("$")
    is_alike = hmac.compare_digest(_check(bytes.fromhex(salt), secret), bytes.fromhex(check))
    return is_alike and is_usable


def matches(stored: str, secret: str) -> bool:
    """Whether this is the secret. Takes a quarter of a second."""
    _, log_n, r, p, salt, _, expected = stored.split("$")
    found = _scrypt(secret, bytes.fromhex(salt), int(log_n), int(r), int(p))
    return hmac.compare_digest(found, bytes.fromhex(expected))


class SecretChecker:
    """Compares secrets with stored hashes without holding up the event loop."""

    def __init__(self) -> None:
        self._own_key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self.computed = 0

    async def is_right(self, stored: str, secret: str) -> bool:
        """Whether `secret` was hashed to `stored`; `computed` counts the slow hashes so far."""
        if not may_match(stored, secret):
            return False
        mark = hmac.digest(self._own_key, f"{stored}\0{secret}".encode(), "sha256")
        if mark in self._right:
            return True
        async with self._slots:
            if mark in self._right:
                return True
            self.computed += 1
            is_right = await asyncio.to_thread(matches, stored, secret)
        if is_right:
            self._right[mark] = None
            if len(self._right) > _MOST_REMEMBERED:
                self._right.popitem(last=False)
        return is_right


def _check(salt: bytes, secret: str) -> bytes:
    return hmac.digest(salt, _bytes(secret), "sha256")[:_CHECK_BYTES]


def _scrypt(secret: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(_bytes(secret), salt=salt, n=2**log_n, r=r, p=p, maxmem=_MEMORY, dklen=32)


def _bytes(secret: str) -> bytes:
    return secret.encode("utf-8", errors="replace")
