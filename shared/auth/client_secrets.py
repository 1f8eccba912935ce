"""Client secrets. The gateway shows a new secret once and stores only its slow hash.

A secret has 256 random bits. Its hash is scrypt, which takes a quarter of a second, so it is
computed in a thread, two at a time, and verified secrets are cached in this process under a keyed
digest. Three bytes of a quick hash are stored beside the slow one. They refuse all wrong guesses
but one in sixteen million, so that a flood of wrong secrets does not compute slow hashes. A thief
of the record still has to guess 232 bits. An unknown client and a wrong secret take the same short
time.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections import OrderedDict

# The prefix of every secret, so that a scanner for leaked secrets can recognise one.
PREFIX = "pigs_"

# Parameters of scrypt: 16 MiB and five rounds. They are stored with each hash, so that a later
# version can raise them.
_LOG_N, _R, _P = 14, 8, 5
_MEMORY = 64 * 1024 * 1024
_SALT_BYTES = 16
_CHECK_BYTES = 3
_MOST_CONCURRENT = 2
_HASH_FORM = re.compile(
    r"scrypt\$[0-9]+\$[0-9]+\$[0-9]+"
    rf"\$[0-9a-f]{{{2 * _SALT_BYTES}}}\$[0-9a-f]{{{2 * _CHECK_BYTES}}}\$[0-9a-f]{{64}}"
)
# The hash that is compared with for an unknown client, so that the answer takes the same time.
_UNKNOWN_CLIENT_HASH = f"scrypt$14$8$5${'00' * _SALT_BYTES}${'00' * _CHECK_BYTES}$00"
_MOST_REMEMBERED = 10_000


def new_client_secret() -> str:
    """Make a new secret. The gateway shows it once and stores only its hash."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_client_secret(secret: str) -> str:
    """`scrypt$14$8$5$salt$check$hash`, the last three in hex. Takes a quarter of a second."""
    salt = secrets.token_bytes(_SALT_BYTES)
    parts = (salt, _check(salt, secret), _scrypt(secret, salt, _LOG_N, _R, _P))
    return "$".join(["scrypt", str(_LOG_N), str(_R), str(_P), *(part.hex() for part in parts)])


def may_match(secret_hash: str, secret: str) -> bool:
    """Whether the slow hash has to be computed: the quick check of the secret fits.

    An empty or a broken hash matches no secret, but comparing with it takes the same time.
    """
    is_usable = _HASH_FORM.fullmatch(secret_hash) is not None
    *_, salt, check, _ = (secret_hash if is_usable else _UNKNOWN_CLIENT_HASH).split("$")
    is_alike = hmac.compare_digest(_check(bytes.fromhex(salt), secret), bytes.fromhex(check))
    return is_alike and is_usable


def matches(secret_hash: str, secret: str) -> bool:
    """Whether this is the secret. Takes a quarter of a second."""
    _, log_n, r, p, salt, _, expected = secret_hash.split("$")
    actual = _scrypt(secret, bytes.fromhex(salt), int(log_n), int(r), int(p))
    return hmac.compare_digest(actual, bytes.fromhex(expected))


class SecretChecker:
    """Compares secrets with stored hashes in threads, so that the event loop is not blocked."""

    def __init__(self) -> None:
        self._own_key = secrets.token_bytes(32)
        self._verified: OrderedDict[bytes, None] = OrderedDict()
        self._slots = asyncio.Semaphore(_MOST_CONCURRENT)
        self.computed = 0

    async def is_right(self, secret_hash: str, secret: str) -> bool:
        """Whether `secret` has this hash. `computed` counts the slow hashes so far."""
        if not may_match(secret_hash, secret):
            return False
        mark = hmac.digest(self._own_key, f"{secret_hash}\0{secret}".encode(), "sha256")
        if mark in self._verified:
            return True
        async with self._slots:
            if mark in self._verified:
                return True
            self.computed += 1
            is_right = await asyncio.to_thread(matches, secret_hash, secret)
        if is_right:
            self._verified[mark] = None
            if len(self._verified) > _MOST_REMEMBERED:
                self._verified.popitem(last=False)
        return is_right


def _check(salt: bytes, secret: str) -> bytes:
    return hmac.digest(salt, _bytes(secret), "sha256")[:_CHECK_BYTES]


def _scrypt(secret: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(_bytes(secret), salt=salt, n=2**log_n, r=r, p=p, maxmem=_MEMORY, dklen=32)


def _bytes(secret: str) -> bytes:
    return secret.encode("utf-8", errors="replace")
