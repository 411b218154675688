"""Every store there is, each in a fresh place."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from stt_server.jobs.stores import Store
from stt_server.jobs.stores.sqlite import SqliteStore
from tests.jobs.stores.samples import Clock

Opener = Callable[[Path, Clock], Awaitable[Store]]


async def open_sqlite(folder: Path, clock: Clock) -> Store:
    return await SqliteStore.open(folder / "jobs.db", clock=clock)


STORES: dict[str, Opener] = {"sqlite": open_sqlite}
"""A new store is tested by being listed here."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=STORES)
def opener(request: pytest.FixtureRequest) -> Opener:
    return STORES[request.param]


@pytest.fixture
async def store(opener: Opener, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    store = await opener(tmp_path, clock)
    yield store
    await store.close()
