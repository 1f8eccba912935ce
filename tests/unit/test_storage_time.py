"""How long storage may keep a call waiting: what runs down, and what an answer gives back."""

from __future__ import annotations

import asyncio

import pytest

from shared.errors import StorageUnavailableError
from shared.storage_time import limited_wait, retried, storage_time, storage_time_now
from tests.model.virtual_time import run_at_once


def test_time_runs_down_while_storage_is_waited_for_and_at_no_other_time() -> None:
    async def run() -> float:
        with storage_time(8) as time:
            await asyncio.sleep(100)
            async with limited_wait():
                await asyncio.sleep(3)
            await asyncio.sleep(100)
            return time.left

    assert run_at_once(run()) == pytest.approx(5)


def test_several_waits_at_once_count_once() -> None:
    async def wait() -> None:
        async with limited_wait():
            await asyncio.sleep(3)

    async def run() -> float:
        with storage_time(8) as time:
            await asyncio.gather(*(wait() for _ in range(10)))
            return time.left

    assert run_at_once(run()) == pytest.approx(5)


def test_a_wait_ends_when_the_time_is_used_up_and_none_begins_after_that() -> None:
    async def run() -> tuple[float, float]:
        begun = asyncio.get_running_loop().time()
        with storage_time(8):
            with pytest.raises(StorageUnavailableError):
                async with limited_wait():
                    await asyncio.Event().wait()
            first = asyncio.get_running_loop().time() - begun
            with pytest.raises(StorageUnavailableError):
                async with limited_wait():
                    raise AssertionError("nothing is asked any more")
        return first, asyncio.get_running_loop().time() - begun

    assert run_at_once(run()) == pytest.approx((8, 8))


def test_answers_give_time_back_but_never_more_than_there_was() -> None:
    async def run() -> tuple[float, float]:
        with storage_time(8) as time:
            async with limited_wait():
                await asyncio.sleep(3)
            time.note_answer(128 * 1024)
            after_one = time.left
            for _ in range(100):
                time.note_answer(0)
            return after_one, time.left

    assert run_at_once(run()) == pytest.approx((6.25, 8))


def test_attempts_that_hang_end_within_the_time_of_the_call() -> None:
    async def hang() -> None:
        async with limited_wait(storage_time_now().longest_try):
            await asyncio.Event().wait()

    async def run() -> float:
        with storage_time(8), pytest.raises(StorageUnavailableError):
            await retried(hang)
        return asyncio.get_running_loop().time()

    assert run_at_once(run()) == pytest.approx(8)


def test_a_shared_task_does_not_use_the_time_of_the_call_that_began_it() -> None:
    async def shared() -> float:
        with storage_time(5) as own:
            async with limited_wait():
                await asyncio.sleep(2)
            return own.left

    async def run() -> tuple[float, float]:
        with storage_time(8) as time:
            task = asyncio.create_task(shared())
            left = await task
            return time.left, left

    assert run_at_once(run()) == pytest.approx((8, 3))
