"""Sound that is not speech: what surrounds it, and what a model must answer with silence."""

from collections.abc import Callable

import numpy as np

from training.corpus import RATE, Samples

COLOURS = {"white": 0.0, "pink": -0.5, "red": -1.0, "blue": 0.5, "speech": -0.75}
"""Exponent of the amplitude over frequency: -0.5 is 3 dB an octave down."""

DTMF = ((697, 770, 852, 941), (1209, 1336, 1477, 1633))
"""Hz, low and high: a key of the telephone is one of each (ITU-T Q.23)."""

DIAL = ((440.0,), (350.0, 440.0), (425.0,))
"""Hz, of dial and busy tones in France, in North America and elsewhere (ITU-T E.180)."""

_LOUDNESS_DB = (-45.0, -6.0)


def coloured(rng: np.random.Generator, count: int, exponent: float) -> Samples:
    """Noise whose amplitude goes with a power of the frequency; its mean square is 1."""
    frequencies = np.maximum(np.fft.rfftfreq(count, 1 / RATE), 40).astype(np.float32)
    phases = rng.standard_normal((2, len(frequencies)), dtype=np.float32)
    spectrum = (phases[0] + 1j * phases[1]) * frequencies ** np.float32(exponent)
    return level(np.fft.irfft(spectrum, count).astype(np.float32))


def level(samples: Samples) -> Samples:
    """The same with a mean square of 1, or silence."""
    power = float(np.sqrt(np.mean(samples**2))) if len(samples) else 0.0
    return samples / np.float32(power) if power else samples


def hum(rng: np.random.Generator, count: int) -> Samples:
    """Of the mains: 50 or 60 Hz and what rings along."""
    base = rng.choice([50, 60])
    return level(_tones(rng, count, tuple(base * harmonic for harmonic in range(1, 9)), falling=True))


def non_speech(rng: np.random.Generator, seconds: float) -> Samples:
    """Something in which nobody says anything, from digital silence to a piece of music; often with a noise floor."""
    count = round(seconds * RATE)
    kinds: list[Callable[[np.random.Generator, int], Samples]]
    kinds = [_silence, _noise, _noise, hum, _telephone_tones, _keys, _clicks, _music, _breaths, _rising]
    sound = kinds[rng.integers(len(kinds))](rng, count) * _loudness(rng) / np.float32(3)
    if rng.random() < 0.4:
        sound = sound + _noise(rng, count) * _loudness(rng) / np.float32(10)
    clipped: Samples = np.clip(sound, -1, 1).astype(np.float32)
    return clipped


def _loudness(rng: np.random.Generator) -> np.float32:
    return np.float32(10 ** (rng.uniform(*_LOUDNESS_DB) / 20))


def _silence(rng: np.random.Generator, count: int) -> Samples:
    """True zeros, or the last bit now and then, as converters give it."""
    bit = np.float32(rng.choice([0, 1 / 32768]))
    return rng.integers(-1, 2, count).astype(np.float32) * bit


def _noise(rng: np.random.Generator, count: int) -> Samples:
    noise = coloured(rng, count, float(rng.uniform(-1.2, 0.5)))
    return noise * _swell(rng, count) if rng.random() < 0.5 else noise


def _swell(rng: np.random.Generator, count: int) -> Samples:
    """Slow rise and fall between 0.1 and 1, as of wind or passing cars."""
    points = np.linspace(0, count, max(2, count // RATE * 2 + 2))
    return np.interp(np.arange(count), points, rng.uniform(0.1, 1, len(points))).astype(np.float32)


def _tones(rng: np.random.Generator, count: int, frequencies: tuple[float, ...], *, falling: bool = False) -> Samples:
    seconds = np.arange(count, dtype=np.float32) / np.float32(RATE)
    sound = np.zeros(count, np.float32)
    for place, frequency in enumerate(frequencies, start=1):
        phase = np.float32(rng.uniform(0, 2 * np.pi))
        weight = np.float32(rng.uniform(0.2, 1) / place if falling else 1)
        sound += weight * np.sin(np.float32(2 * np.pi * frequency) * seconds + phase)
    return sound


def _telephone_tones(rng: np.random.Generator, count: int) -> Samples:
    """Free, busy or a beep: a tone that stays, or comes and goes."""
    tone = _tones(rng, count, DIAL[rng.integers(len(DIAL))] if rng.random() < 0.7 else (rng.uniform(300, 2500),))
    on, off = rng.choice([0.25, 0.5, 1.5]), rng.choice([0.0, 0.25, 0.5, 3.5])
    heard = np.arange(count) % round((on + off) * RATE) < on * RATE
    return np.where(heard, tone, np.float32(0))


def _keys(rng: np.random.Generator, count: int) -> Samples:
    """Keys of a telephone pressed one after the other."""
    sound, at = np.zeros(count, np.float32), 0
    while at < count:
        length = min(round(rng.uniform(0.06, 0.3) * RATE), count - at)
        sound[at : at + length] = _tones(rng, length, (float(rng.choice(DTMF[0])), float(rng.choice(DTMF[1]))))
        at += length + round(rng.uniform(0.05, 0.6) * RATE)
    return sound


def _clicks(rng: np.random.Generator, count: int) -> Samples:
    """Knocks, keyboards, crackling."""
    sound = np.zeros(count, np.float32)
    for at in rng.integers(0, max(1, count), rng.integers(1, 4 + 6 * count // RATE)):
        length = int(min(rng.integers(8, 1500), count - at))
        decay = np.exp(-np.linspace(0, 6, length, dtype=np.float32))
        sound[at : at + length] += 3 * decay * rng.standard_normal(length, dtype=np.float32)
    return sound


def _music(rng: np.random.Generator, count: int) -> Samples:
    """Chords, one after the other, each dying away."""
    sound, at, beat = np.zeros(count, np.float32), 0, rng.uniform(0.25, 1.2)
    while at < count:
        length = min(round(beat * rng.choice([1, 2, 4]) * RATE), count - at)
        root = 110 * 2 ** (rng.integers(0, 25) / 12)
        third = 2 ** (rng.choice([3, 4]) / 12)
        chord = tuple(root * step * octave for step in (1, third, 1.5) for octave in (1, 2))
        dying = np.exp(-np.linspace(0, rng.uniform(0.5, 5), length, dtype=np.float32))
        sound[at : at + length] = _tones(rng, length, chord, falling=True) * dying
        at += length
    return sound


def _breaths(rng: np.random.Generator, count: int) -> Samples:
    """Bursts of hiss that rise and fall, some seconds apart."""
    hiss, sound, at = coloured(rng, count, -0.3), np.zeros(count, np.float32), round(rng.uniform(0, 1) * RATE)
    while at < count:
        length = min(round(rng.uniform(0.2, 1.2) * RATE), count - at)
        sound[at : at + length] = hiss[at : at + length] * np.sin(np.linspace(0, np.pi, length, dtype=np.float32)) ** 2
        at += length + round(rng.uniform(0.5, 2.5) * RATE)
    return sound


def _rising(rng: np.random.Generator, count: int) -> Samples:
    """A tone that glides, as of a siren or a motor."""
    start, end = rng.uniform(60, 1500, 2)
    frequency = np.interp(np.arange(count) % max(1, round(rng.uniform(0.5, 4) * RATE)), (0, 2 * RATE), (start, end))
    return np.sin(np.cumsum(frequency) * (2 * np.pi / RATE)).astype(np.float32)
