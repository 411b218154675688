"""Audio files made for the tests: honest ones in any format, and ones that no honest recorder writes."""

import io
import struct
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

TONE_HZ = 440.0


def tone(seconds: float, rate: int, hertz: float = TONE_HZ, level: float = 0.5) -> NDArray[np.float32]:
    """A sine."""
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def pcm16(samples: NDArray[Any]) -> bytes:
    """Samples in [-1, 1] -> little-endian PCM16."""
    return (samples * 32767).astype("<i2").tobytes()


def ffmpeg(muxer: str, codec: str, rate: int, seconds: float = 2.0) -> bytes:
    """A mono tone, as FFmpeg writes it."""
    out = io.BytesIO()
    with av.open(out, "w", format=muxer) as opened:
        stream: Any = opened.add_stream(codec, rate=rate, layout="mono")
        resampler = av.AudioResampler(stream.format.name, "mono", rate, stream.frame_size or None)
        for piece in (*resampler.resample(_frame(seconds, rate)), *resampler.resample(None), None):
            opened.mux(stream.encode(piece))
    return out.getvalue()


def film(muxer: str, codec: str, seconds: int = 2, tracks: int = 1) -> bytes:
    """A video track first, and a tone beside it, in so many tracks."""
    out = io.BytesIO()
    with av.open(out, "w", format=muxer) as opened:
        video: Any = opened.add_stream("mpeg4", rate=10, width=64, height=48, pix_fmt="yuv420p")
        audios: list[Any] = [opened.add_stream(codec, rate=16_000, layout="mono") for _ in range(tracks)]
        for i in range(seconds * 10):
            picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            picture.pts = i
            opened.mux(video.encode(picture))
        for audio in audios:
            opened.mux(audio.encode(_frame(seconds, 16_000)))
        for stream in (video, *audios):
            opened.mux(stream.encode(None))
    return out.getvalue()


def _frame(seconds: float, rate: int) -> av.AudioFrame:
    samples = np.frombuffer(pcm16(tone(seconds, rate)), np.int16)
    frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts = rate, 0
    return frame


def sndfile(samples: NDArray[Any], rate: int, kind: str, subtype: str, endian: str = "FILE") -> bytes:
    """What libsndfile writes."""
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=kind, subtype=subtype, endian=endian)
    return out.getvalue()


def wav(
    data: bytes,
    *,
    tag: int = 1,
    channels: int = 1,
    rate: int = 16_000,
    bits: int = 16,
    block: int | None = None,
    extra: bytes = b"",
    claimed: int | None = None,
    before: bytes = b"",
) -> bytes:
    """A WAV file with any lie in its header; `claimed` stands for the size of its data."""
    block = channels * bits // 8 if block is None else block
    fmt = struct.pack("<HHIIHH", tag, channels, rate, rate * block & 0xFFFFFFFF, block, bits) + extra
    size = len(data) if claimed is None else claimed
    body = b"WAVE" + chunk(b"fmt ", fmt) + before + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", min(len(body), 0xFFFFFFFF)) + body


def chunk(name: bytes, data: bytes, claimed: int | None = None) -> bytes:
    """One chunk of a RIFF file."""
    return name + struct.pack("<I", len(data) if claimed is None else claimed) + data


def extensible(valid_bits: int, channels: int) -> bytes:
    """The tail of a WAVEFORMATEXTENSIBLE header, for PCM."""
    guid = bytes.fromhex("0100000000001000800000aa00389b71")
    return struct.pack("<HHI", 22, valid_bits, (1 << channels) - 1) + guid


def id3(length: int) -> bytes:
    """An ID3 tag of so many bytes in all, holding nothing."""
    size = length - 10
    return b"ID3\4\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(size)


def silent_flac(seconds: int, rate: int = 16_000, channels: int = 1) -> bytes:
    """FLAC at its smallest: 14 bytes for 65,535 samples of silence."""
    block = 65_535
    info = struct.pack(">HH", block, block) + bytes(6)
    info += ((rate << 44) | (channels - 1) << 41 | 15 << 36).to_bytes(8, "big") + bytes(16)
    frames = range(-(-seconds * rate // block))
    return b"fLaC\x80\0\0\x22" + info + b"".join(_silent_frame(n, block, channels) for n in frames)


def _silent_frame(number: int, block: int, channels: int) -> bytes:
    header = b"\xff\xf8\x70" + bytes([channels - 1 << 4]) + _coded(number) + struct.pack(">H", block - 1)
    header += bytes([_crc(header, 8, 0x07)])
    frame = header + bytes(3 * channels)  # a constant of 0, 16 bits, for each channel
    return frame + struct.pack(">H", _crc(frame, 16, 0x8005))


def _coded(number: int) -> bytes:
    """FLAC numbers its frames the way UTF-8 numbers letters."""
    return chr(number).encode()


def _crc(data: bytes, width: int, polynomial: int) -> int:
    crc, top, mask = 0, 1 << width - 1, (1 << width) - 1
    for byte in data:
        crc ^= byte << width - 8
        for _ in range(8):
            crc = (crc << 1 ^ polynomial if crc & top else crc << 1) & mask
    return crc
