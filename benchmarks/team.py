"""The processes in which a recogniser runs, and who gets which clip."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from threading import Lock
from typing import Protocol

from benchmarks.engines import ENGINES, Heard
from benchmarks.sounds import Clip

_SPAWN = get_context("spawn")
_END_SECS = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """To one clip."""

    latency: float
    """Seconds from its being handed over until its text was there."""
    heard: Heard | None
    """None where only a text comes back."""


class Team(Protocol):
    """A recogniser that runs."""

    @property
    def pids(self) -> Sequence[int]:
        """Of the processes it consists of."""

    def run(self, clips: Sequence[Clip], at_a_time: int) -> list[Answer]:
        """All clips recognised, so many of them in hand at any time."""


class Processes:
    """One or more processes with the same recogniser. A clip goes to whoever is free."""

    def __init__(self, workers: Sequence[SpawnProcess], pipes: Sequence[Connection]) -> None:
        self._pipes = pipes
        self.pids = [worker.pid for worker in workers if worker.pid]

    def run(self, clips: Sequence[Clip], at_a_time: int) -> list[Answer]:
        """See `Team`."""
        waiting = deque(enumerate(clips))
        free = deque(pipe for _ in range(at_a_time // len(self._pipes)) for pipe in self._pipes)
        began: dict[int, float] = {}
        answers: dict[int, Answer] = {}
        while len(answers) < len(clips):
            while waiting and free:
                number, clip = waiting.popleft()
                began[number] = time.perf_counter()
                free.popleft().send((number, clip.path))
            for pipe in wait(self._pipes):
                assert isinstance(pipe, Connection)
                number, heard = pipe.recv()
                answers[number] = Answer(time.perf_counter() - began[number], heard)
                free.append(pipe)
        return [answers[number] for number in range(len(clips))]


@contextmanager
def processes(engine: str, folder: Path, *, count: int, threads: int, at_a_time: int) -> Iterator[Processes]:
    """Start them, wait until all have loaded the model, and end them. `at_a_time` is each one's own."""
    pairs = [_SPAWN.Pipe() for _ in range(count)]
    workers = [
        _SPAWN.Process(target=_work, args=(theirs, engine, folder, threads, at_a_time), daemon=True)
        for _, theirs in pairs
    ]
    try:
        for worker, (_, theirs) in zip(workers, pairs, strict=True):
            worker.start()
            theirs.close()
        for ours, _ in pairs:
            ours.recv()
        yield Processes(workers, [ours for ours, _ in pairs])
    finally:
        for ours, _ in pairs:
            ours.close()
        for worker in workers:
            worker.join(_END_SECS)
            worker.kill()


def _work(pipe: Connection, engine: str, folder: Path, threads: int, at_a_time: int) -> None:
    recognise = ENGINES[engine](folder, threads)
    sending = Lock()

    def answer(number: int, path: Path) -> None:
        heard = recognise(path)
        with sending:
            pipe.send((number, heard))

    pipe.send("loaded")
    with ThreadPoolExecutor(at_a_time) as pool:
        while True:
            try:
                order = pipe.recv()
            except EOFError:
                return
            pool.submit(answer, *order)
