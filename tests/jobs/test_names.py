"""Host names looked up in the system's way."""

import asyncio
import threading

import pytest

from stt_server.jobs.names import AT_ONCE, Lookup, ask_system


@pytest.mark.parametrize("spelling", ["127.1", "0x7f.1", "2130706433", "017700000001", "127.0.0.1", "localhost"])
def test_the_system_knows_every_spelling_of_loopback(spelling: str) -> None:
    """What the system would connect to is what is judged: that is why the text of a host is not."""
    assert set(ask_system(spelling, 80)) & {"127.0.0.1", "::1"}


@pytest.mark.parametrize("name", ["a..b", "x" * 64, "nothing.invalid"])
def test_a_name_that_is_none_has_no_addresses(name: str) -> None:
    """Whatever the reason."""
    assert ask_system(name, 80) == []


async def test_a_hanging_lookup_holds_up_nobody() -> None:
    """Others are answered, and the disk is served, while some names never resolve."""
    gate = threading.Event()

    def ask(host: str, port: int) -> list[str]:
        if host == "slow":
            gate.wait(10)
        return ["127.0.0.1"]

    lookup = Lookup(ask)
    stuck = [asyncio.create_task(lookup("slow", 80)) for _ in range(AT_ONCE - 1)]
    await asyncio.sleep(0)
    async with asyncio.timeout(2):
        assert await lookup("quick", 80) == ["127.0.0.1"]
        assert await asyncio.to_thread(lambda: "disk") == "disk"
    gate.set()
    await asyncio.gather(*stuck)


async def test_abandoned_lookups_keep_their_places() -> None:
    """Callers who come and go cannot start threads without end."""
    gate = threading.Event()
    running = []

    def ask(host: str, port: int) -> list[str]:
        running.append(host)
        gate.wait(10)
        return []

    lookup = Lookup(ask)
    tasks = [asyncio.create_task(lookup("slow", 80)) for _ in range(3 * AT_ONCE)]
    while len(running) < AT_ONCE:
        await asyncio.sleep(0.01)
    for task in tasks[:AT_ONCE]:
        task.cancel()
    await asyncio.sleep(0.05)
    assert len(running) == AT_ONCE
    gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(running) == 3 * AT_ONCE
