"""Sentences in, shards out: who speaks what, and where it is written. Broken off, it goes on where it stopped."""

import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.corpus import RATE, ShardWriter
from training.synthesis.espeak import Espeak
from training.synthesis.flite import Flite
from training.synthesis.pico import Pico
from training.synthesis.spoken import Spoken
from training.voices import CASTS, Manner, Voice, draw

_SYNTHESISERS: dict[str, Callable[[], Espeak | Flite | Pico]] = {"espeak": Espeak, "flite": Flite, "pico": Pico}

SHORTEST, LONGEST = 0.2, 30.0
"""Seconds. What is outside went wrong: silence, or a voice that reads signs out one by one."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A line of the input."""

    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Task:
    """One shard to make."""

    folder: Path
    index: int
    sentences: tuple[Sentence, ...]
    cast: str
    seed: int

    @property
    def name(self) -> str:
        """Of its files, without suffix."""
        return f"{self.index:05d}"

    @property
    def done(self) -> bool:
        """Whether it was made before."""
        return (self.folder / f"{self.name}.jsonl").exists()


def read(path: Path, limit: int | None) -> list[Sentence]:
    """The sentences of a file of `language TAB text` lines."""
    lines = path.read_text(encoding="utf-8").splitlines()[:limit]
    return [Sentence(*line.split("\t", 1)) for line in lines]


def make(tasks: list[Task], jobs: int) -> Iterator[float]:
    """Make the shards; yields the seconds of speech of each. Every one is made by a process of its own.

    espeak-ng's noise depends on all that it said before: in a new process a shard comes out the same each time.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, maxtasksperchild=1) as pool:
        yield from pool.imap_unordered(_shard, tasks, chunksize=1)


def _shard(task: Task) -> float:
    """Write under another folder first: a shard in its place is complete."""
    cast, stage, studio, seconds = CASTS[task.cast], task.folder / "unfinished", _Studio(), 0.0
    with ShardWriter(stage, task.name) as writer:
        for number, sentence in enumerate(task.sentences):
            rng = np.random.default_rng((task.seed, task.index, number))
            voice, manner = draw(cast[sentence.language], rng)
            spoken = studio.speak(sentence.text, voice, manner)
            length = len(spoken.samples) / RATE
            if SHORTEST < length < LONGEST:
                writer.add(spoken.samples, sentence.text, sentence.language, str(voice), spoken.phonemes, spoken.words)
                seconds += length
    for suffix in (".pcm", ".jsonl"):
        (stage / f"{task.name}{suffix}").rename(task.folder / f"{task.name}{suffix}")
    return seconds


class _Studio:
    """The synthesisers, each started when it first speaks."""

    def __init__(self) -> None:
        self._started: dict[str, Espeak | Flite | Pico] = {}

    def speak(self, text: str, voice: Voice, manner: Manner) -> Spoken:
        if voice.synthesiser not in self._started:
            self._started[voice.synthesiser] = _SYNTHESISERS[voice.synthesiser]()
        return self._started[voice.synthesiser].speak(text, voice.name, manner)
