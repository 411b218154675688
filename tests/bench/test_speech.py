"""Speech of any length comes out of a few recordings."""

import wave
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stt_server.bench.speech import SAMPLES, cut, join, write
from stt_server.speech.audio import decode
from stt_server.types import SAMPLE_RATE

LOOP = np.arange(3 * SAMPLE_RATE, dtype=np.int64).astype(np.int16)


@given(st.floats(0.001, 20), st.floats(0, 50))
def test_a_cut_is_as_long_as_asked_and_goes_round(seconds: float, start: float) -> None:
    """Every sample is the one that follows, the first one after the last."""
    piece = cut(LOOP, seconds, start=start)
    assert len(piece) == round(seconds * SAMPLE_RATE)
    first = round(start * SAMPLE_RATE)
    assert np.array_equal(piece, LOOP[(first + np.arange(len(piece))) % len(LOOP)])


def test_recordings_are_joined_whole_with_pauses() -> None:
    """At 16 kHz, whatever rate they have, each followed by quiet."""
    file = SAMPLES / "voicemail.wav"
    speech = join([file, file])
    with wave.open(str(file)) as recorded:
        seconds = recorded.getnframes() / recorded.getframerate()
    assert len(speech) == 2 * (round(seconds * SAMPLE_RATE) + round(0.4 * SAMPLE_RATE))
    assert not speech[-1000:].any()


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """Bit by bit."""
    path = write(tmp_path / "clip.wav", LOOP)
    assert np.array_equal(np.concatenate(list(decode(path, "wav", max_duration=10))), LOOP)
