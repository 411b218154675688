"""The one process that holds the model: how it is started, fed, watched, blamed and started again.

It recognises as many windows at a time as it has threads. When it dies or hangs, the windows it had in hand are
suspects: they run again one at a time, so that only the one that kills it alone is blamed.
"""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock

import numpy as np

from stt_server.errors import EngineFailed, ModelBroken, SttError, Unavailable, WorkerCrashed
from stt_server.jobs.schedule import Schedule, Work
from stt_server.jobs.workers import Child, ChildGone, end_with_the_server
from stt_server.speech.audio import read_window
from stt_server.speech.engines import Engine
from stt_server.types import SAMPLE_RATE, Audio, Hypothesis, Options, Span

log = logging.getLogger(__name__)

LoadEngine = Callable[[], Engine]
"""Loads the model; called in the recogniser process, so it must be picklable."""

NICENESS = 5
"""The server answers before the recogniser computes, on however few cores."""
LOAD_SECS = 600
"""After so long the loading of the model counts as hung. A slow disk reads 670 MB in a minute."""
MAX_RESTARTS = 5
"""Starts in a row without one that got ready, before giving the model up. What dies later is blamed on its windows, or
on whoever killed it."""


HANG_SECS = 60.0
"""Any window may take so long: the machine may be swapping."""
HANGS_PER_SECOND = 4.0
"""And so many more for each second of its audio: a slow core takes one."""


def patience(span: Span) -> float:
    """Seconds after which a window counts as hung: a slow core needs its audio's duration, a busy one more."""
    return HANG_SECS + HANGS_PER_SECOND * span.duration


@dataclass(eq=False)
class Task:
    """One window on its way through the recogniser."""

    pcm: Path
    span: Span
    options: Options
    done: asyncio.Future[Hypothesis] = field(repr=False)
    seconds: int = 0
    """It has been in hand for. While the machine sleeps or the container is paused, they do not pass."""


class Recogniser:
    """The recogniser process, seen from the server. `run` keeps it alive until cancelled."""

    def __init__(self, load: LoadEngine, *, threads: int, patience: Callable[[Span], float] = patience) -> None:
        self._load = load
        self._threads = threads
        self._patience = patience
        self._schedule: Schedule[Task] = Schedule()
        self._suspects: deque[Task] = deque()
        self._in_hand: dict[int, Task] = {}
        self._names = iter(range(1 << 62))
        self._wake = asyncio.Event()
        self._ready = asyncio.Event()
        self._restarts = 0
        self.pid: int | None = None
        """Of the process that runs now."""

    @property
    def ready(self) -> bool:
        """The model is loaded and has recognised its test clip."""
        return self._ready.is_set()

    @property
    def free(self) -> int:
        """Windows that it could begin at once."""
        return max(0, self._threads - len(self._in_hand) - len(self._suspects) - len(self._schedule))

    async def wait_until_ready(self) -> None:
        """Wait for the model."""
        await self._ready.wait()

    async def recognise(self, work: Work[Task], pcm: Path, span: Span, options: Options) -> Hypothesis:
        """Wait for one window's turn and its words.

        Raises `EngineFailed` when the engine refuses it and `WorkerCrashed` when it kills the process.
        """
        task = Task(pcm, span, options, asyncio.get_running_loop().create_future())
        self._schedule.add(work, span.duration, task)
        self._wake.set()
        return await task.done

    def drop(self, work: Work[Task]) -> None:
        """Nobody wants this work any more: its waiting windows are forgotten."""
        self._schedule.drop(work)

    async def run(self) -> None:
        """Keep the process alive and fed. Returns only by `ModelBroken` or cancellation."""
        while True:
            child = await self._start()
            self.pid = child.pid
            try:
                await self._await_ready(child)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._feed(child))
                    group.create_task(self._watch(child))
                    group.create_task(self._collect(child))
            except* (ChildGone, Unavailable):
                log.error("recogniser died", extra={"windows": len(self._in_hand), "status": child.exit_status})
            finally:
                self._ready.clear()
                await asyncio.shield(child.close())
            self._blame()

    async def _start(self) -> Child:
        while True:
            try:
                return await Child.start(_child, self._load, self._threads)
            except Unavailable as error:
                await asyncio.sleep(error.retry_after)

    async def _await_ready(self, child: Child) -> None:
        began = time.monotonic()
        try:
            message = await child.receive_within(LOAD_SECS)
        except TimeoutError:
            log.error("model does not get loaded", extra={"seconds": LOAD_SECS})
            raise ChildGone from None
        if isinstance(message, SttError):
            raise message
        self._restarts = 0
        self._ready.set()
        log.info("recogniser ready", extra={"seconds": round(time.monotonic() - began, 2), "pid": child.pid})

    def _blame(self) -> None:
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise ModelBroken("The recogniser died again and again while it loaded the model.")
        tasks, self._in_hand = list(self._in_hand.values()), {}
        if len(tasks) == 1:
            _settle(tasks[0], WorkerCrashed())
        else:
            self._suspects.extend(tasks)

    async def _feed(self, child: Child) -> None:
        while True:
            self._wake.clear()
            while task := self._take():
                name = next(self._names)
                task.seconds = 0
                self._in_hand[name] = task
                await child.send((name, task.pcm, task.span, task.options))
            await self._wake.wait()

    def _take(self) -> Task | None:
        """The next window that somebody still waits for; a suspect runs alone."""
        if self._suspects:
            return None if self._in_hand else self._suspects.popleft()
        while len(self._in_hand) < self._threads and (task := self._schedule.take()):
            if not task.done.done():
                return task
        return None

    async def _collect(self, child: Child) -> None:
        while True:
            name, outcome = await child.receive()
            _settle(self._in_hand.pop(name), outcome)
            self._wake.set()

    async def _watch(self, child: Child) -> None:
        while True:
            await asyncio.sleep(1)
            for task in self._in_hand.values():
                task.seconds += 1
            if any(task.seconds > self._patience(task.span) for task in self._in_hand.values()):
                log.error("recogniser hangs", extra={"windows": len(self._in_hand)})
                child.kill()
                return


