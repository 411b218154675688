"""Samples into speech spans, while they arrive.

Losing speech is the worst fault here, computing some silence the cheaper one. The constants were chosen on 95 clips
(23 minutes, ten languages, telephone and studio, single digits of 0.3 s): what they leave out of a clip is breath and
handling noise; white noise at 5 dB takes 0.4 % of the speech away, a level of 15 units of 16 bits 0.2 %. Minutes of
noise, hum, tones and silence give no span.
"""

import math
from collections.abc import Iterable
from copy import copy
from functools import cache

import numpy as np
from numpy.typing import NDArray

from stt_server.speech.silero import CHUNK_SAMPLES, Silero
from stt_server.types import SAMPLE_RATE, Span

CHUNK = CHUNK_SAMPLES / SAMPLE_RATE
"""Seconds judged at a time."""
BEGIN = 0.4
"""Probability at which speech begins."""
GO_ON = 0.25
"""Probability at which it goes on."""
CERTAIN = 0.7
"""Probability that a span must reach once. The network needs half a second to settle: on noise it starts with up to
0.66, while each digit of the clips reaches 0.98."""
MIN_SPEECH_CHUNKS = 3
MIN_SILENCE_CHUNKS = 6
"""0.19 s: shorter silences are closures inside words as often as pauses between them."""
PIECE_CHUNKS = 312
"""10 s of speech without a pause are handed over in pieces, so that nobody waits for the end of a long one."""

LISTEN_CHUNKS = 32
"""Chunks amplified and judged together, about a second."""
LOUDNESS = 0.1
"""Root mean square that the loudest chunk of late is brought up to. The network hears little of quiet voices: 45 dB
down it misses a quarter of the speech as it is, next to nothing amplified."""
MAX_GAIN = 100.0
FORGET = 0.6
"""What remains of the loudness after each `LISTEN_CHUNKS`: a quiet voice soon after a loud one is heard too."""
SETTLE_CHUNKS = 16
"""Silence shown to the network before the recording, so that a word at once is heard from its beginning: digits
reach 0.98, without it 0.82."""

Chunks = tuple[int, int]


class SpeechDetector:
    """Finds speech in one recording. Make a new one for each."""

    def __init__(self) -> None:
        self._silero = copy(_settled())
        self._tracker = _Tracker()
        self._waiting = np.zeros(0, np.int16)
        self._samples = 0
        self._loudness = 0.0

    @property
    def settled(self) -> float:
        """Time up to which all speech has been handed over."""
        return self._tracker.settled * CHUNK

    def feed(self, samples: NDArray[np.int16]) -> list[Span]:
        """Take the next samples; the speech spans that have ended since, tight around the speech.

        Speech that goes on and on comes in pieces that touch, parted where it was least like speech.
        """
        self._samples += len(samples)
        waiting = np.concatenate([self._waiting, samples])
        size = LISTEN_CHUNKS * CHUNK_SAMPLES
        whole = len(waiting) - len(waiting) % size
        self._waiting = waiting[whole:].copy()
        return [span for at in range(0, whole, size) for span in self._listen(waiting[at : at + size])]

    def finish(self) -> list[Span]:
        """The recording has ended: what remains."""
        padding = -len(self._waiting) % CHUNK_SAMPLES
        spans = list(self._listen(np.pad(self._waiting, (0, padding)))) if len(self._waiting) else []
        return spans + list(self._spans(self._tracker.finish()))

    def _listen(self, samples: NDArray[np.int16]) -> Iterable[Span]:
        chunks = samples.astype(np.float32).reshape(-1, CHUNK_SAMPLES) / np.float32(32768)
        loudness = np.sqrt(np.mean(chunks**2, axis=1))
        self._loudness = max(float(loudness.max()), self._loudness * FORGET)
        gain = min(MAX_GAIN, max(1.0, LOUDNESS / max(self._loudness, 1e-9)))
        probabilities = self._silero.probabilities(np.clip(chunks * np.float32(gain), -1, 1).ravel())
        for probability, level in zip(probabilities.tolist(), loudness.tolist(), strict=True):
            yield from self._spans(self._tracker.hear(probability, level))

    def _spans(self, chunks: Chunks | None) -> Iterable[Span]:
        if chunks:
            duration = self._samples / SAMPLE_RATE
            yield Span(chunks[0] * CHUNK, min(chunks[1] * CHUNK, duration))


@cache
def _settled() -> Silero:
    """The network as every recording finds it."""
    silero = Silero()
    silero.probabilities(np.zeros(SETTLE_CHUNKS * CHUNK_SAMPLES, np.float32))
    return silero


class _Tracker:
    """Probabilities into spans, counted in chunks: the hysteresis and the limits on lengths."""

    def __init__(self) -> None:
        self._heard = 0
        self._begin: int | None = None
        self._last = 0
        """End of the last chunk that was like speech."""
        self._certain = False
        self._weights: list[float] = []
        """How much like speech each chunk since `_begin` was."""

    @property
    def settled(self) -> int:
        return self._heard if self._begin is None else self._begin

    def hear(self, probability: float, level: float) -> Chunks | None:
        if self._begin is None and probability >= BEGIN:
            self._begin, self._certain, self._weights = self._heard, False, []
        self._heard += 1
        if self._begin is None:
            return None
        # Where the network is sure throughout, the quietest place parts best: a word less or a breath.
        self._weights.append(20 * math.log10(level + 1e-5) + 20 * probability)
        self._certain = self._certain or probability >= CERTAIN
        if probability >= GO_ON:
            self._last = self._heard
        if self._heard - self._last >= MIN_SILENCE_CHUNKS:
            return self.finish()
        return self._part(self._begin) if self._heard - self._begin >= PIECE_CHUNKS else None

    def finish(self) -> Chunks | None:
        """End the span that is open."""
        begin, self._begin = self._begin, None
        if begin is None or not self._certain or self._last - begin < MIN_SPEECH_CHUNKS:
            return None
        return begin, self._last

    def _part(self, begin: int) -> Chunks | None:
        """Hand over the first piece of a long span."""
        smooth = np.convolve(self._weights, np.ones(3), "same")
        # Neither the first half nor the last half second.
        middle = range(PIECE_CHUNKS // 2, PIECE_CHUNKS - 16)
        weakest = min(middle, key=lambda index: float(smooth[index]))
        self._begin, self._weights = begin + weakest, self._weights[weakest:]
        return (begin, begin + weakest) if self._certain else None
