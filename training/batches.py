"""Utterances to batches of augmented features with their targets, without end."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from stt_server.speech.engines.parakeet import with_quiet_tail
from training import features
from training.augmentation import augment, non_speech
from training.corpus import RATE, Line, Mark, Samples, Shard, shards
from training.spectral import bent, masked
from training.text import Tokenizer, spell

SLOTS = 3
"""Predictions of the auxiliary losses in one encoder frame: 12.5 frames a second are too few for letters."""
UNLABELLED = -100
"""Where there is no phoneme to learn; what torch's cross entropy ignores."""

_ASIDE = 500
"""Examples that wait to be used again."""
_TAILED = 0.5
"""Share with what our engine adds behind a window."""
_SLOT_SECONDS = 0.08 / SLOTS
_GRID = 128
"""Feature frames: lengths are padded to a multiple. A processor's matrix kernels are made anew for each new shape."""
_TOKEN_GRID = 8
"""The same for the tokens of a text."""


@dataclass(frozen=True)
class Batch:
    """B utterances, padded with zeros."""

    features: Tensor
    """(B, frames, mels)"""
    frames: Tensor
    tokens: Tensor
    token_counts: Tensor
    letters: Tensor
    letter_counts: Tensor
    phonemes: Tensor
    """(B, SLOTS of all encoder frames): the phoneme at the middle of each slot, or `UNLABELLED`."""

    @property
    def seconds(self) -> float:
        """Of all audio in it."""
        return float(self.frames.sum()) / 100

    def to(self, device: str) -> "Batch":
        """A copy on that device."""
        return Batch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Mixture:
    """What the batches are made of."""

    folders: dict[Path, float]
    """Folders of shards, and how often an utterance of each is used in a round (0.5: every other round)."""
    seconds: float = 100
    """Of audio in a batch, padding included."""
    longest: float = 16
    """Seconds of an utterance, or of several that are joined."""
    joined: float = 0.25
    """Share of the utterances that have another one behind them."""
    silent: float = 0.05
    """Share that is no speech, whose text is empty."""
    sherpa: float = 0.25
    """Share with sherpa-onnx's front end in place of NeMo's."""


@dataclass(frozen=True)
class _Example:
    """One row of a batch."""

    features: NDArray[np.float32]
    tokens: list[int]
    letters: list[int]
    phonemes: NDArray[np.int64]


_Piece = tuple[Shard, Line]


