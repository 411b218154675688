"""The two decoders, FFmpeg and libsndfile: an open file of a known container -> blocks of sound as it was stored."""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any, BinaryIO

import av
import av.stream
import numpy as np
from numpy.typing import NDArray

from stt_server.errors import BadAudio
from stt_server.speech.sniff import Container

MIN_RATE, MAX_RATE = 4_000, 192_000
"""Hz. A header that says 1 Hz turns 32 kB into hours of sound; 655 kHz in 8 channels turns 3 MB of FLAC into 75 GB."""
MAX_CHANNELS = 8
BLOCK_FRAMES = 32_768
"""Codec frames are gathered to about so many samples: what numpy costs, it costs by the call."""

_DECODERS = frozenset(
    """
    aac aac_latm ac3 eac3 dca mlp truehd alac als flac tta wavpack vorbis opus speex
    mp1 mp1float mp2 mp2float mp3 mp3float amrnb amrwb gsm gsm_ms
    g722 g726 g726le g723_1 g729 ilbc qcelp evrc truespeech nellymoser mace3 mace6 qdm2
    adpcm_ms adpcm_ima_wav adpcm_ima_qt adpcm_swf adpcm_yamaha wmav1 wmav2 wmapro wmalossless wmavoice
    """.split()  # noqa: SIM905 -- one line a family reads better
) | frozenset(name for name in av.codecs_available if name.startswith("pcm_"))
"""What recorders, telephones and films use. The other hundreds that FFmpeg knows, and all of video, stay shut."""

_SHUT = {"codec_whitelist": ",".join(sorted(_DECODERS)), "protocol_whitelist": ""}
"""Also keeps FFmpeg from decoding the video of a film only to see its size (8 ms), and from opening other files."""

_MISREAD = "pcm_f24le"
"""FFmpeg takes 24 bits in 4 bytes for one program's floats of long ago; today it is how sound cards store PCM."""

_FAILURES = (av.FFmpegError, MemoryError, ValueError)
"""How PyAV says that bytes make no sense, or ask for more memory than there is."""


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A block of sound as a file holds it."""

    samples: NDArray[Any]
    """Shape (channels, n); uint8, signed integers or floats, each to the full scale of its type."""
    rate: int
    """Hz."""


def read(file: BinaryIO, container: Container) -> Iterator[Sound]:
    """Blocks of the first audio track that can be decoded, to its end or to where it breaks off.

    Raises `BadAudio` if there is none, or if it claims to be what no recorder makes.
    """
    try:
        yield from _read_sndfile(file) if container.demuxer is None else _read_ffmpeg(file, container)
    except _FAILURES as error:
        raise BadAudio from error


def _read_ffmpeg(file: BinaryIO, container: Container) -> Iterator[Sound]:
    with av.open(
        _Nameless(file),
        mode="r",
        format=container.demuxer,
        options={**_SHUT, **container.options},
        metadata_errors="ignore",  # tags in Latin-1 are common
    ) as opened:
        stream = _pick(opened)
        if stream.codec_context.name == _MISREAD:
            yield from _read_sndfile(file)
        else:
            yield from _gather(_frames(opened, stream))


class _Nameless:
    """A file without its name, so that FFmpeg can make nothing of it; and no place in it is an error."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.tell, self._seek = file.read, file.tell, file.seek

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, or say no as FFmpeg expects it: damaged ASF asks for places before the beginning."""
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError):
            return -errno.EINVAL


def _pick(opened: Any) -> Any:
    streams = [s for s in opened.streams.audio if s.codec_context and s.codec_context.name in _DECODERS]
    if not streams:
        raise BadAudio("The file has no audio track that can be decoded.")
    for other in opened.streams:
        if other is not streams[0]:
            other.discard = av.stream.Discard.all
    streams[0].codec_context.thread_count = 1
    return streams[0]


def _frames(opened: Any, stream: Any) -> Iterator[Any]:
    """Decode packet by packet: a damaged one is left out, a file that breaks off ends there."""
    for packet in _packets(opened, stream):
        try:
            yield from stream.codec_context.decode(packet)
        except _FAILURES:
            continue


def _packets(opened: Any, stream: Any) -> Iterator[Any]:
    # IndexError is PyAV's, at the end of a file in which a track has turned up late.
    with suppress(*_FAILURES, IndexError):
        yield from opened.demux(stream)


def _gather(frames: Iterator[Any]) -> Iterator[Sound]:
    for (rate, channels, _), alike in groupby(frames, key=_shape):
        _check(rate, channels)
        for batch in _batches(alike):
            arrays = [frame.to_ndarray() for frame in batch]
            samples = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=1)
            planar = batch[0].format.is_planar
            yield Sound(samples if planar else samples.reshape(-1, channels).T, rate)


def _shape(frame: Any) -> tuple[int, int, str]:
    return frame.sample_rate, frame.layout.nb_channels, frame.format.name


def _batches(frames: Iterator[Any]) -> Iterator[list[Any]]:
    batch: list[Any] = []
    count = 0
    for frame in frames:
        batch.append(frame)
        count += frame.samples
        if count >= BLOCK_FRAMES:
            yield batch
            batch, count = [], 0
    if batch:
        yield batch


def _check(rate: int, channels: int) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise BadAudio(f"A sample rate of {rate} Hz is not supported; {MIN_RATE} to {MAX_RATE} Hz are.")
    if not 1 <= channels <= MAX_CHANNELS:
        raise BadAudio(f"{channels} channels are not supported; 1 to {MAX_CHANNELS} are.")


def _read_sndfile(file: BinaryIO) -> Iterator[Sound]:
    import soundfile  # 30 ms that few files need

    file.seek(0)
    try:
        with soundfile.SoundFile(file) as opened:
            _check(opened.samplerate, opened.channels)
            while len(samples := opened.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
                yield Sound(samples.T, opened.samplerate)
    except soundfile.SoundFileError as error:
        raise BadAudio from error
