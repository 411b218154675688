"""Who may work now."""

import asyncio
import time

import pytest

from stt_server.jobs.turns import Turns


async def test_so_many_at_a_time() -> None:
    """Short work never runs more often at a time than there are turns."""
    turns, working, most = Turns(2), 0, 0

    async def work() -> None:
        nonlocal working, most
        async with turns.turn():
            working += 1
            most = max(most, working)
            await asyncio.sleep(0.002)
            working -= 1

    await asyncio.gather(*(work() for _ in range(20)))
    assert most == 2


async def test_long_work_does_not_keep_others_waiting() -> None:
    """After its turn it goes on, and the next one begins; what it gave back it does not give back again."""
    turns, began = Turns(1, turn_secs=0.05), time.monotonic()
    async with turns.turn(), turns.turn():
        assert 0.04 < time.monotonic() - began < 0.5
    async with turns.turn():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02), turns.turn():
                pass


async def test_a_turn_is_given_back_whatever_happens() -> None:
    """By an error, by leaving while waiting, and by leaving while working."""
    turns = Turns(1, turn_secs=60)
    with pytest.raises(ZeroDivisionError):
        async with turns.turn():
            raise ZeroDivisionError
    async with turns.turn():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), turns.turn():
                pass
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), turns.turn():
            await asyncio.sleep(60)
    async with asyncio.timeout(1), turns.turn():
        pass