def _batch(examples: list[_Example], frames: int) -> Batch:
    rows = [torch.from_numpy(example.features) for example in examples]
    tokens = [torch.tensor(example.tokens, dtype=torch.long) for example in examples]
    letters = [torch.tensor(example.letters, dtype=torch.long) for example in examples]
    phonemes = [torch.from_numpy(example.phonemes) for example in examples]
    longest = -(-max(map(len, tokens)) // _TOKEN_GRID) * _TOKEN_GRID
    return Batch(
        features=_padded(rows, frames),
        frames=torch.tensor([len(row) for row in rows]),
        tokens=_padded(tokens, longest),
        token_counts=torch.tensor([len(row) for row in tokens]),
        letters=_padded(letters, max(map(len, letters))),
        letter_counts=torch.tensor([len(row) for row in letters]),
        phonemes=_padded(phonemes, SLOTS * ((frames - 1) // 8 + 1), UNLABELLED),
    )


def _padded(rows: list[Tensor], length: int, value: float = 0) -> Tensor:
    """All of the same length, in one."""
    filled = rows[0].new_full((len(rows), length, *rows[0].shape[1:]), value)
    for target, row in zip(filled, rows, strict=True):
        target[: len(row)] = row
    return filled


class Batches(IterableDataset[Batch]):
    """The batches of one process. New shards in the folders are seen at the next round."""

    def __init__(self, mixture: Mixture, tokenizer: Path, phonemes: list[str], seed: int) -> None:
        self._mixture = mixture
        self._tokenizer_path = tokenizer
        self._phonemes = {name: number for number, name in enumerate(phonemes)}
        self._seed = seed

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        self._rng = np.random.default_rng(self._seed)
        self._tokenizer = Tokenizer(self._tokenizer_path)
        waiting: dict[int, list[_Example]] = defaultdict(list)
        for example in self._echoed(self._examples()):
            length = -(-len(example.features) // _GRID) * _GRID
            waiting[length].append(replace(example, features=self._disguised(example.features)))
            if len(waiting[length]) * length >= self._mixture.seconds * 100:
                yield _batch(waiting.pop(length), length)

    def _examples(self) -> Iterator[_Example]:
        while True:
            for group in self._joined(self._round()):
                if (example := self._example(group)) is not None:
                    yield example

    def _echoed(self, examples: Iterator[_Example]) -> Iterator[_Example]:
        """Each twice, the second time a while later: making them takes longer than learning from them (on two cores).

        Data echoing: Choi et al. 2019 (arXiv:1907.05550).
        """
        aside: list[_Example] = []
        for example in examples:
            yield example
            aside.append(example)
            if len(aside) > _ASIDE:
                yield aside.pop(self._rng.integers(len(aside)))

    def _round(self) -> list[_Piece]:
        """All utterances, as often as their folder says, in random order."""
        pieces = [
            (shard, line)
            for folder, share in self._mixture.folders.items()
            for shard in shards(folder, marks=bool(self._phonemes))
            for line in shard.lines
            for _ in range(int(share + self._rng.random()))
            if line.seconds < self._mixture.longest - 1
        ]
        return [pieces[index] for index in self._rng.permutation(len(pieces))]

    def _joined(self, pieces: list[_Piece]) -> Iterator[list[_Piece]]:
        """Some of them in one, as long as that is not too long, and some empty ones: no speech."""
        group: list[_Piece] = []
        for piece in pieces:
            seconds = piece[1].seconds + sum(line.seconds + 0.8 for _, line in group)
            if group and (seconds > self._mixture.longest - 1 or self._rng.random() >= self._mixture.joined):
                yield group
                group = []
                if self._rng.random() < self._mixture.silent:
                    yield []
            group.append(piece)
        if group:
            yield group

    def _example(self, group: list[_Piece]) -> _Example | None:
        """None where augmentation left too few frames for the letters."""
        samples, marks = self._speech(group) if group else (non_speech(self._rng, self._rng.uniform(1, 6)), ())
        augmented, moved = augment(samples, self._rng)
        front_end = features.sherpa if self._rng.random() < self._mixture.sherpa else features.nemo
        energies = front_end(augmented)
        if self._rng.random() < _TAILED:
            energies = np.ascontiguousarray(with_quiet_tail(energies.T).T)
        text = " ".join(line.text for _, line in group)
        letters = spell(text)
        encoder_frames = (len(energies) - 1) // 8 + 1
        doubled = sum(one == other for one, other in pairwise(letters))
        if len(letters) + doubled > SLOTS * encoder_frames:
            return None
        phonemes = self._slots([Mark(mark.name, moved(mark.start)) for mark in marks], encoder_frames * SLOTS)
        return _Example(energies, self._tokenizer.encode(text), letters, phonemes)

    def _speech(self, group: list[_Piece]) -> tuple[Samples, tuple[Mark, ...]]:
        """The utterances one after the other, with pauses between, each at its own level."""
        parts: list[Samples] = []
        marks: list[Mark] = []
        start = 0.0
        for shard, line in group:
            if parts:
                parts.append(np.zeros(int(self._rng.uniform(0.05, 0.8) * RATE), np.float32))
                start += len(parts[-1]) / RATE
            parts.append(shard.samples(line) * np.float32(self._rng.uniform(0.5, 1)))
            marks += [Mark(mark.name, mark.start + start) for mark in line.phonemes] or [Mark("", start)]
            start += line.seconds
        return np.concatenate(parts), tuple(marks)

    def _slots(self, marks: list[Mark], slots: int) -> NDArray[np.int64]:
        """The phoneme in the middle of each slot; in front of the first one there is none."""
        if not marks:
            return np.full(slots, UNLABELLED)
        middles = (np.arange(slots) + 0.5) * _SLOT_SECONDS
        at = np.searchsorted([mark.start for mark in marks], middles, side="right") - 1
        ids = np.array([self._phonemes.get(mark.name, UNLABELLED) for mark in marks])
        return np.where(at < 0, UNLABELLED, ids[at])

    def _disguised(self, energies: NDArray[np.float32]) -> NDArray[np.float32]:
        return masked(bent(energies, self._rng), self._rng)
