"""Any bytes a user has -> 16 kHz mono PCM16, block by block, in flat memory; and windows out of it.

Neither names nor headers are believed: the container is sniffed, the length is what was decoded.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soxr
from numpy.typing import NDArray

from stt_server.errors import AudioTooLong, AudioTooShort, BadAudio
from stt_server.speech.readers import Sound, read
from stt_server.speech.sniff import CONTAINERS, SNIFF_BYTES, id3_length, sniff
from stt_server.types import SAMPLE_RATE, Audio, Span

MIN_DURATION = 0.1
"""Seconds. OpenAI refuses less too."""

_PCM = np.dtype("<i2")
_FULL_SCALE = 32_768
_CANCELLED = 0.01
"""A mix with less than this part of its channels' power: one channel is the other upside down."""
_JUDGED_EVERY = 7
"""Samples. A power needs no more."""


def decode(path: Path, container: str, *, max_duration: float) -> Iterator[NDArray[np.int16]]:
    """Decode a file into blocks of about a second, 16 kHz mono.

    A recording that breaks off gives what it holds. Raises `BadAudio` if that is nothing, `AudioTooShort` at the
    end, `AudioTooLong` as soon as `max_duration` seconds are passed.
    """
    produced = 0
    with path.open("rb") as file:
        kind = CONTAINERS[_behind_tag(file, container)]
        for samples in _resample(read(file, kind)):
            produced += len(samples)
            if produced > max_duration * SAMPLE_RATE:
                raise AudioTooLong(f"The audio is longer than the {max_duration:g} seconds accepted here.")
            if len(samples):
                yield _to_pcm16(samples)
    if not produced:
        raise BadAudio
    if produced < MIN_DURATION * SAMPLE_RATE:
        raise AudioTooShort(param="file")


def read_window(pcm: Path, span: Span) -> Audio:
    """Read a stretch of a raw file of 16 kHz mono PCM16, little-endian."""
    first, last = round(span.start * SAMPLE_RATE), round(span.end * SAMPLE_RATE)
    samples = np.fromfile(pcm, _PCM, count=last - first, offset=first * _PCM.itemsize)
    return Audio(_to_float(samples), span.start)


def _behind_tag(file: BinaryIO, container: str) -> str:
    """What an ID3 tag too long to be looked behind when sniffing (a cover picture) really stands before."""
    if container == "mp3" and (length := id3_length(file.read(10))):
        file.seek(length)
        with suppress(BadAudio):
            container = sniff(file.read(SNIFF_BYTES))
    file.seek(0)
    return container


def _resample(sounds: Iterator[Sound]) -> Iterator[NDArray[np.float32]]:
    """Bring each stretch of one rate to ours; a rate may change on the way."""
    rate, stream = SAMPLE_RATE, None
    for sound in sounds:
        if sound.rate != rate:
            if stream:
                yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
            rate = sound.rate
            stream = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1)
        channels = _to_float(sound.samples)
        mono = _mix(channels) if len(channels) > 1 else channels[0]
        yield stream.resample_chunk(mono) if stream else mono
    if stream:
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _to_float(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Any sample type -> float32 in [-1, 1], without NaN."""
    if samples.dtype.kind == "f":
        return np.asarray(np.nan_to_num(np.clip(samples, -1, 1)), np.float32)
    floats = samples.astype(np.float32)
    if samples.dtype.kind == "u":  # bytes, around 128
        floats -= 128
    floats *= 2.0 ** (1 - 8 * samples.itemsize)
    return floats


def _mix(channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(channels, n) -> the mean of all channels; the loudest one where the mean cancels itself out."""
    # As a product, and judged by a few samples: eight channels at 192 kHz cost a third of what each at a time costs.
    mono: NDArray[np.float32] = np.full(len(channels), 1 / len(channels), np.float32) @ channels
    judged, mean = channels[:, ::_JUDGED_EVERY], mono[::_JUDGED_EVERY]
    powers = np.einsum("ij,ij->i", judged, judged)
    if mean @ mean < _CANCELLED * powers.max() / len(channels):
        mono = channels[int(powers.argmax())]
    return mono


def _to_pcm16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    scaled = np.rint(samples * _FULL_SCALE)
    return np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
