"""Word error rate and word times of a recogniser on a set of clips."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import jiwer

from stt_server.types import Word
from training.corpus import Mark, Samples


@dataclass(frozen=True, slots=True)
class Clip:
    """Speech, and what is said in it."""

    samples: Samples
    text: str
    language: str
    words: tuple[Mark, ...] = ()
    """Where the synthesiser tells."""


@dataclass(frozen=True, slots=True)
class Score:
    """Of a set."""

    words: int
    error_rate: float
    """Percent: substitutions, deletions and insertions of 100 words said."""
    exact: float
    """Percent of the clips whose words are all right."""
    delay_ms: float | None
    """Median distance of a word's beginning from the synthesiser's, in clips whose words are all right."""


Recogniser = Callable[[Samples], Sequence[Word]]


def normalised(text: str) -> str:
    """What is compared: words without case and punctuation, hyphens as spaces."""
    letters = re.sub(r"[^\w' ]", " ", text.lower().replace("’", "'").replace("-", " "))
    return " ".join(letters.split())


def score(clips: Sequence[Clip], recognise: Recogniser) -> Score:
    """Word error rate over all words of all clips."""
    said, heard, delays = [], [], []
    for clip in clips:
        words = recognise(clip.samples)
        said.append(normalised(clip.text))
        heard.append(normalised(" ".join(word.text for word in words)))
        if said[-1] == heard[-1] and len(words) == len(clip.words):
            pairs = zip(words, clip.words, strict=True)
            delays += [abs(word.start - mark.start) for word, mark in pairs]
    return Score(
        words=sum(len(text.split()) for text in said),
        error_rate=100 * float(jiwer.wer(said, heard)),
        exact=100 * sum(one == other for one, other in zip(said, heard, strict=True)) / len(clips),
        delay_ms=1000 * median(delays) if delays else None,
    )
