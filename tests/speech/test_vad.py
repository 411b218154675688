"""Speech is found in real recordings, and nothing is found in noise."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stt_server.speech.chunking import PAD_AFTER, PAD_BEFORE
from stt_server.speech.vad import CHUNK, PIECE_CHUNKS, SpeechDetector
from stt_server.types import SAMPLE_RATE, Span
from tests.assets import ASSETS, needs_assets
from tests.speech.clips import Samples, clip_names, read_clip, silence


def detect(samples: Samples, block: int = SAMPLE_RATE) -> list[Span]:
    """All of a recording, fed block by block."""
    detector = SpeechDetector()
    spans = [span for at in range(0, len(samples), block) for span in detector.feed(samples[at : at + block])]
    return spans + detector.finish()


def uncovered(wanted: list[Span], found: list[Span]) -> float:
    """Seconds of the wanted speech that no found span covers, with the padding a window gets."""
    times = np.arange(0, max(span.end for span in wanted), 0.01)
    want, have = np.zeros(len(times), bool), np.zeros(len(times), bool)
    for span in wanted:
        want |= (times >= span.start) & (times < span.end)
    for span in found:
        have |= (times >= span.start - PAD_BEFORE) & (times < span.end + PAD_AFTER)
    return float((want & ~have).sum()) * 0.01


def pcm(signal: NDArray[np.float64]) -> Samples:
    return np.rint(np.clip(signal, -1, 1) * 32767).astype(np.int16)


# -- Speech ------------------------------------------------------------------------------------------


@needs_assets
def test_every_clip_has_speech() -> None:
    """No clip passes for silent: ten languages, telephone and studio, single digits of 0.3 s."""
    assert [name for name in clip_names() if not detect(read_clip(name, 8))] == []


@needs_assets
@pytest.mark.parametrize(
    "name", [name for name in clip_names() if name.startswith("digits/")] if ASSETS.is_dir() else []
)
def test_a_digit_alone_is_heard(name: str) -> None:
    """A recording of one word, shorter than half a second, yields one span around all that is loud in it."""
    clip = read_clip(name)
    spans = detect(clip)
    assert len(spans) == 1
    level = np.abs(clip.astype(float))
    loud = np.flatnonzero(level > level.max() / 4) / SAMPLE_RATE
    assert spans[0].start <= loud[0]
    assert spans[0].end >= loud[-1]


@needs_assets
def test_speech_lies_where_people_marked_it() -> None:
    """What listeners marked as speech in a conversation is found, but for 1 % of it."""
    rows = (ASSETS / "audio" / "diar" / "pyannote_sample.rttm").read_text().splitlines()
    turns = [Span(float(row.split()[3]), float(row.split()[3]) + float(row.split()[4])) for row in rows]
    found = detect(read_clip("diar/pyannote_sample.wav"))
    assert uncovered(turns, found) < 0.01 * sum(turn.duration for turn in turns)
    assert found[0].start > turns[0].start - 0.5, "the silence at the start is left out"


@needs_assets
@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        (lambda x: x * 15 / x.std(), 0.005),
        (lambda x: x * 10, 0.005),
        (lambda x: x + np.random.default_rng(1).normal(0, x.std() / 10 ** (5 / 20), len(x)), 0.01),
        (lambda x: np.sign(x) * np.exp(np.round(np.log1p(np.abs(x)) * 12) / 12), 0.005),
    ],
    ids=["at -67 dB", "20 dB louder, clipped", "noise at 5 dB", "companded"],
)
def test_bad_recordings_lose_no_speech(change: Callable[[NDArray[np.float64]], Samples], allowed: float) -> None:
    """What is found in a clip is found in a quiet, clipped, noisy or coarsely coded copy."""
    lost = total = 0.0
    for name in clip_names()[::6]:
        clip = read_clip(name, 10)
        good = detect(clip)
        bad = detect(pcm(change(clip.astype(np.float64)) / 32768))
        lost += uncovered(good, bad)
        total += sum(span.duration for span in good)
    assert lost < allowed * total


@needs_assets
def test_a_quiet_voice_after_a_loud_one_is_heard() -> None:
    """Two parties of a call may differ by 30 dB."""
    loud = read_clip("en/jfk_16k.wav")
    quiet = (loud / 31.6).astype(np.int16)
    both = detect(np.concatenate([loud, silence(1), quiet]))
    moved = [Span(span.start + 12, span.end + 12) for span in detect(loud)]
    assert uncovered(moved, both) < 0.1 * sum(span.duration for span in moved)


@needs_assets
def test_a_word_after_long_silence_is_heard() -> None:
    """Minutes of nothing before a word do not dull the detector, and cost no span."""
    word = read_clip("digits/7_george_0.wav")
    spans = detect(np.concatenate([silence(300), word, silence(120), word]))
    assert [round(span.start) for span in spans] == [300, 421]


@needs_assets
def test_the_last_word_is_heard_to_the_end() -> None:
    """A recording that breaks off inside a word has speech up to its last sample."""
    clip = read_clip("en/LJ001-0004.flac")
    for end in (1.0, 2.0, 2.5):
        assert detect(clip[: round(end * SAMPLE_RATE)])[-1].end == pytest.approx(end, abs=0.2)


# -- No speech ---------------------------------------------------------------------------------------

Signal = NDArray[np.float64]


def tones(*hertz: float) -> Signal:
    times = np.arange(60 * SAMPLE_RATE) / SAMPLE_RATE
    return np.sum([np.sin(2 * np.pi * each * times) for each in hertz], axis=0)  # type: ignore[no-any-return]


def noise(colour: float, decibels: float) -> Signal:
    """A power of 1 / frequency ** colour."""
    white = np.fft.rfft(np.random.default_rng(1).normal(0, 1, 60 * SAMPLE_RATE))
    signal = np.fft.irfft(white / np.maximum(1, np.arange(len(white))) ** (colour / 2))
    return signal / signal.std() * 10 ** (decibels / 20)  # type: ignore[no-any-return]


def every(period: float, on: float) -> Signal:
    return (np.arange(60 * SAMPLE_RATE) / SAMPLE_RATE % period < on).astype(np.float64)


NOISES: dict[str, Callable[[], Signal]] = {
    "digital silence": lambda: np.zeros(60 * SAMPLE_RATE),
    "hum": lambda: 0.01 * tones(50, 100, 150, 250, 350),
    "tone": lambda: 0.1 * tones(440),
    "dial tone": lambda: 0.05 * tones(350, 440),
    "ringing": lambda: 0.05 * tones(440, 480) * every(6, 2),
    "beeps": lambda: 0.2 * tones(1000) * every(1, 0.3),
    "clicks": lambda: 0.5 * every(0.5, 1 / SAMPLE_RATE),
    **{f"white noise {level} dB": partial(noise, 0, level) for level in (-70, -50, -30, -20)},
    **{f"pink noise {level} dB": partial(noise, 1, level) for level in (-70, -50, -30, -20)},
}


@pytest.mark.parametrize("name", NOISES)
def test_noise_is_not_speech(name: str) -> None:
    """A minute of noise yields no span: silence must cost nothing and say nothing."""
    assert detect(pcm(NOISES[name]())) == []


@pytest.mark.parametrize("count", [0, 1, 511, 512, 1600, 5000])
def test_very_short_recordings_are_fine(count: int) -> None:
    """Nothing, one sample, less than a chunk: no span, no crash."""
    assert detect(silence(1)[:count]) == []


# -- Streaming ---------------------------------------------------------------------------------------


@needs_assets
@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=12))
@settings(max_examples=15, deadline=None)
def test_blocks_may_be_of_any_size(sizes: list[int]) -> None:
    """However the samples come, the spans are the same, in order, apart, inside what has been fed."""
    clip = read_clip("en/one_two_three_44k.wav")
    detector = SpeechDetector()
    spans, fed = [], 0
    while fed < len(clip):
        size = sizes[fed % len(sizes)]
        ended = detector.feed(clip[fed : fed + size])
        fed = min(len(clip), fed + size)
        spans += ended
        assert detector.settled <= fed / SAMPLE_RATE
        assert all(span.end <= detector.settled for span in spans)
    spans += detector.finish()
    assert spans == detect(clip)
    assert all(a.end <= b.start for a, b in pairwise(spans))
    assert all(0 <= span.start < span.end <= len(clip) / SAMPLE_RATE for span in spans)


@needs_assets
def test_speech_without_a_pause_comes_in_pieces() -> None:
    """A minute of speech without a pause is handed over meanwhile, in touching pieces, parted where it is quiet."""
    clip = read_clip("long/voxpopuli-en-000.ogg")
    spoken = [clip[round(s.start * SAMPLE_RATE) : round(s.end * SAMPLE_RATE)] for s in detect(clip)]
    dense = np.concatenate(spoken)
    detector = SpeechDetector()
    pieces, waited = [], 0.0
    for at in range(0, len(dense), 4000):
        pieces += detector.feed(dense[at : at + 4000])
        waited = max(waited, (at + 4000) / SAMPLE_RATE - detector.settled)
    pieces += detector.finish()
    longest = PIECE_CHUNKS * CHUNK
    assert max(piece.duration for piece in pieces) <= longest
    assert waited <= longest + 2, "nobody waits longer than for a piece"
    seams = [a.end for a, b in pairwise(pieces) if a.end == b.start]
    assert seams, "this clip is meant to have no pauses left"
    level = np.abs(dense.astype(float))
    around = [level[round((at - 0.03) * SAMPLE_RATE) : round((at + 0.03) * SAMPLE_RATE)].mean() for at in seams]
    assert np.mean(around) < 0.3 * level.mean()
    assert uncovered([Span(pieces[0].start, pieces[-1].end)], pieces) < 1.0
