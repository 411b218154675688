"""Who may work now: a few at a time, and nobody keeps the others waiting for long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TURN_SECS = 1.0
"""A voicemail is decoded in a twentieth of that. A four-hour file takes 15 s and more; so does a few bytes' worth of
FLAC that says it is one."""


class Turns:
    """So many at a time. Whoever takes longer than a turn goes on beside the next one."""

    def __init__(self, count: int, *, turn_secs: float = TURN_SECS) -> None:
        self._free = asyncio.Semaphore(count)
        self._turn_secs = turn_secs

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold it as long as it lasts."""
        await self._free.acquire()
        held = True

        def give_back() -> None:
            nonlocal held
            if held:
                held = False
                self._free.release()

        end = asyncio.get_running_loop().call_later(self._turn_secs, give_back)
        try:
            yield
        finally:
            end.cancel()
            give_back()
