"""The telephone: 8 kHz, a narrow band, 8 bits a sample on a logarithmic scale (ITU-T G.711)."""

from functools import cache
from typing import Literal

import numpy as np
import soxr
from numpy.typing import NDArray

from training.corpus import RATE, Samples

RATE_OF_TELEPHONE = 8_000

Law = Literal["mu", "a"]


def telephone(samples: Samples, law: Law = "mu", lost_bits: int = 0) -> Samples:
    """As it comes out at the other end, at 16 kHz again. Without losses by default: the same every time.

    A bad line also loses bits: of each sample, the lowest of its eight.
    """
    narrow = soxr.resample(samples, RATE, RATE_OF_TELEPHONE)
    indices = (np.clip(narrow, -1, 1) * np.float32(32767)).astype(np.int16).view(np.uint16)
    wide = soxr.resample(_law(law, lost_bits)[indices], RATE_OF_TELEPHONE, RATE)
    return _of_length(wide, len(samples))


@cache  # 256 KiB each, and each sample needs but a look into it
def _law(law: Law, lost_bits: int) -> Samples:
    """What each 16-bit sample becomes; the index is the sample, taken as unsigned."""
    signed = np.arange(65_536).astype(np.uint16).view(np.int16).astype(np.int64)
    magnitude = np.minimum(np.abs(signed), 32_635 if law == "mu" else 32_767)
    heard = (_mu if law == "mu" else _a)(magnitude, lost_bits)
    return (np.sign(signed) * heard / 32_768).astype(np.float32)


def _mu(magnitude: NDArray[np.int64], lost_bits: int) -> NDArray[np.int64]:
    """Eight segments, each twice as coarse as the one below, of 16 steps each."""
    biased = magnitude + 132
    segment = np.floor(np.log2(biased)).astype(np.int64) - 7
    step = _coarser(biased >> (segment + 3) & 15, lost_bits)
    return ((((step << 3) + 132) << segment) - 132) * (magnitude > 0)


def _a(magnitude: NDArray[np.int64], lost_bits: int) -> NDArray[np.int64]:
    """The same, but the lowest two segments are alike and there is no zero."""
    segment = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int64) - 7, 0)
    lowest = segment == 0
    step = _coarser(magnitude >> np.where(lowest, 4, segment + 3) & 15, lost_bits)
    return np.where(lowest, (step << 4) + 8, ((step << 4) + 264) << np.maximum(segment - 1, 0))


def _coarser(step: NDArray[np.int64], lost_bits: int) -> NDArray[np.int64]:
    return step >> lost_bits << lost_bits


def _of_length(samples: Samples, length: int) -> Samples:
    """The resampler may give a sample more or less."""
    return samples[:length] if len(samples) >= length else np.pad(samples, (0, length - len(samples)))
