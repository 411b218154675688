"""Random histories of queue, store and spool together, against a model of dictionaries.

Only recognition is a fake: it hears what a history wants, when it wants. A crash is a copy of what lies on the disk
at that moment, which is all that `kill -9` leaves, taken while something may be under way.
"""

import asyncio
import logging
import shutil
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, cast

from stt_server.errors import BadAudio, JobNotFound, StorageFull, SttError
from stt_server.jobs.queue import Queue
from stt_server.jobs.recogniser import Recogniser
from stt_server.jobs.recording import Recording, Transcriber
from stt_server.jobs.spool import Spool
from stt_server.jobs.stores.sqlite import SqliteStore
from stt_server.jobs.tickets import Ticket
from stt_server.types import JobStatus, Key, Options, Transcript
from tests.jobs.stores.samples import a_job, a_key, a_transcript

KEYS = [a_key("1"), a_key("2"), a_key("3"), a_key("1", user="other")]
UNFINISHED, COMPLETED, FAILED = "unfinished", "completed", "failed"
_STATES = {JobStatus.QUEUED: UNFINISHED, JobStatus.PROCESSING: UNFINISHED}


@dataclass
class Model:
    """What callers were promised."""

    states: dict[str, str] = field(default_factory=dict)
    """Of every job there is, in order of admission."""
    current: dict[Key, str] = field(default_factory=dict)
    pending: dict[Key, str] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)

    def answer(self, key: Key, *, force: bool) -> str | None:
        """The job that a submission is answered with, None for a new one."""
        current = self.current.get(key)
        if current is None or self.states[current] == FAILED:
            return None
        return self.pending.get(key) if force and self.states[current] == COMPLETED else current

    def admit(self, key: Key, job_id: str) -> None:
        for other in [other for other, at in self.keys.items() if at == key and self.states[other] == FAILED]:
            self._forget({other})
        (self.pending if key in self.current else self.current)[key] = job_id
        self.states[job_id], self.keys[job_id] = UNFINISHED, key

    def end(self, job_id: str, state: str) -> None:
        key = self.keys[job_id]
        self.states[job_id] = state
        if self.pending.get(key) != job_id:
            return
        del self.pending[key]
        if state == COMPLETED:
            self._forget({other for other, at in self.keys.items() if at == key and other != job_id})
            self.current[key] = job_id

    def erase(self, job_id: str) -> None:
        key = self.keys[job_id]
        whole = self.current.get(key) == job_id
        self._forget({other for other, at in self.keys.items() if at == key} if whole else {job_id})

    def _forget(self, job_ids: set[str]) -> None:
        for job_id in job_ids:
            del self.states[job_id]
            del self.keys[job_id]
        for table in (self.current, self.pending):
            for key in [key for key, job_id in table.items() if job_id in job_ids]:
                del table[key]

    @property
    def unfinished(self) -> list[str]:
        """Promised and not done."""
        return [job_id for job_id, state in self.states.items() if state == UNFINISHED]


