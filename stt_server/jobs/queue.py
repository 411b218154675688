"""The queue: who may enter, who is next, who is being worked on.

It lives in memory. What was promised lies in the store and is read back at start; recordings whose caller waits in
the call were promised to nobody else and live here alone.
"""

import asyncio
import logging
import time
from bisect import insort
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from stt_server.errors import AudioLost, QueueFull, ShuttingDown, Temporary
from stt_server.jobs.promises import Promise
from stt_server.jobs.recogniser import Recogniser
from stt_server.jobs.recording import Recording, Transcriber
from stt_server.jobs.spool import Spool
from stt_server.jobs.stores import Admitted, Store
from stt_server.jobs.tickets import Ticket
from stt_server.jobs.workers import off_loop
from stt_server.types import DEFAULT_TENANT, Job, JobError, Options

log = logging.getLogger(__name__)
T = TypeVar("T")

CALLS_AT_ONCE = 16
"""Recordings worked on at a time for callers who wait in the call. Each costs a file and a list, not a thread:
it is their windows that wait for a processor, so a short one overtakes a long one."""
JOBS_BESIDE_THREADS = 2
"""Jobs worked on at a time beside one for each thread, so that decoding overlaps recognition."""


class Entry(Protocol):
    """One recording in the queue."""

    recording: Recording

    async def run(self) -> None:
        """Work on it to its end. Raises nothing but cancellation."""

    def refuse(self) -> None:
        """The server stops: tell whoever waits in the call."""


