"""What a synthesiser hands over, and the form that all of it is brought into."""

import re
from dataclasses import dataclass, field

import numpy as np
import soxr

from training.corpus import RATE, Mark, Samples

PEAK = 0.6
QUIET = 0.01
"""Below this share of the peak (-40 dB) is silence: the noise of flite's vocoder stays under it."""
LONGEST_SILENCE = 0.15
"""Seconds that may stay at either end; the training adds its own, of every length."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """One sentence, spoken."""

    samples: Samples
    phonemes: tuple[Mark, ...] = field(default=())
    words: tuple[Mark, ...] = field(default=())

    @classmethod
    def of(
        cls, samples: Samples, rate: int, phonemes: list[Mark] | None = None, words: list[Mark] | None = None
    ) -> "Spoken":
        """In the project's rate and loudness, without long silence at the ends. Empty if there is no sound at all."""
        if rate != RATE:
            samples = soxr.resample(samples, rate, RATE)
        peak = float(np.abs(samples).max(initial=0))
        if not peak:
            return cls(samples[:0])
        loud = np.flatnonzero(np.abs(samples) > QUIET * peak)
        margin = int(LONGEST_SILENCE * RATE)
        first = max(0, int(loud[0]) - margin)
        last = min(len(samples), int(loud[-1]) + margin)
        start, end = first / RATE, last / RATE
        return cls(
            samples[first:last] * np.float32(PEAK / peak),
            _within(phonemes or [], start, end),
            _within(words or [], start, end),
        )


def spelled(text: str) -> list[tuple[int, str]]:
    """The words of a text as they stand in it, each with the index of its first character."""
    return [(word.start(), word.group()) for word in re.finditer(r"\S+", text)]


def _within(marks: list[Mark], start: float, end: float) -> tuple[Mark, ...]:
    """Marks of the part between two times. What began before it begins with it, so of several only the last stays."""
    marks = sorted(marks, key=lambda mark: mark.start)
    shifted = [Mark(mark.name, round(max(0.0, mark.start - start), 4)) for mark in marks if mark.start < end]
    early = sum(mark.start == 0 for mark in shifted)
    return tuple(shifted[max(0, early - 1) :])
