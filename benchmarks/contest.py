"""Who is compared, on what, in which order.

One contestant runs at a time, in processes of its own that end before the next begins. A round is everybody once, on
all tasks, from the shortest clip to the longest: a process that has only seen shorter ones shows what memory a length
needs. Rounds begin with another contestant each time, so that nobody always comes after the same one.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

from benchmarks.machine import Meter
from benchmarks.results import Measurement, Overhead
from benchmarks.server import server
from benchmarks.sounds import Clip
from benchmarks.team import Answer, Team, processes
from stt_server.bench.memory import forget_peaks, peak_mib
from stt_server.speech.engines.layout import find_layout

VOICEMAILS = "voicemails"
HTTP = "ours over HTTP"
_PAIRS = 40
_PARAKEET_BYTES = 500_000_000


@dataclass(frozen=True, slots=True)
class Models:
    """One model, in the layouts in which it is there."""

    ours: Path
    sherpa: Path | None
    onnx_asr: Path | None

    @classmethod
    def of(cls, folder: Path) -> "Models":
        """A folder as the twin's, or any single model."""
        sherpa, onnx_asr = folder / "sherpa", folder / "onnx-asr"
        if sherpa.is_dir():
            return cls(sherpa, sherpa, onnx_asr if onnx_asr.is_dir() else None)
        split = find_layout(folder).joiner is not None
        return cls(folder, folder if split else None, None if split else folder)

    @property
    def parakeets_size(self) -> bool:
        """Whether it does the work that `limit.giga_operations` counts."""
        return find_layout(self.ours).encoder.stat().st_size > _PARAKEET_BYTES


@dataclass(frozen=True, slots=True)
class Contestant:
    """A recogniser, and how it is used."""

    name: str
    start: Callable[[], AbstractContextManager[Team]]
    at_a_time: int
    """Clips in hand."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be recognised."""

    name: str
    clips: Sequence[Clip]
    """For each clip in hand at a time, so many: more hands get more of them."""
    at_a_time: int | None = None
    """Instead of the contestant's own."""
    share: bool = False
    """All hands together get the clips once."""


def contestants(models: Models, cores: int) -> list[Contestant]:
    """Each way to use the machine: for one clip as soon as possible, and for as many as possible."""

    def local(
        engine: str, folder: Path, count: int, threads: int, each: int
    ) -> Callable[[], AbstractContextManager[Team]]:
        return partial(processes, engine, folder, count=count, threads=threads, at_a_time=each)

    everybody = [
        Contestant("ours, one clip at a time", local("ours", models.ours, 1, cores, 1), 1),
        Contestant(f"ours, {cores} clips at a time", local("ours", models.ours, 1, cores, cores), cores),
        Contestant(HTTP, partial(server, models.ours, cores), 1),
    ]
    if theirs := models.sherpa:
        everybody += [
            Contestant(f"sherpa-onnx, {cores} threads", local("sherpa-onnx", theirs, 1, cores, 1), 1),
            Contestant(f"sherpa-onnx, {cores} processes", local("sherpa-onnx", theirs, cores, 1, 1), cores),
        ]
    if theirs := models.onnx_asr:
        everybody.append(Contestant(f"onnx-asr, {cores} threads", local("onnx-asr", theirs, 1, cores, 1), 1))
    return everybody


def run(
    everybody: Sequence[Contestant],
    tasks: Callable[[Contestant, int], Sequence[Task]],
    warm_up: Clip,
    rounds: int,
    say: Callable[[str], None],
) -> Iterator[Measurement]:
    """Measure, and yield each result as soon as it is there. Tasks may differ by contestant and round."""
    for number in range(rounds):
        first = number % len(everybody)
        for contestant in [*everybody[first:], *everybody[:first]]:
            if not (wanted := tasks(contestant, number)):
                continue
            say(f"round {number + 1} of {rounds}: {contestant.name} loads its model")
            with contestant.start() as team:
                team.run([warm_up] * contestant.at_a_time, contestant.at_a_time)
                for task in wanted:
                    say(f"round {number + 1} of {rounds}: {contestant.name}, {task.name}")
                    yield _measure(team, contestant, task, number)


def _measure(team: Team, contestant: Contestant, task: Task, number: int) -> Measurement:
    at_a_time = task.at_a_time or contestant.at_a_time
    clips = list(task.clips) * (1 if task.share else at_a_time)
    forget_peaks(team.pids)
    meter, began = Meter(), perf_counter()
    answers = team.run(clips, at_a_time)
    seconds = perf_counter() - began
    return Measurement(
        contestant=contestant.name,
        task=task.name,
        round=number,
        clips=len(clips),
        audio=sum(clip.seconds for clip in clips),
        seconds=seconds,
        latencies=tuple(answer.latency for answer in answers),
        tokens=_tokens(answers),
        peak_mib=peak_mib(team.pids),
        foreign=meter.foreign(),
    )


def _tokens(answers: Sequence[Answer]) -> int | None:
    heard = [answer.heard for answer in answers if answer.heard]
    return sum(one.tokens for one in heard) if heard else None


def measure_overhead(model: Path, clip: Clip, cores: int) -> Overhead:
    """A small model's clip over HTTP and its parts alone, in turn. Its inference is brief, and so is its noise."""
    with (
        server(model, cores) as asked,
        processes("parts", model, count=1, threads=cores, at_a_time=1) as alone,
    ):
        for team in (asked, alone):
            team.run([clip] * 3, 1)
        meter = Meter()
        http, parts = [], []
        for _ in range(_PAIRS):
            http += [answer.latency for answer in asked.run([clip], 1)]
            parts += [answer.heard.seconds for answer in alone.run([clip], 1) if answer.heard]
        return Overhead(tuple(http), tuple(parts), meter.foreign())
