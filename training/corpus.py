"""Speech with its text on disk, in shards that many utterances share.

A shard is two files of one name: `.pcm`, the samples one after the other (16 kHz, mono, int16, little-endian), and
`.jsonl`, one line for each utterance. Lines are written after their samples, so a shard can be read while it grows.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

RATE = 16_000

Samples = NDArray[np.float32]
"""Mono at 16 kHz, within ±1, shape (samples,)."""


@dataclass(frozen=True, slots=True)
class Mark:
    """When a phoneme or a word begins, as the synthesiser says."""

    name: str
    """A phoneme is `<synthesiser>:<phoneme>`, for each has its own set; a word is as it stands in the text."""
    start: float
    """Seconds from the start of the utterance."""


@dataclass(frozen=True, slots=True)
class Line:
    """What there is to know of one utterance."""

    text: str
    """What is said, as the model is to write it: case and punctuation included, numbers in words."""
    language: str
    """`en` or `fr`."""
    voice: str
    """`<synthesiser>:<voice>`, or `human:<name>` for a recording."""
    first: int
    """Index of its first sample in the shard."""
    samples: int
    phonemes: tuple[Mark, ...] = field(default=())
    """In order of time; the last one's end is the utterance's. Empty when the synthesiser does not tell."""
    words: tuple[Mark, ...] = field(default=())
    """In order of time; empty when the synthesiser does not tell."""

    @property
    def seconds(self) -> float:
        """Of sound."""
        return self.samples / RATE


class ShardWriter:
    """Writes one shard. A context manager."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._pcm = (folder / f"{name}.pcm").open("wb")
        self._lines = (folder / f"{name}.jsonl").open("w", encoding="utf-8")
        self._samples = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pcm.close()
        self._lines.close()

    def add(
        self,
        samples: Samples,
        text: str,
        language: str,
        voice: str,
        phonemes: tuple[Mark, ...] = (),
        words: tuple[Mark, ...] = (),
    ) -> None:
        """Append one utterance."""
        self._pcm.write((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
        self._pcm.flush()
        line = Line(text, language, voice, self._samples, len(samples), phonemes, words)
        self._lines.write(json.dumps(asdict(line), ensure_ascii=False) + "\n")
        self._lines.flush()
        self._samples += len(samples)


class Shard:
    """One shard, for reading. The marks, most of its bytes, can be left out."""

    def __init__(self, lines: Path, *, marks: bool = True) -> None:
        self._pcm = np.memmap(lines.with_suffix(".pcm"), dtype="<i2", mode="r")
        self.lines = [_read(line, marks=marks) for line in lines.read_text(encoding="utf-8").splitlines()]

    def samples(self, line: Line) -> Samples:
        """Of one of its utterances."""
        return self._pcm[line.first : line.first + line.samples].astype(np.float32) / np.float32(32767)


def shards(folder: Path, *, marks: bool = True) -> Iterator[Shard]:
    """All shards of a folder, by name."""
    for path in sorted(folder.glob("*.jsonl")):
        yield Shard(path, marks=marks)


def _read(line: str, *, marks: bool) -> Line:
    known = json.loads(line)
    for kind in ("phonemes", "words"):
        known[kind] = tuple(Mark(**mark) for mark in known[kind]) if marks else ()
    return Line(**known)
