"""What every decoder does for the first time, done once, in the process that all of them are copied from.

Imported there alone, which is when it happens: a fork server can be told of nothing but modules. A child's first second
of audio then takes 9 ms instead of 15, as its libraries have filled their tables and the detector has its weights.
"""

import gc
import io
import wave
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np

from stt_server.jobs import decoding, reports
from stt_server.speech.transcribe import prepare

__all__ = ["decoding"]

_RATE = 44_100
_SECONDS = 1.5
"""Longer than what is listened to at a time."""


def rehearse() -> None:
    """Decode a little noise, listen to it, and report as a child does."""
    noise = np.random.default_rng(0).normal(0, 2000, int(_RATE * _SECONDS)).astype("<i2")
    with NamedTemporaryFile(suffix=".wav") as file:
        with wave.open(file.name, "wb") as sound:
            sound.setparams((1, 2, _RATE, 0, "NONE", ""))
            sound.writeframes(noise.tobytes())
        for item in prepare(Path(file.name), "wav", io.BytesIO(), max_duration=2 * _SECONDS):
            reports.dump(item)


with suppress(Exception):  # what does not work will fail where it is needed, and say so
    rehearse()
gc.freeze()  # a collection marks what it looks at, and each page that is marked is copied