def _settle(task: Task, outcome: Hypothesis | SttError) -> None:
    if task.done.done():
        return  # the caller has gone
    if isinstance(outcome, SttError):
        task.done.set_exception(outcome)
    else:
        task.done.set_result(outcome)


# -- In the recogniser process ---------------------------------------------------------------------


def _child(pipe: Connection, load: LoadEngine, threads: int) -> None:
    end_with_the_server()
    os.nice(NICENESS)
    try:
        engine = load()
        engine.recognise([test_clip()], Options(model=""))
    except SttError as error:
        pipe.send(error)
        return
    except Exception as error:
        log.error("model does not run", exc_info=error)
        pipe.send(ModelBroken(f"The model cannot be run: {error}"))
        return
    pipe.send("ready")
    _serve(pipe, engine, threads)


def _serve(pipe: Connection, engine: Engine, threads: int) -> None:
    sending = Lock()

    def recognise(name: int, pcm: Path, span: Span, options: Options) -> None:
        outcome: Hypothesis | SttError
        try:
            outcome = engine.recognise([read_window(pcm, span)], options)[0]
        except SttError as error:
            outcome = error
        except FileNotFoundError:
            log.info("window without samples: its recording was erased")
            outcome = EngineFailed()
        except Exception as error:
            log.error("window failed", exc_info=error)
            outcome = EngineFailed()
        with sending:
            pipe.send((name, outcome))

    with ThreadPoolExecutor(threads) as pool:
        while True:
            try:
                pool.submit(recognise, *pipe.recv())
            except (EOFError, OSError):
                os._exit(0)  # the server has gone: nobody wants what the threads still compute


def test_clip() -> Audio:
    """One second of a rising tone in noise: every operator of a model runs on it, whatever comes out."""
    seconds = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = np.sin(2 * np.pi * (200 + 400 * seconds) * seconds)
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE)
    return Audio((0.1 * tone + 0.01 * noise).astype(np.float32))
