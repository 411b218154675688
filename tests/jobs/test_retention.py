"""When texts are erased, and when the clock is not believed."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from stt_server.errors import StorageBusy
from stt_server.jobs.retention import Retention
from stt_server.jobs.stores import Store, Sweep
from stt_server.jobs.stores.sqlite import SqliteStore
from tests.jobs.stores.samples import START, Clock, a_key, completed

DAYS = 365.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    store = await SqliteStore.open(tmp_path / "jobs.db", clock=clock)
    yield store
    await store.close()


class Sleeper:
    """Sleep that passes on the clock at once, a number of times."""

    def __init__(self, clock: Clock, times: int) -> None:
        self.clock = clock
        self.times = times
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) > self.times:
            raise asyncio.CancelledError
        self.clock.step(seconds=seconds)


async def runs(retention: Retention) -> None:
    with pytest.raises(asyncio.CancelledError):
        await retention.run()


async def texts(store: Store, *names: str) -> list[bool]:
    jobs = [await store.find(a_key(name)) for name in names]
    return [bool(job and job.transcript) for job in jobs]


async def days_pass(store: Store, clock: Clock, days: int) -> int:
    """A server that runs all the time; every twelfth pass will do."""
    erased = 0
    retention = Retention(store, text_days=DAYS, clock=clock)
    for _ in range(days * 2):
        clock.step(hours=12)
        erased += await retention.sweep_once()
    return erased


async def test_a_text_goes_a_year_after_it_was_stored(store: Store, clock: Clock) -> None:
    """Not a day earlier, and about a day later at most."""
    await completed(store)
    assert await days_pass(store, clock, 365) == 0
    assert await texts(store, "1") == [True]
    assert await days_pass(store, clock, 1) == 1
    assert await texts(store, "1") == [False]


async def test_a_text_that_is_read_stays(store: Store, clock: Clock) -> None:
    """The year counts from the last reading."""
    await completed(store, a_key("read"))
    await completed(store, a_key("unread"))
    await days_pass(store, clock, 300)
    await store.lookup(a_key("read"))
    await days_pass(store, clock, 100)
    assert await texts(store, "read", "unread") == [True, False]


async def test_zero_days_keep_everything(store: Store, clock: Clock) -> None:
    """For ever; the passes are remembered all the same, so that switching it on later is no jump."""
    await completed(store)
    clock.step(days=9_999)
    assert await Retention(store, text_days=0, clock=clock).sweep_once() == 0
    assert await texts(store, "1") == [True]
    assert await store.last_sweep() == Sweep(clock.now, clock.now)


async def test_more_days_than_the_calendar_has_keep_everything(store: Store, clock: Clock) -> None:
    """A large number is not an error."""
    await completed(store)
    assert await Retention(store, text_days=1e7, clock=clock).sweep_once() == 0


async def test_a_pass_at_start_and_every_hour(store: Store, clock: Clock) -> None:
    """By the monotonic clock that sleeping goes by."""
    sleeper = Sleeper(clock, times=3)
    await runs(Retention(store, text_days=DAYS, clock=clock, sleep=sleeper))
    assert sleeper.slept == [3600] * 4
    assert await store.last_sweep() == Sweep(START + timedelta(hours=3), START)


async def test_the_first_pass_ever_erases(store: Store, clock: Clock) -> None:
    """A database taken over has no earlier pass to compare with; the old server erased at its start too."""
    await completed(store)
    clock.step(days=400)
    assert await Retention(store, text_days=DAYS, clock=clock).sweep_once() == 1


async def test_a_clock_that_has_jumped_ahead_is_believed_an_hour_later(store: Store, clock: Clock) -> None:
    """The first pass after the jump erases nothing, the second does."""
    await completed(store)
    retention = Retention(store, text_days=DAYS, clock=clock)
    await retention.sweep_once()
    clock.step(days=400)
    assert await retention.sweep_once() == 0
    clock.step(hours=1)
    assert await retention.sweep_once() == 1


async def test_a_jump_that_is_put_right_in_time_costs_nothing(store: Store, clock: Clock) -> None:
    """Two years ahead and back within the hour: the text is still there, then and a month later."""
    await completed(store)
    retention = Retention(store, text_days=DAYS, clock=clock)
    await retention.sweep_once()
    clock.step(days=730)
    await retention.sweep_once()
    clock.step(days=-730, minutes=50)
    assert await retention.sweep_once() == 0
    assert await days_pass(store, clock, 30) == 0
    assert await texts(store, "1") == [True]


async def test_restarts_after_a_jump_do_not_shorten_the_hour(store: Store, clock: Clock, tmp_path: Path) -> None:
    """Each start is a pass, and only the wall clock's hour counts."""
    await completed(store)
    await Retention(store, text_days=DAYS, clock=clock).sweep_once()
    clock.step(days=400)
    await store.close()
    for _ in range(3):
        restarted = await SqliteStore.open(tmp_path / "jobs.db", clock=clock)
        assert await Retention(restarted, text_days=DAYS, clock=clock).sweep_once() == 0
        await restarted.close()
        clock.step(minutes=15)
    clock.step(minutes=15)
    restarted = await SqliteStore.open(tmp_path / "jobs.db", clock=clock)
    assert await Retention(restarted, text_days=DAYS, clock=clock).sweep_once() == 1
    await restarted.close()


@pytest.mark.parametrize("hours", [1, 23])
async def test_a_smaller_step_is_no_jump(store: Store, clock: Clock, hours: int) -> None:
    """A night switched off does not delay anything."""
    await completed(store)
    await days_pass(store, clock, 365)
    clock.step(hours=hours, minutes=59)
    assert await Retention(store, text_days=DAYS, clock=clock).sweep_once() == 1


async def test_a_text_stored_while_the_clock_was_behind_is_not_erased_when_it_is_put_right(
    store: Store, clock: Clock
) -> None:
    """A machine without a battery wakes up years ago, works, and hears the time from the network."""
    retention = Retention(store, text_days=DAYS, clock=clock)
    await retention.sweep_once()
    clock.step(days=-3_000)
    await completed(store)
    clock.step(days=3_000)
    for _ in range(5):
        clock.step(hours=1)
        assert await retention.sweep_once() == 0
    assert await texts(store, "1") == [True]


async def test_a_pass_that_fails_is_not_the_last(clock: Clock) -> None:
    """A database locked at one pass is swept at the next."""

    class Locked:
        passes = 0

        async def last_sweep(self) -> Sweep | None:
            return None

        async def expire(self, before: datetime) -> int:
            self.passes += 1
            raise StorageBusy

    store = Locked()
    retention = Retention(store, text_days=DAYS, clock=clock, sleep=Sleeper(clock, times=2))  # type: ignore[arg-type]  # two methods of the protocol suffice here
    await runs(retention)
    assert store.passes == 3
