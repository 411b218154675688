"""Clean speech as the world would bring it: other voices, rooms, microphones, noise, telephones.

    heard, moved = augment(samples, rng)
    moved(1.5)  # when one hears what was said at 1.5 s

About 3 CPU-seconds for an hour of speech: the spectrum is shaped once for room and microphone together, in float32,
and noise is cut from beds made once.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
import soxr
from numpy.typing import NDArray

from training.corpus import RATE, Samples
from training.noises import COLOURS, coloured, hum, level, non_speech
from training.telephone import Law, telephone

__all__ = ["augment", "non_speech", "telephone"]

SPEEDS = (0.84, 1.12)
"""How much lower and slower, or higher and faster, a voice becomes."""
PADDING = (0.0, 0.6)
"""Seconds of nothing before and after."""
NOISE_DB = (5.0, 45.0)
"""Speech over noise, while it speaks."""
GAIN_DB = (-30.0, 0.0)
REVERBERATION = (0.1, 0.7)
"""Seconds until a room has swallowed 60 dB."""
TILT_DB = (-9.0, 6.0)
"""At 8 kHz, falling or rising steadily over the octaves from 250 Hz."""

ROOM_SHARE, TILT_SHARE, CLEAN_SHARE, BABBLE_SHARE, TELEPHONE_SHARE = 0.2, 0.6, 0.2, 0.15, 0.25
GATE_SHARE, CLIP_SHARE, BAD_LINE_SHARE = 0.3, 0.05, 0.2

_BED_SECONDS = 40


def augment(
    samples: Samples, rng: np.random.Generator, *, telephone: bool | None = None, others: Sequence[Samples] = ()
) -> tuple[Samples, Callable[[float], float]]:
    """The speech in some surroundings, and where its moments have moved to (seconds to seconds).

    `telephone` forces a telephone or forbids it. `others` are other utterances: backwards, they are the people behind.
    """
    speed, (front, back) = rng.uniform(*SPEEDS), rng.uniform(*PADDING, 2)
    voice = soxr.resample(samples, RATE * speed, RATE, quality="LQ")
    before, after = round(front * RATE), round(back * RATE)
    heard = _shaped(np.pad(voice, (before, after)), rng)
    if rng.random() >= CLEAN_SHARE:
        heard = heard + _noise(rng, len(heard), others) * _under(voice, rng.uniform(*NOISE_DB))
    if rng.random() < GATE_SHARE:  # as files do that were cut, or microphones with a gate
        heard[:before] = 0
        heard[before + len(voice) :] = 0
    if rng.random() < CLIP_SHARE:
        heard = np.tanh(heard * np.float32(rng.uniform(2, 6)))
    heard *= np.float32(10 ** (rng.uniform(*GAIN_DB) / 20) / max(1.0, float(np.abs(heard).max(initial=0))))
    if rng.random() < TELEPHONE_SHARE if telephone is None else telephone:
        heard = _called(heard, rng)
    return heard, partial(_moved, before / RATE, speed)


def _moved(front: float, speed: float, seconds: float) -> float:
    return front + seconds / speed


def _shaped(samples: Samples, rng: np.random.Generator) -> Samples:
    """Through a room and a microphone: their responses are multiplied with the spectrum, both at once."""
    room, tilted = rng.random() < ROOM_SHARE, rng.random() < TILT_SHARE
    if not (room or tilted):
        return samples
    tail = _tail(rng) if room else np.ones(1, np.float32)
    length = _quick_length(len(samples) + len(tail))
    spectrum = np.fft.rfft(samples, length)
    if room:
        spectrum *= np.fft.rfft(tail, length)
    if tilted:
        spectrum *= _tilt(length, rng.uniform(*TILT_DB))
    return _wave(spectrum, length, len(samples))


def _wave(spectrum: NDArray[np.complexfloating], length: int, count: int) -> Samples:
    wave: Samples = np.fft.irfft(spectrum, length)[:count].astype(np.float32, copy=False)
    return wave


def _quick_length(count: int) -> int:
    """At least so many, and of small prime factors only, for the Fourier transform: up to 31, else twos."""
    unit = 1 << max(0, count.bit_length() - 5)
    return -(-count // unit) * unit


def _tail(rng: np.random.Generator) -> Samples:
    """The answer of a room to a clap: the clap, and noise that dies away exponentially."""
    seconds = rng.uniform(*REVERBERATION)
    count = round(seconds * RATE)
    noise = coloured(rng, count, -0.3) * np.exp(-np.linspace(0, np.log(1000), count, dtype=np.float32))
    noise *= np.float32(10 ** (rng.uniform(-12, 3) / 20)) / np.linalg.norm(noise)
    noise[: round(0.002 * RATE)] = 0
    noise[0] = 1
    tail: Samples = noise.astype(np.float32, copy=False)
    return tail


def _tilt(length: int, decibels: float) -> Samples:
    frequencies = np.fft.rfftfreq(length, 1 / RATE).astype(np.float32)
    slope = np.float32(decibels / 5 / 20 / np.log10(2))
    tilt: Samples = np.maximum(frequencies / np.float32(250), np.float32(0.25)) ** slope
    return tilt


@cache  # two seconds of work and 15 MB, needed in every call of every training process
def _beds() -> tuple[Samples, ...]:
    """Long pieces of noise to cut from."""
    rng, count = np.random.default_rng(5), _BED_SECONDS * RATE
    steady = [coloured(rng, count, exponent) for exponent in COLOURS.values()]
    return (*steady, hum(rng, count), _murmur(rng, count))


def _murmur(rng: np.random.Generator, count: int) -> Samples:
    """Noise of speech's colour, rising and falling four times a second as syllables do."""
    moments = np.arange(0, count, RATE // 8)
    voices = [
        coloured(rng, count, -0.75) * np.interp(np.arange(count), moments, rng.random(len(moments)) ** 2)
        for _ in range(3)
    ]
    return level(np.sum(voices, axis=0, dtype=np.float32))


def _noise(rng: np.random.Generator, count: int, others: Sequence[Samples]) -> Samples:
    """Of mean square 1."""
    if others and rng.random() < BABBLE_SHARE:
        people = [np.resize(other[::-1], count) for other in others if len(other)]
        return level(np.sum(people, axis=0, dtype=np.float32))
    beds = _beds()
    bed = beds[rng.integers(len(beds))]
    first = rng.integers(0, len(bed))
    pieces = [bed[first:], *[bed] * (count // len(bed) + 1)]
    return np.concatenate(pieces)[:count] if first + count > len(bed) else bed[first : first + count]


def _under(voice: Samples, decibels: float) -> np.float32:
    """How loud noise has to be to stay so far under the voice."""
    loudness = np.sqrt(np.dot(voice, voice) / max(1, len(voice)))
    return np.float32(loudness * 10 ** (-decibels / 20))


def _called(samples: Samples, rng: np.random.Generator) -> Samples:
    """Through a telephone of some kind: its own band, either law, at times a line that loses bits."""
    length = _quick_length(len(samples))
    frequencies = np.fft.rfftfreq(length, 1 / RATE)
    spectrum = np.fft.rfft(samples, length)
    spectrum[(frequencies < rng.uniform(0, 320)) | (frequencies > rng.uniform(3300, 3900))] = 0
    lost_bits = int(rng.integers(1, 3)) if rng.random() < BAD_LINE_SHARE else 0
    law: Law = "mu" if rng.random() < 0.5 else "a"
    return telephone(_wave(spectrum, length, len(samples)), law, lost_bits)
