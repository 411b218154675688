"""Augmentation of log-mel energies: parts of them hidden, and the throat they came from changed.

Arrays are (frames, MELS), each band with mean 0: what is hidden is at its mean.
"""

import numpy as np

from training.features import MELS, Features

BANDS = 16
"""Widest hidden stretch of the mel axis; two of them at random."""
FRAMES = 10
"""Longest hidden stretch of time, one for every 3 s. Short: what a small model cannot hear it has to guess."""
KNOTS = 6
"""Places on the mel axis that move on their own, so that the formants lie otherwise to each other."""
BEND = 1.5
"""Bands by which they move, standard deviation: about 10 % of the frequency of the first two formants."""


def masked(energies: Features, rng: np.random.Generator) -> Features:
    """SpecAugment without its time warp (Park et al. 2019, arXiv:1904.08779)."""
    energies = energies.copy()
    for _ in range(2):
        width = rng.integers(0, BANDS)
        low = rng.integers(0, MELS - width)
        energies[:, low : low + width] = 0
    for _ in range(1 + len(energies) // 300):
        width = rng.integers(0, min(FRAMES, len(energies) // 8) + 1)
        start = rng.integers(0, len(energies) - width + 1)
        energies[start : start + width] = 0
    return energies


def bent(energies: Features, rng: np.random.Generator) -> Features:
    """As from another throat: vocal tract length perturbation (Jaitly & Hinton 2013), each formant by its own amount.

    A change of speed already moves all formants, and the pitch, by one factor.
    """
    knots = np.linspace(0, MELS - 1, KNOTS)
    sources = np.interp(np.arange(MELS), knots, knots + rng.normal(0, BEND, KNOTS)).clip(0, MELS - 1)
    lower = np.minimum(sources.astype(np.intp), MELS - 2)
    share = (sources - lower).astype(np.float32)
    result: Features = energies[:, lower] * (1 - share) + energies[:, lower + 1] * share
    return result
