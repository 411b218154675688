"""Speech in surroundings, noises, and the telephone."""

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from training.augmentation import augment, non_speech, telephone
from training.corpus import RATE, Samples
from training.telephone import Law, _law

SEEDS = st.integers(0, 2**32 - 1)


def tone(seconds: float, frequency: float = 440.0) -> Samples:
    moments = np.arange(round(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * frequency * moments)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, seconds=st.floats(0.2, 4), line=st.sampled_from([None, True, False]))
def test_what_is_heard_is_finite_and_in_range(seed: int, seconds: float, line: bool | None) -> None:
    """Whatever the surroundings, samples stay what the format can hold, and marks stay inside, in their order."""
    heard, moved = augment(tone(seconds), np.random.default_rng(seed), telephone=line, others=[tone(0.3, 200)])
    assert heard.dtype == np.float32
    assert np.isfinite(heard).all()
    assert np.abs(heard).max() <= 1.2  # a filter overshoots; the writer clips
    assert 0 <= moved(0) < moved(seconds) <= len(heard) / RATE + 1e-3


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_marks_move_with_the_sound(seed: int) -> None:
    """A click is heard where its mark has moved to."""
    click, at = np.zeros(2 * RATE, np.float32), 1.2
    click[round(at * RATE)] = 0.6
    heard, moved = augment(click, np.random.default_rng(seed), telephone=False)
    # A click alone has so little power that the noise, relative to it, is faint too. 3 ms: the resampler's ripple.
    assert abs(np.argmax(np.abs(heard)) / RATE - moved(at)) < 0.003


def test_the_same_seed_gives_the_same_sound() -> None:
    """Training can be repeated."""
    first, _ = augment(tone(1), np.random.default_rng(3))
    again, _ = augment(tone(1), np.random.default_rng(3))
    assert (first == again).all()


@settings(max_examples=80, deadline=None)
@given(seed=SEEDS, seconds=st.floats(0.05, 5))
def test_non_speech_has_its_length_and_range(seed: int, seconds: float) -> None:
    """Every kind of noise fits where it is put."""
    sound = non_speech(np.random.default_rng(seed), seconds)
    assert len(sound) == round(seconds * RATE)
    assert sound.dtype == np.float32
    assert np.abs(sound).max(initial=0) <= 1


@pytest.mark.parametrize(("law", "subtype"), [("mu", "ULAW"), ("a", "ALAW")])
def test_the_laws_are_those_of_libsndfile(law: Law, subtype: str) -> None:
    """All 65,536 samples come out of the codec as they come out of libsndfile's.

    One step of tolerance: encoders differ in the side to which they round, and that only at a step's edge.
    """
    every = np.arange(-32_768, 32_768).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, every, 8_000, format="WAV", subtype=subtype)
    file.seek(0)
    theirs, _ = soundfile.read(file, dtype="int16")
    ours = np.rint(_law(law, 0)[every.view(np.uint16)] * 32_768)
    step = 2 ** np.maximum(np.floor(np.log2(np.abs(every.astype(float)) + 132)) - 3, 3)
    assert (np.abs(ours - theirs) <= step).all()
    assert np.mean(ours == theirs) > 0.85


def test_a_telephone_keeps_the_voice_and_drops_what_is_above_4_khz() -> None:
    """440 Hz passes within 1 dB; 6 kHz does not pass at all. The length is kept to the sample."""
    low, high = telephone(tone(1)), telephone(tone(1, 6_000))
    assert len(low) == RATE
    assert abs(20 * np.log10(np.std(low) / np.std(tone(1)))) < 1
    assert np.std(high) < 0.01


def test_a_bad_line_is_worse() -> None:
    """Each lost bit adds noise of 6 dB."""
    clean = tone(1)
    noise = [float(np.std(telephone(clean, "mu", bits) - clean)) for bits in (0, 1, 2)]
    assert noise[0] < noise[1] < noise[2]
