"""Real speech for the tests of this folder, read by other means than our own decoder."""

import csv
import wave
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from stt_server.types import SAMPLE_RATE
from tests.assets import ASSETS

Samples = NDArray[np.int16]


def clip_names() -> list[str]:
    """Every clip of the assets, for `read_clip`."""
    with (ASSETS / "audio" / "manifest.tsv").open(encoding="utf-8") as table:
        return [row["file"] for row in csv.DictReader(table, delimiter="\t")]


def read_clip(name: str, seconds: float | None = None) -> Samples:
    """A clip of the assets, or its beginning, as 16 kHz mono."""
    return read_audio(ASSETS / "audio" / name, seconds)


def read_audio(path: Path, seconds: float | None = None) -> Samples:
    """Any file as 16 kHz mono."""
    with av.open(str(path), metadata_errors="ignore") as file:
        resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
        decoded = takewhile(lambda frame: seconds is None or (frame.time or 0) < seconds, file.decode(audio=0))
        frames = [f for frame in decoded for f in resampler.resample(frame)] + resampler.resample(None)
    samples = np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.int16)
    return samples if seconds is None else samples[: round(seconds * SAMPLE_RATE)]


def silence(seconds: float) -> Samples:
    """So much of nothing."""
    return np.zeros(round(seconds * SAMPLE_RATE), np.int16)


def write_wav(path: Path, parts: Iterable[Samples]) -> float:
    """The parts one after the other as a file of 16 kHz; how many seconds that makes."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        for part in parts:
            file.writeframes(part.astype("<i2").tobytes())
        return file.getnframes() / SAMPLE_RATE
