"""Child processes that may die at any moment."""

import asyncio
import os
import signal
from multiprocessing.connection import Connection

import pytest

from stt_server.jobs.workers import Child, ChildGone


def echo(pipe: Connection, greeting: str) -> None:
    pipe.send(greeting)
    while True:
        pipe.send(pipe.recv())


def die(pipe: Connection, how: int) -> None:
    os.kill(os.getpid(), how)


def sleep(pipe: Connection) -> None:
    pipe.recv()


async def test_a_child_talks_both_ways() -> None:
    """Arguments and messages arrive whole, in order."""
    child = await Child.start(echo, "hello")
    assert await child.receive() == "hello"
    await child.send({"samples": list(range(100_000))})
    assert len((await child.receive())["samples"]) == 100_000
    await child.close()


@pytest.mark.parametrize("how", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
async def test_a_crash_of_a_child_is_only_a_message(how: int) -> None:
    """However a child dies, its parent is told and goes on."""
    child = await Child.start(die, how)
    with pytest.raises(ChildGone):
        await child.receive()
    await child.close()


async def test_a_stopped_child_can_be_killed() -> None:
    """A child that hangs does not hold up its end."""
    child = await Child.start(sleep)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGSTOP)
    waiting = asyncio.create_task(child.receive())
    await asyncio.sleep(0.05)
    child.kill()
    with pytest.raises(ChildGone):
        await waiting
    await child.close()
