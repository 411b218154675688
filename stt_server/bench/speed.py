"""How much audio a loaded model recognises a second, and in how much memory."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from stt_server.bench.memory import forget_peaks, peak_mib
from stt_server.bench.speech import SAMPLES, cut, join, write
from stt_server.speech.engines import Engine
from stt_server.speech.transcribe import transcribe
from stt_server.types import Options

LENGTHS = (3.0, 10.0, 30.0, 60.0)
"""Seconds of a clip, ascending: what a length needs of memory shows in a process that has seen none longer."""
_OPTIONS = Options(model="")
_MOST_TIMES = 10


@dataclass(frozen=True, slots=True)
class Pace:
    """Of clips of one length, some at a time."""

    length: float
    """Seconds of a clip."""
    at_a_time: int
    clips: int
    factor: float
    """Real-time factor: seconds of work for a second of audio, all clips together."""
    latency: float
    """Seconds for a clip, the median."""
    peak_mib: float
    """Of the process so far, without what loading the model took."""


def measure(
    engine: Engine, threads: int, *, seconds: float, on_step: Callable[[float, int], None] = lambda _length, _many: None
) -> Iterator[Pace]:
    """Recognise the built-in speech in clips of several lengths, one and then `threads` at a time.

    Takes about so many seconds. What would take longer than is left is not begun, except for the very first.
    """
    speech = join(sorted(SAMPLES.glob("*.wav")))
    cells = [(length, many) for length in LENGTHS for many in sorted({1, threads})]
    deadline = time.perf_counter() + seconds
    factor = 0.0
    with TemporaryDirectory(prefix="stt-") as folder:
        clips = {length: write(Path(folder) / f"{length:g}.wav", cut(speech, length)) for length in LENGTHS}
        _run(engine, clips[LENGTHS[0]], threads, 1)  # the first run of anything takes longer
        forget_peaks()
        for index, (length, many) in enumerate(cells):
            left = deadline - time.perf_counter()
            if index and length * many * factor > left:
                continue
            on_step(length, many)
            pace = _measure(engine, clips[length], length, many, threads, left / (len(cells) - index))
            factor = pace.factor
            yield pace


def _measure(engine: Engine, clip: Path, length: float, many: int, threads: int, budget: float) -> Pace:
    """Again and again, until the time is used up."""
    latencies: list[float] = []
    began = time.perf_counter()
    for _ in range(_MOST_TIMES):
        latencies += _run(engine, clip, threads, many)
        taken = time.perf_counter() - began
        if taken * (1 + many / len(latencies)) > budget:
            break
    clips = len(latencies)
    return Pace(length, many, clips, taken / (length * clips), median(latencies), peak_mib())


def _run(engine: Engine, clip: Path, threads: int, many: int) -> list[float]:
    """Seconds that each of so many takes beside the others."""

    def once(_: int) -> float:
        began = time.perf_counter()
        transcribe(clip, engine, _OPTIONS, max_duration=2 * LENGTHS[-1], threads=threads)
        return time.perf_counter() - began

    with ThreadPoolExecutor(many) as pool:
        return list(pool.map(once, range(many)))
