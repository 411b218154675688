"""The recogniser process: fed, watched, blamed and started again."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from stt_server.errors import EngineFailed, ModelBroken, WorkerCrashed
from stt_server.jobs.recogniser import LoadEngine, Recogniser, Task, patience
from stt_server.jobs.schedule import Work
from stt_server.types import Hypothesis, Options, Span
from tests.fakes import load_broken, load_seconds


@asynccontextmanager
async def running(
    load: LoadEngine = load_seconds, threads: int = 2, patience: Callable[[Span], float] = patience
) -> AsyncIterator[Recogniser]:
    recogniser = Recogniser(load, threads=threads, patience=patience)
    task = asyncio.create_task(recogniser.run())
    await recogniser.wait_until_ready()
    yield recogniser
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def pcm(tmp_path: Path) -> Path:
    path = tmp_path / "a.pcm"
    path.write_bytes(np.zeros(60 * 16_000, np.int16).tobytes())
    return path


def ask(
    recogniser: Recogniser, pcm: Path, start: float, end: float, prompt: str | None = None
) -> asyncio.Task[Hypothesis]:
    span, options = Span(start, end), Options("m", prompt=prompt)
    return asyncio.create_task(recogniser.recognise(Work[Task](True, 0), pcm, span, options))


def texts(hypothesis: Hypothesis) -> list[str]:
    return [word.text for word in hypothesis.words]


async def test_windows_come_back_with_times_of_the_file(pcm: Path) -> None:
    """A window's words are those of its span, however many windows are in hand."""
    async with running() as recogniser:
        tasks = [ask(recogniser, pcm, start, start + 5) for start in range(0, 50, 5)]
        for start, task in zip(range(0, 50, 5), tasks, strict=True):
            assert texts(await task) == [f"w{second}" for second in range(start + 1, start + 5)]


async def test_a_window_that_kills_the_process_is_blamed_alone(pcm: Path) -> None:
    """Its neighbours in hand are recognised all the same, and the process comes back."""
    async with running() as recogniser:
        tasks = [ask(recogniser, pcm, 5 * i, 5 * i + 5, "crash" if i == 3 else None) for i in range(8)]
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(outcomes[3], WorkerCrashed)
        assert all(isinstance(outcome, Hypothesis) for i, outcome in enumerate(outcomes) if i != 3)


async def test_a_process_killed_from_outside_loses_no_window(pcm: Path) -> None:
    """Several windows in hand run again; nobody is blamed who did not kill it alone."""
    async with running(partial(load_seconds, 0.2)) as recogniser:
        tasks = [ask(recogniser, pcm, 5 * i, 5 * i + 5) for i in range(4)]
        await asyncio.sleep(0.1)
        assert recogniser.pid is not None
        os.kill(recogniser.pid, signal.SIGKILL)
        assert all([texts(await task) for task in tasks])


async def test_a_window_that_hangs_is_ended(pcm: Path) -> None:
    """A window past its patience ends its process and is blamed."""
    async with running(patience=lambda _: 0.5) as recogniser:
        with pytest.raises(WorkerCrashed):
            await ask(recogniser, pcm, 0, 5, "hang")
        assert texts(await ask(recogniser, pcm, 0, 3)) == ["w1", "w2"]


@pytest.mark.parametrize("mode", ["refuse", "bug"])
async def test_an_engine_that_refuses_a_window_lives_on(pcm: Path, mode: str) -> None:
    """An exception in the engine, ours or not, costs its window and nothing else."""
    async with running() as recogniser:
        with pytest.raises(EngineFailed):
            await ask(recogniser, pcm, 0, 5, mode)
        assert recogniser.ready


async def test_dropped_work_is_not_recognised(pcm: Path) -> None:
    """Windows of work nobody wants leave the schedule; those of others go on."""
    async with running(partial(load_seconds, 0.1), threads=1) as recogniser:
        gone = Work[Task](True, 1)
        tasks = [asyncio.create_task(recogniser.recognise(gone, pcm, Span(i, i + 5), Options("m"))) for i in range(9)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        recogniser.drop(gone)
        assert texts(await ask(recogniser, pcm, 0, 3)) == ["w1", "w2"]


async def test_a_model_that_cannot_be_loaded_is_given_up() -> None:
    """A process that dies again and again while loading ends the recogniser with a clear error."""
    with pytest.raises(ModelBroken):
        await Recogniser(load_broken, threads=1).run()