class Ear(Transcriber):
    """Recognition that ends when, and as, it is told."""

    def __init__(self, spool: Spool) -> None:
        self.in_hand: dict[str, asyncio.Future[Transcript]] = {}
        self.begun: list[int] = []
        """Order of admission of the jobs begun."""
        self._spool = spool

    async def warm_up(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def transcribe(self, recording: Recording) -> Transcript:
        assert self._spool.audio(recording.id).read_text() == recording.id, "its audio is that of another"
        if not recording.urgent:
            self.begun.append(recording.seq)
        self.in_hand[recording.id] = asyncio.get_running_loop().create_future()
        try:
            return await self.in_hand[recording.id]
        finally:
            del self.in_hand[recording.id]


class _Idle:
    """A recogniser that is ready and has nothing to do."""

    ready = True

    async def run(self) -> None:
        await asyncio.Event().wait()


class World:
    """Queue, store and spool over one folder."""

    def __init__(self, folder: Path, store: SqliteStore) -> None:
        self.folder = folder
        self.store = store
        self.spool = Spool(folder / "spool")
        self.ear = Ear(self.spool)
        recogniser = cast("Recogniser", _Idle())
        self.queue = Queue(store, self.spool, recogniser, self.ear, max_size=30, threads=1)

    @classmethod
    async def open(cls, folder: Path) -> "World":
        """Start, as the server does."""
        folder.mkdir(exist_ok=True)
        world = cls(folder, await SqliteStore.open(folder / "jobs.db"))
        await world.queue.start()
        return world

    async def stop(self) -> None:
        """Stop in order."""
        await self.queue.stop()
        await self.store.close()

    def copy(self, folder: Path) -> None:
        """What a kill would leave now."""
        folder.mkdir()
        with (
            closing(sqlite3.connect(self.folder / "jobs.db")) as live,
            closing(sqlite3.connect(folder / "jobs.db")) as to,
        ):
            live.backup(to)
        # After the rows, so that nothing is missed that they speak of.
        shutil.copytree(self.spool.folder, folder / "spool", copy_function=_copy_what_is_there)


def _copy_what_is_there(source: str, target: str) -> str:
    try:
        return shutil.copyfile(source, target)
    except FileNotFoundError:
        return target  # it has just gone


class History:
    """One history: things are done at random, and after each the world is compared with the model."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._chance = Random(seed)
        self._model = Model()
        self._calls: dict[str, Ticket] = {}
        self._crashes = 0
        self.told: list[str] = []
        """What has been done, for whoever must understand a failure."""

    async def run(self, steps: int) -> None:
        """Live it."""
        self._world = await World.open(self._folder / "0")
        acts = [self._submit] * 6 + [self._finish] * 4 + [self._stumble, self._erase, self._call, self._hang_up]
        for _ in range(steps):
            act = self._chance.choice(acts)
            if self._chance.random() < 0.2:
                await self._crash_during(act)
            else:
                await act()
            if self._chance.random() < 0.05:
                await self._restart()
            await self._check()
        await self._drain()
        await self._world.stop()

    # -- What may happen ----------------------------------------------------------------------------

    async def _submit(self) -> None:
        key, force = self._chance.choice(KEYS), self._chance.random() < 0.4
        expected = self._model.answer(key, force=force)
        job = a_job(key)
        if expected is None:
            self._model.admit(key, job.id)
        self._tell("submit", key.message_id, force, job.id)
        with self._world.queue.reserve() as slot:
            self._world.queue.part(job.id).write_text(job.id)
            admitted = await self._world.queue.submit(slot, job, force=force)
        assert (admitted.job.id, admitted.created) == (expected or job.id, expected is None)

    async def _finish(self) -> None:
        if job_id := self._some(job_id for job_id in self._world.ear.in_hand if job_id in self._model.states):
            good = self._chance.random() < 0.8
            self._model.end(job_id, COMPLETED if good else FAILED)
            self._tell("finish", job_id, good)
            await self._hear(job_id, a_transcript(job_id) if good else BadAudio())

    async def _stumble(self) -> None:
        """A passing trouble: it is begun again."""
        if job_id := self._some(self._world.ear.in_hand):
            self._tell("stumble", job_id)
            await self._hear(job_id, StorageFull(retry_after=0) if job_id in self._model.states else BadAudio())
            self._calls.pop(job_id, None)

    async def _erase(self) -> None:
        if job_id := self._some(self._model.states):
            tenant = self._model.keys[job_id].tenant
            self._model.erase(job_id)
            self._tell("erase", job_id)
            self._world.queue.abandon(*await self._world.store.erase(tenant, job_id))

    async def _call(self) -> None:
        job = a_job()
        self._tell("call", job.id)
        with self._world.queue.reserve() as slot:
            self._world.queue.part(job.id).write_text(job.id)
            self._calls[job.id] = await self._world.queue.enqueue(slot, job.id, "wav", Options("m"))

    async def _hang_up(self) -> None:
        if name := self._some(self._calls):
            self._tell("hang up", name)
            self._calls.pop(name).close()

    async def _hear(self, job_id: str, heard: Transcript | SttError) -> None:
        future = self._world.ear.in_hand[job_id]
        if isinstance(heard, SttError):
            future.set_exception(heard)
        else:
            future.set_result(heard)
        # Its end is written before it is begun again, or leaves the queue.
        while self._world.ear.in_hand.get(job_id) is future:
            await asyncio.sleep(0)

    # -- Ends of a world ----------------------------------------------------------------------------

    async def _crash_during(self, act: Callable[[], Awaitable[None]]) -> None:
        before = deepcopy(self._model)
        task = asyncio.ensure_future(act())
        for _ in range(self._chance.randrange(12)):
            await asyncio.sleep(self._chance.choice((0, 0, 0.0005)))
        certain = task.done() and not self._under_way
        self._crashes += 1
        folder = self._folder / str(self._crashes)
        self._world.copy(folder)
        self._tell("crash")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self._world.stop()
        self._calls.clear()
        self._world = await World.open(folder)
        # What was under way has been done, or has not.
        if not certain and await self._differences(self._model):
            self._model = before
        shutil.rmtree(self._folder / str(self._crashes - 1))

    @property
    def _under_way(self) -> bool:
        """Something is being written."""
        return bool(self._world.queue.processing) and any(
            state != UNFINISHED and job_id in self._names_running() for job_id, state in self._model.states.items()
        )

    def _names_running(self) -> set[str]:
        return set(self._world.queue._running)

    async def _restart(self) -> None:
        self._tell("restart")
        await self._settle()
        await self._world.stop()
        self._calls.clear()
        self._world = await World.open(self._world.folder)

    # -- What must be true --------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Let what has been told reach the store."""
        async with asyncio.timeout(20):
            while self._names_running() - self._model.states.keys() - self._calls.keys() or any(
                self._model.states.get(job_id, UNFINISHED) != UNFINISHED for job_id in self._names_running()
            ):
                await asyncio.sleep(0.0005)

    async def _check(self) -> None:
        await self._settle()
        assert await self._differences(self._model) == []
        queue = self._world.queue
        live = {*self._model.unfinished, *self._calls}
        positions = [at for name in live if (at := queue.position(name))]
        assert sorted(positions) == list(range(1, queue.waiting + 1))
        assert queue.waiting + len(self._names_running()) == len(live)
        assert queue.reserved == 0
        begun = self._world.ear.begun
        assert [seq for i, seq in enumerate(begun) if seq not in begun[:i]] == sorted(set(begun))

    async def _differences(self, model: Model) -> list[str]:
        """Between the store and a model."""
        found = []
        for job_id, state in model.states.items():
            try:
                job = await self._world.store.get(model.keys[job_id].tenant, job_id)
            except JobNotFound:
                found.append(f"{job_id} is gone")
                continue
            if _STATES.get(job.status, str(job.status)) != state:
                found.append(f"{job_id} is {job.status}, not {state}")
            if state == COMPLETED and job.transcript != a_transcript(job_id):
                found.append(f"{job_id} has the text of another")
        for key in KEYS:
            current = await self._world.store.lookup(key)
            if (current.id if current else None) != model.current.get(key):
                found.append(f"{key} is answered by {current}")
        counts = await self._world.store.counts()
        if counts.total != len(model.states):
            found.append(f"{counts.total} jobs, not {len(model.states)}")
        return found

    async def _drain(self) -> None:
        """Everything promised ends, and nothing is left over."""
        async with asyncio.timeout(30):
            while self._model.unfinished or self._calls:
                await self._settle()
                for name in list(self._world.ear.in_hand):
                    if name in self._model.states:
                        self._model.end(name, COMPLETED)
                    self._calls.pop(name, None)
                    await self._hear(name, a_transcript(name))
                await asyncio.sleep(0.0005)
            await self._check()
            while list(self._world.spool.folder.iterdir()):
                await asyncio.sleep(0.001)

    def _some(self, among: Any) -> str | None:
        names = list(among)
        return self._chance.choice(names) if names else None

    def _tell(self, *what: object) -> None:
        self.told.append(" ".join(map(str, what)))


def live_histories(count: int, *, seed: int, steps: int = 20, on_each: Callable[[], None] = lambda: None) -> None:
    """So many histories. Raises when one goes wrong, telling it."""
    memory = Path("/dev/shm")
    logging.getLogger("stt_server").setLevel(logging.CRITICAL)  # troubles are the point
    for number in range(count):
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
            history = History(Path(folder), seed + number)
            try:
                asyncio.run(history.run(steps))
            except BaseException as error:
                error.add_note(f"history {seed + number}:\n" + "\n".join(history.told))
                raise
        on_each()
