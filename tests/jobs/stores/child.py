"""A store in a process that a test may kill or starve: `python -m tests.jobs.stores.child PART DB`."""

import asyncio
import resource
import sys
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

from stt_server.errors import StorageFull
from stt_server.jobs.stores import open_store
from tests.jobs.stores.samples import a_job, a_key, a_transcript, completed


def say(*words: object) -> None:
    print(*words, flush=True)


async def promise(path: Path) -> None:
    """Admit job after job and say each id once it is promised."""
    store = await open_store(path)
    for i in count():
        say((await store.admit(a_job(a_key(str(i))))).job.id)


async def swap(path: Path) -> None:
    """Force one recording again and again; say each result that was acknowledged."""
    store = await open_store(path)
    for i in count():
        say((await completed(store, text=f"version {i}", force=True)).id)


async def starve(path: Path) -> None:
    """Run into a full disk, look around, get space, go on."""
    store = await open_store(path)
    first = await completed(store, a_key("first"))
    size = max(file.stat().st_size for file in path.parent.iterdir())
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100_000, hard))
    admitted = 0
    large = (await store.admit(a_job(a_key("large")))).job
    await store.start(large.id)
    try:
        while True:
            await store.admit(a_job(a_key(str(admitted))))
            admitted += 1
    except StorageFull:
        pass
    text = a_transcript("mot " * 50_000)
    for refused in (store.admit(a_job(a_key("no"))), store.complete(large.id, 1, text)):
        try:
            await refused
            raise AssertionError("the disk was full")
        except StorageFull:
            pass
    assert await store.get("default", first.id) == first
    assert (await store.counts()).total == admitted + 2
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert (await store.admit(a_job(a_key("no")))).created
    assert await store.complete(large.id, 1, text)
    await store.close()
    say("admitted", admitted)


PARTS: dict[str, Callable[[Path], Awaitable[None]]] = {"promise": promise, "swap": swap, "starve": starve}

if __name__ == "__main__":

    async def main() -> None:
        await PARTS[sys.argv[1]](Path(sys.argv[2]))

    asyncio.run(main())
