"""Texts nobody has read for long are erased: a pass at start and one every hour.

The wall clock says how old a text is, and the wall clock can be wrong. So each pass is remembered with its time, and
when the clock has jumped since the last one, only the pass an hour later may erase.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from stt_server.errors import SttError
from stt_server.jobs.stores import Store, Sweep

log = logging.getLogger(__name__)

INTERVAL = timedelta(hours=1)
"""Between two passes."""
JUMP = timedelta(days=1)
"""A larger step of the clock since the last pass is not believed at once, in either direction. A server that was
off for so long looks the same, and waits the same hour."""
SLACK = timedelta(minutes=1)
"""An hour of sleep may be a little less on the wall clock."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Retention:
    """Erases what is older than `text_days`; 0 keeps everything."""

    def __init__(
        self,
        store: Store,
        *,
        text_days: float,
        clock: Callable[[], datetime] = _utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._text_days = text_days
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> None:
        """Sweep now and every hour, for ever."""
        while True:
            try:
                await self.sweep_once()
            except SttError as error:
                log.warning("sweep failed; the next one tries again", extra={"why": error.code})
            await self._sleep(INTERVAL.total_seconds())

    async def sweep_once(self) -> int:
        """One pass; how many texts it erased. Passes are recorded even when everything is kept for ever."""
        now = self._clock()
        trusted_from = _trusted_from(now, await self._store.last_sweep())
        before = self._before(now)
        erased = 0
        if before and now >= trusted_from:
            erased = await self._store.expire(before)
        elif before:
            log.warning("the clock has jumped; nothing is erased for an hour")
        await self._store.record_sweep(Sweep(now, trusted_from))
        if erased:
            log.info("texts erased", extra={"texts": erased})
        return erased

    def _before(self, now: datetime) -> datetime | None:
        if not self._text_days:
            return None
        try:
            return now - timedelta(days=self._text_days)
        except OverflowError:
            return None  # so many days that they reach beyond the year 1


def _trusted_from(now: datetime, last: Sweep | None) -> datetime:
    if last is None:
        return now
    if abs(now - last.at) > JUMP:
        return now + INTERVAL - SLACK
    return last.trusted_from