@dataclass(eq=False)
class Slot:
    """A place in the queue, held while a recording arrives. Left unused, it is given back."""

    queue: "Queue"
    tenant: str = DEFAULT_TENANT
    held: bool = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give the place back, or over to the recording that has arrived."""
        if self.held:
            self.held = False
            self.queue.arriving[self.tenant] -= 1


class Queue:
    """Bounded, ordered, rebuilt from the store at start."""

    def __init__(
        self,
        store: Store,
        spool: Spool,
        recogniser: Recogniser,
        transcriber: Transcriber,
        *,
        max_size: int,
        threads: int,
        max_share: int | None = None,
    ) -> None:
        self.max_size = max_size
        self.arriving: Counter[str] = Counter()
        """Places held by recordings that are still arriving, by tenant."""
        self._max_share = max_share
        """Places that one tenant may hold; None for all."""
        self._store = store
        self._spool = spool
        self._recogniser = recogniser
        self._transcriber = transcriber
        self._limits = {True: CALLS_AT_ONCE, False: threads + JOBS_BESIDE_THREADS}
        # Callers who wait in the call stand before all others; within a class, who came first.
        self._waiting: dict[bool, list[Entry]] = {True: [], False: []}
        self._running: dict[str, tuple[Entry, asyncio.Task[None]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._tickets = count()
        self._closing = False
        self._seconds_per_run = 1.0

    # -- Life ---------------------------------------------------------------------------------------

    async def start(self) -> asyncio.Task[None]:
        """Take up what was left and start the recogniser; its task ends only by `ModelBroken`."""
        self._spawn(self._transcriber.warm_up())
        jobs = await self._store.recover()
        strays = await off_loop(self._spool.sweep, [job.id for job in jobs])
        if jobs or strays:
            log.info("taking up where it stopped", extra={"jobs": len(jobs), "stray_files": strays})
        await self._fail_lost(jobs)
        for job in jobs:
            self._wait(Promise(job, self._store, self._transcriber))
        return self._spawn(self._recogniser.run(), Context())

    async def _fail_lost(self, jobs: list[Job]) -> None:
        """Fail at once what can only fail: whoever submits it again must not be told that it is being worked on."""
        lost = await off_loop(self._spool.missing, [job.id for job in jobs])
        for job in jobs:
            if job.id in lost:
                log.error("audio lost", extra={"job_id": job.id})
                with suppress(Temporary):  # it will be found again when its turn comes
                    await self._store.fail(job.id, job.attempt, JobError(AudioLost.code, AudioLost().message))

    async def stop(self) -> None:
        """Stop at once. Jobs stay promised: the next start takes them up."""
        self._closing = True
        entries = [*self._waiting[True], *(entry for entry, _ in self._running.values())]
        for entry in entries:
            entry.refuse()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for entry in entries:
            if entry.recording.urgent:
                await off_loop(self._spool.discard, entry.recording.id)
        await self._transcriber.close()

    @property
    def ready(self) -> bool:
        """The model is loaded and works."""
        return self._recogniser.ready

    def _spawn(self, work: Coroutine[Any, Any, T], context: Context | None = None) -> asyncio.Task[T]:
        task = asyncio.create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- Looking ------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Recordings that wait for their turn."""
        return len(self._waiting[True]) + len(self._waiting[False])

    @property
    def reserved(self) -> int:
        """Places held by recordings that are still arriving."""
        return self.arriving.total()

    @property
    def processing(self) -> bool:
        """Something is being worked on."""
        return bool(self._running)

    def position(self, name: str) -> int | None:
        """1 for the next, None once it is worked on or done."""
        entries = (*self._waiting[True], *self._waiting[False])
        return next((i for i, entry in enumerate(entries, 1) if entry.recording.id == name), None)

    def progress(self, name: str) -> float:
        """How much of a recording in hand is done, [0, 1]."""
        running = self._running.get(name)
        return running[0].recording.progress if running else 0.0

    # -- Entering -----------------------------------------------------------------------------------

    def check(self, tenant: str = DEFAULT_TENANT) -> None:
        """Whether there is a place for one more of the tenant's. Raises `QueueFull` or `ShuttingDown`."""
        if self._closing:
            raise ShuttingDown(retry_after=5)
        retry_after = max(1.0, round(self._seconds_per_run / self._limits[False], 1))
        if self.waiting + self.reserved >= self.max_size:
            raise QueueFull(retry_after=retry_after)
        if self._max_share is not None and self._held(tenant) >= self._max_share:
            raise QueueFull("Your share of the queue is full. Try again in a moment.", retry_after=retry_after)

    def _held(self, tenant: str) -> int:
        entries = (*self._waiting[True], *self._waiting[False])
        return self.arriving[tenant] + sum(entry.recording.tenant == tenant for entry in entries)

    def reserve(self, tenant: str = DEFAULT_TENANT) -> Slot:
        """A place for a recording that is arriving. Raises like `check`."""
        self.check(tenant)
        self.arriving[tenant] += 1
        return Slot(self, tenant)

    def part(self, name: str) -> Path:
        """Where the recording of this id must lie before `submit` or `enqueue`."""
        return self._spool.part(name)

    async def submit(self, slot: Slot, job: Job, *, force: bool) -> Admitted:
        """Promise a job whose audio lies in `part(job.id)`: when this returns, it survives a power cut.

        `created` is False when another submission of its key was first; the audio is then removed.
        """
        # A caller who leaves at this moment must not tear file and row apart.
        return await asyncio.shield(self._spawn(self._admit(slot, job, force=force)))

    async def _admit(self, slot: Slot, job: Job, *, force: bool) -> Admitted:
        try:
            await off_loop(self._spool.keep, job.id, durable=True)
            admitted = await self._store.admit(job, force=force)
        except Exception:
            # But not when a stop cancels it: the row may be written all the same, and the next start will see.
            await off_loop(self._spool.discard, job.id)
            raise
        if admitted.created:
            slot.release()
            self._wait(Promise(admitted.job, self._store, self._transcriber))
        else:
            await off_loop(self._spool.discard, job.id)
        return admitted

    async def enqueue(self, slot: Slot, name: str, container: str, options: Options) -> Ticket:
        """Queue a recording whose caller waits; its file lies in `part(name)`."""
        await off_loop(self._spool.keep, name, durable=False)
        if self._closing:
            await off_loop(self._spool.discard, name)
            raise ShuttingDown(retry_after=5)
        recording = Recording(name, container, options, urgent=True, seq=next(self._tickets), tenant=slot.tenant)
        ticket = Ticket(recording, self._transcriber, self.abandon)
        slot.release()
        self._wait(ticket)
        return ticket

    def _wait(self, entry: Entry) -> None:
        insort(self._waiting[entry.recording.urgent], entry, key=lambda other: other.recording.seq)
        self._dispatch()

    # -- Leaving ------------------------------------------------------------------------------------

    def abandon(self, *names: str) -> None:
        """Forget recordings nobody wants: waiting ones leave, those in hand stop, their files go."""
        for entries in self._waiting.values():
            for entry in [entry for entry in entries if entry.recording.id in names]:
                entries.remove(entry)
                self._spawn(off_loop(self._spool.discard, entry.recording.id))
        for name in self._running.keys() & set(names):
            self._running[name][1].cancel()

    # -- Working ------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Start what may start."""
        for urgent, entries in self._waiting.items():
            busy = sum(entry.recording.urgent is urgent for entry, _ in self._running.values())
            for _ in range(min(len(entries), 0 if self._closing else self._limits[urgent] - busy)):
                entry = entries.pop(0)
                # Whose request makes room for it is not whose it is: it must not log under that request's id.
                self._running[entry.recording.id] = entry, self._spawn(self._work(entry), Context())

    async def _work(self, entry: Entry) -> None:
        began = time.monotonic()
        ended = True
        try:
            await entry.run()
        except Exception:
            # A fault of ours. What was promised keeps its audio: the next start takes it up.
            log.exception("left for the next start", extra={"id": entry.recording.id})
            ended = False
        finally:
            del self._running[entry.recording.id]
            self._dispatch()
            if ended and not self._closing:
                await off_loop(self._spool.discard, entry.recording.id)
        self._seconds_per_run += 0.1 * (time.monotonic() - began - self._seconds_per_run)
