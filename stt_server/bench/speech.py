"""Speech of any length: recordings one after the other, over and over."""

import wave
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_server.speech.audio import decode
from stt_server.speech.sniff import SNIFF_BYTES, sniff
from stt_server.types import SAMPLE_RATE

PCM = NDArray[np.int16]
"""16 kHz mono."""

_PAUSE_SECS = 0.4
_LONGEST = 3600.0


def _samples_folder() -> Path:
    packed = Path(__file__).parents[1] / "_samples"
    return packed if packed.is_dir() else Path(__file__).parents[2] / "samples"


SAMPLES = _samples_folder()
"""Those that come with the program: package data of a wheel, `samples` of a checkout."""


def join(files: Iterable[Path]) -> PCM:
    """All of them in turn, a pause after each. Raises `BadAudio`."""
    pause = np.zeros(round(_PAUSE_SECS * SAMPLE_RATE), np.int16)
    return np.concatenate([part for file in files for part in (*_read(file), pause)])


def _read(path: Path) -> Iterable[PCM]:
    with path.open("rb") as file:
        container = sniff(file.read(SNIFF_BYTES), path.name)
    return decode(path, container, max_duration=_LONGEST)


def cut(speech: PCM, seconds: float, *, start: float = 0.0) -> PCM:
    """So many seconds from some second on; after its end the speech begins again."""
    first, wanted = round(start * SAMPLE_RATE) % len(speech), round(seconds * SAMPLE_RATE)
    return np.tile(speech, -(-(first + wanted) // len(speech)))[first : first + wanted]


def write(path: Path, pcm: PCM) -> Path:
    """As a WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(pcm.astype("<i2").tobytes())
    return path
