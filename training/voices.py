"""Who speaks the sentences: the voices to train with, and those kept apart to see how the model fares with strangers.

Kept apart are the voices of mbrola, whose licence is non-commercial (they only ever evaluate), and a few variants of
espeak-ng. All others are free to use: espeak-ng (its output is not covered by its licence), flite (BSD-like), pico
(Apache 2.0).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Voice:
    """One voice of one synthesiser."""

    synthesiser: str
    """`espeak`, `flite` or `pico`."""
    name: str
    """As the synthesiser calls it."""

    def __str__(self) -> str:
        return f"{self.synthesiser}:{self.name}"


@dataclass(frozen=True, slots=True)
class Manner:
    """How a voice speaks one sentence."""

    speed: float = 1.0
    """Times the voice's usual speed, 0.75..1.25."""
    pitch: float = 0.0
    """-1..1: as deep or as high as the voice can go and still be natural."""


_FAMILIAR = (
    "Alex Alicia Andrea Andy Annie Denis Diogo Gene Gene2 Hugo Jacky Lee Mario Mike adam anika antonio aunty "
    "belinda boris caleb david ed edward f1 f2 f3 f5 grandma grandpa gustave iven iven2 john kaukovalta klatt klatt2 "
    "klatt3 klatt4 linda m1 m2 m3 m4 m5 m6 m7 m8 marcelo max michel miguel pablo paul pedro quincy rob robert sandro "
    "shelby steph steph2 travis victor zac"
)
"""Variants of espeak-ng that sound like people; without the robots, the demons and the whispers."""

_STRANGERS = "Michael f4 benjamin norbert Henrique"

_ACCENTS = {
    "en": ("en-us", "en-us", "en", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-029", "en-us-nyc"),
    "fr": ("fr", "fr", "fr", "fr-be", "fr-ch"),
}
"""As its library knows them (`en` is British); repeated, the common ones are drawn more often."""


def _espeak(language: str, variants: str) -> tuple[Voice, ...]:
    return tuple(
        Voice("espeak", f"{accent}+{variant}") for accent in _ACCENTS[language] for variant in variants.split()
    )


def _named(synthesiser: str, names: str) -> tuple[Voice, ...]:
    return tuple(Voice(synthesiser, name) for name in names.split())


Cast = tuple[tuple[float, tuple[Voice, ...]], ...]
"""Groups of voices, each with its share of the sentences; within a group all are drawn alike."""

TRAINING: dict[str, Cast] = {
    "en": (
        (0.30, _espeak("en", _FAMILIAR)),
        (0.45, _named("flite", "slt slt rms rms awb kal16 kal")),
        (0.25, _named("pico", "en-US en-GB")),
    ),
    "fr": (
        (0.50, _espeak("fr", _FAMILIAR)),
        (0.50, _named("pico", "fr-FR")),
    ),
}

MARKED: dict[str, Cast] = {
    language: tuple(group for group in cast if group[1][0].synthesiser != "pico") for language, cast in TRAINING.items()
}
"""The training voices that tell when each phoneme begins."""

HELD_OUT: dict[str, Cast] = {
    "en": ((0.5, _espeak("en", _STRANGERS)), (0.5, _named("espeak", "mb-us1 mb-us2 mb-us3 mb-en1"))),
    "fr": ((0.5, _espeak("fr", _STRANGERS)), (0.5, _named("espeak", "mb-fr1 mb-fr2 mb-fr3 mb-fr4 mb-ca1"))),
}

CASTS = {"training": TRAINING, "marked": MARKED, "held-out": HELD_OUT}


def draw(cast: Cast, rng: np.random.Generator) -> tuple[Voice, Manner]:
    """Who speaks a sentence, and how."""
    shares = np.array([share for share, _ in cast])
    voices = cast[rng.choice(len(cast), p=shares / shares.sum())][1]
    voice = voices[rng.integers(len(voices))]
    return voice, Manner(float(rng.uniform(0.75, 1.25)), float(rng.uniform(-1, 1)))
