"""Client secrets: what is stored, and that only who has the secret costs us the slow hash."""

from __future__ import annotations

import asyncio
import time

import pytest

from shared.auth.client_secrets import (
    SecretChecker,
    hash_client_secret,
    may_match,
    new_client_secret,
)

SECRET = new_client_secret()
STORED = hash_client_secret(SECRET)


def test_secrets_are_long_random_and_safe_in_a_form() -> None:
    made = {new_client_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(len(one) >= 48 and one.replace("-", "a").isidentifier() for one in made)


def test_a_hash_is_salted_slow_and_does_not_hold_the_secret() -> None:
    started = time.perf_counter()
    assert hash_client_secret(SECRET) != STORED
    assert time.perf_counter() - started > 0.05
    assert SECRET not in STORED
    assert STORED.startswith("scrypt$14$8$5$")


def test_only_the_secret_itself_is_right_and_a_flood_of_guesses_computes_nothing() -> None:
    async def story() -> None:
        checker = SecretChecker()
        guesses = [f"{SECRET}x", SECRET[:-1], SECRET.lower(), "", "\udcff", "$", "x" * 10_000]
        guesses += [new_client_secret() for _ in range(2_000)]
        assert not any([await checker.is_right(STORED, guess) for guess in guesses])
        assert checker.computed == 0
        assert await checker.is_right(STORED, SECRET)
        assert checker.computed == 1

    asyncio.run(story())


def test_what_was_right_once_is_remembered_and_a_burst_computes_at_most_two() -> None:
    async def story() -> None:
        checker = SecretChecker()
        burst = [checker.is_right(STORED, SECRET) for _ in range(50)]
        assert all(await asyncio.gather(*burst))
        assert checker.computed <= 2
        other = hash_client_secret(SECRET)
        assert await checker.is_right(other, SECRET)
        assert not await checker.is_right(STORED, f"{SECRET} ")

    asyncio.run(story())


def test_the_event_loop_goes_on_while_a_hash_is_computed() -> None:
    async def story() -> int:
        checking = asyncio.create_task(SecretChecker().is_right(STORED, SECRET))
        turns = 0
        while not checking.done():
            await asyncio.sleep(0.001)
            turns += 1
        return turns

    assert asyncio.run(story()) > 10


@pytest.mark.parametrize(
    "broken",
    ["x", "scrypt$14$8$5$00", "scrypt$14$8$5$zz$zz$zz", "$" * 6, "scrypt$14$8$5$00$000000$00$00"],
)
def test_nothing_matches_a_stored_hash_that_cannot_be_read(broken: str) -> None:
    assert not may_match(broken, SECRET)
    assert not asyncio.run(SecretChecker().is_right(broken, SECRET))
    assert not may_match(STORED[:-1], SECRET)


def test_a_client_without_a_secret_has_no_right_one() -> None:
    assert not may_match("", "")
    assert not asyncio.run(SecretChecker().is_right("", ""))
