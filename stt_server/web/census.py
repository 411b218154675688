"""How many jobs there are, told at once."""

import asyncio

from stt_server.errors import Unavailable
from stt_server.jobs.stores import Counts, Store

COUNTING_SECS = 0.5
"""How long a health check waits for the database before it tells the last numbers it knows."""


class Census:
    """How many jobs there are, or were a moment ago: a locked database must not look like a dead server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last = Counts(0, 0, 0, 0)

    async def counts(self) -> Counts:
        """Numbers at once, whatever the database does."""
        try:
            async with asyncio.timeout(COUNTING_SECS):
                self._last = await self._store.counts()
        except (TimeoutError, Unavailable):
            pass
        return self._last
