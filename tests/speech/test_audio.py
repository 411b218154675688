"""Any bytes a user has -> 16 kHz mono PCM16."""

import errno
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stt_server.errors import AudioTooLong, AudioTooShort, BadAudio, SttError
from stt_server.speech.audio import decode, read_window
from stt_server.speech.readers import read
from stt_server.speech.sniff import SNIFF_BYTES, Container, sniff
from stt_server.types import SAMPLE_RATE, Span
from tests.speech import craft

HOUR = 3600.0


def heard(path: Path, data: bytes, filename: str | None = None, max_duration: float = HOUR) -> NDArray[np.int16]:
    """All samples of a file."""
    path.write_bytes(data)
    container = sniff(data[:SNIFF_BYTES], filename)
    return np.concatenate(list(decode(path, container, max_duration=max_duration)))


def pitch(samples: NDArray[np.int16]) -> float:
    """Hz of the loudest tone."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * SAMPLE_RATE / len(samples))


def level(samples: NDArray[np.int16]) -> float:
    """Peak of the middle, [0, 1]."""
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    return float(np.abs(middle.astype(np.float64)).max() / 32768)


def assert_tone(samples: NDArray[np.int16], seconds: float, slack: float, loud: float = 0.5) -> None:
    """A 440 Hz tone of that length and level."""
    assert samples.dtype == np.int16
    assert len(samples) / SAMPLE_RATE == pytest.approx(seconds, abs=slack)
    assert pitch(samples) == pytest.approx(craft.TONE_HZ, abs=1)
    assert level(samples) == pytest.approx(loud, abs=0.06)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A name that tells nothing."""
    return tmp_path / "spooled.audio"


# -- Every format ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("muxer", "codec", "rate"),
    [
        ("wav", "pcm_s16le", 8_000),
        ("wav", "pcm_s16le", 16_000),
        ("wav", "pcm_s24le", 48_000),
        ("wav", "pcm_f32le", 44_100),
        ("wav", "pcm_f64le", 22_050),
        ("wav", "pcm_u8", 11_025),
        ("wav", "pcm_mulaw", 8_000),
        ("wav", "pcm_alaw", 8_000),
        ("wav", "g722", 16_000),
        ("flac", "flac", 96_000),
        ("ogg", "libopus", 48_000),
        ("ogg", "flac", 16_000),
        ("mp3", "libmp3lame", 44_100),
        ("webm", "libopus", 48_000),
        ("matroska", "pcm_s16le", 16_000),
        ("mov", "pcm_s16le", 16_000),
        ("ipod", "alac", 16_000),
        ("aiff", "pcm_s16be", 16_000),
        ("aiff", "pcm_f32be", 192_000),
        ("caf", "pcm_s16be", 16_000),
        ("au", "pcm_mulaw", 8_000),
        ("avi", "pcm_s16le", 16_000),
    ],
)
def test_exact_formats(path: Path, muxer: str, codec: str, rate: int) -> None:
    """Where a format keeps the length, so do we, to the sample or two that resampling rounds."""
    assert_tone(heard(path, craft.ffmpeg(muxer, codec, rate)), 2.0, 2 / SAMPLE_RATE)


@pytest.mark.parametrize(
    ("muxer", "codec", "rate"),
    [
        ("mp4", "aac", 44_100),
        ("adts", "aac", 44_100),
        ("3gp", "aac", 16_000),
        ("3gp", "libopencore_amrnb", 8_000),
        ("amr", "libopencore_amrnb", 8_000),
        ("mp2", "mp2", 44_100),
        ("wav", "libmp3lame", 16_000),
        ("wav", "adpcm_ms", 8_000),
        ("wav", "adpcm_ima_wav", 8_000),
        ("asf", "mp2", 44_100),
        ("mpegts", "aac", 44_100),
        ("mpegts", "mp2", 44_100),
        ("mpeg", "ac3", 48_000),
        ("flv", "aac", 44_100),
        ("flv", "nellymoser", 8_000),
    ],
)
def test_framed_formats(path: Path, muxer: str, codec: str, rate: int) -> None:
    """Where a format counts in frames, the encoder's padding of up to two of them stays."""
    assert_tone(heard(path, craft.ffmpeg(muxer, codec, rate)), 2.0, 0.1)


@pytest.mark.parametrize(
    ("muxer", "codec", "rate", "filename"),
    [
        ("mulaw", "pcm_mulaw", 8_000, "msg0000.ulaw"),
        ("alaw", "pcm_alaw", 8_000, "msg0000.alaw"),
        ("g722", "g722", 16_000, "msg0000.g722"),
        ("s16le", "pcm_s16le", 8_000, "msg0000.sln"),
        ("s16le", "pcm_s16le", 16_000, "msg0000.sln16"),
    ],
)
def test_headerless_formats(path: Path, muxer: str, codec: str, rate: int, filename: str) -> None:
    """Telephone codecs without any header decode at their own rate."""
    assert_tone(heard(path, craft.ffmpeg(muxer, codec, rate), filename), 2.0, 2 / SAMPLE_RATE)


@pytest.mark.parametrize(
    ("kind", "filename"), [("WAV", None), ("WAV", "msg0000.WAV"), ("RAW", "msg0000.gsm"), ("AIFF", None)]
)
def test_gsm(path: Path, kind: str, filename: str | None) -> None:
    """Asterisk's voicemail: GSM 6.10 in WAV, and raw."""
    assert_tone(heard(path, craft.sndfile(craft.tone(2, 8_000), 8_000, kind, "GSM610"), filename), 2.0, 0.04)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW"])
def test_big_endian_wav(path: Path, subtype: str) -> None:
    """RIFX, which FFmpeg refuses, decodes."""
    data = craft.sndfile(craft.tone(2, 8_000), 8_000, "WAV", subtype, "BIG")
    assert data.startswith(b"RIFX")
    assert_tone(heard(path, data), 2.0, 2 / SAMPLE_RATE)


def test_24_bits_in_4_bytes(path: Path) -> None:
    """What sound cards call 24 bits is PCM, which FFmpeg alone would take for floats."""
    samples = (craft.tone(2, 16_000) * (2**31 - 1)).astype("<i4") & ~0xFF
    data = craft.wav(samples.tobytes(), tag=0xFFFE, bits=32, extra=craft.extensible(24, 1))
    assert_tone(heard(path, data), 2.0, 0)


@pytest.mark.parametrize(("muxer", "codec"), [("mp4", "aac"), ("matroska", "aac"), ("mpegts", "aac"), ("avi", "mp2")])
def test_film(path: Path, muxer: str, codec: str) -> None:
    """Of a film the sound is taken, though the picture comes first."""
    assert_tone(heard(path, craft.film(muxer, codec)), 2.0, 0.15)


def test_second_track(path: Path) -> None:
    """Where the first track is in a codec nobody knows, the next one is heard."""
    data = craft.film("matroska", "aac", tracks=2).replace(b"A_AAC", b"A_XYZ", 1)
    assert_tone(heard(path, data), 2.0, 0.15)


def test_late_track(path: Path) -> None:
    """A track that turns up in mid-file spoils nothing."""
    data = craft.ffmpeg("mpegts", "aac", 16_000) + craft.film("mpegts", "aac")
    assert_tone(heard(path, data), 2.0, 0.15)


@pytest.mark.parametrize(("muxer", "codec"), [("mp3", "libmp3lame"), ("adts", "aac"), ("flac", "flac")])
def test_behind_a_cover_picture(path: Path, muxer: str, codec: str) -> None:
    """What stands behind an ID3 tag too long to be looked through decodes as what it is."""
    assert_tone(heard(path, craft.id3(300_000) + craft.ffmpeg(muxer, codec, 16_000)), 2.0, 0.15)


def test_samples_are_kept(path: Path) -> None:
    """16 kHz mono PCM16 comes out as it went in, bit by bit."""
    samples = np.random.default_rng(3).integers(-32768, 32768, 50_000).astype("<i2")
    assert np.array_equal(heard(path, craft.wav(samples.tobytes())), samples)


# -- Channels, rates, values -----------------------------------------------------------------------


def stereo(left: NDArray[np.float32], right: NDArray[np.float32]) -> bytes:
    """A stereo WAV at 16 kHz."""
    return craft.wav(craft.pcm16(np.stack([left, right], axis=1)), channels=2)


def test_mean_of_channels(path: Path) -> None:
    """Both sides of a call are heard."""
    left, right = craft.tone(2, 16_000, 440), craft.tone(2, 16_000, 1000, 0.25)
    spectrum = np.abs(np.fft.rfft(heard(path, stereo(left, right)))) / 16_000 / 32768
    assert spectrum[880] == pytest.approx(0.25, abs=0.01)
    assert spectrum[2000] == pytest.approx(0.125, abs=0.01)


def test_channels_upside_down(path: Path) -> None:
    """Two channels that cancel each other out, as with a miswired microphone, are not silence."""
    assert_tone(heard(path, stereo(craft.tone(2, 16_000), -craft.tone(2, 16_000))), 2.0, 0)


def test_one_silent_channel(path: Path) -> None:
    """A microphone on one channel alone is heard."""
    assert_tone(heard(path, stereo(craft.tone(2, 16_000), np.zeros(32_000, np.float32))), 2.0, 0, loud=0.25)


@pytest.mark.parametrize("channels", [3, 6, 8])
def test_many_channels(path: Path, channels: int) -> None:
    """Up to eight channels are mixed."""
    data = craft.pcm16(np.repeat(craft.tone(2, 16_000)[:, None], channels, axis=1))
    assert_tone(heard(path, craft.wav(data, channels=channels)), 2.0, 0)


def test_too_many_channels(path: Path) -> None:
    """More are refused by name."""
    with pytest.raises(BadAudio, match="9 channels"):
        heard(path, craft.wav(bytes(90_000), channels=9))


@pytest.mark.parametrize("rate", [1, 100, 3_999, 192_001, 1_092_676, 0x7FFFFFFF])
def test_silly_rates(path: Path, rate: int) -> None:
    """A rate that no recorder has is refused before it can become hours of sound."""
    with pytest.raises(BadAudio, match=str(rate)):
        heard(path, craft.wav(bytes(64_000), rate=rate))


@pytest.mark.parametrize("rate", [4_000, 7_999, 16_001, 44_056, 191_999, 192_000])
def test_odd_rates(path: Path, rate: int) -> None:
    """Any rate in between is resampled, and keeps pitch and length."""
    assert_tone(heard(path, craft.wav(craft.pcm16(craft.tone(2, rate)), rate=rate)), 2.0, 2 / SAMPLE_RATE)


def test_no_aliases(path: Path) -> None:
    """What lies above 8 kHz disappears instead of folding back."""
    data = craft.wav(craft.pcm16(craft.tone(2, 48_000, 9_000)), rate=48_000)
    assert level(heard(path, data)) < 0.001


@pytest.mark.parametrize("rates", [(16_000, 44_100), (44_100, 16_000), (44_100, 22_050, 48_000)])
def test_rate_changes_on_the_way(path: Path, rates: tuple[int, ...]) -> None:
    """MP3s of several rates in one file are each heard at their own pitch."""
    samples = heard(path, b"".join(craft.ffmpeg("mp3", "libmp3lame", rate) for rate in rates))
    assert len(samples) / SAMPLE_RATE == pytest.approx(2 * len(rates), abs=0.4)
    for part in np.array_split(samples, len(rates)):
        assert pitch(part[8_000:-8_000]) == pytest.approx(craft.TONE_HZ, abs=2)


def test_values_that_are_no_numbers(path: Path) -> None:
    """NaN and infinity in float files harm nobody but themselves."""
    samples = craft.tone(2, 44_100)
    samples[10_000:10_010] = np.nan
    samples[20_000], samples[20_001], samples[20_002] = np.inf, -np.inf, 3e38
    data = craft.wav(samples.astype("<f4").tobytes(), tag=3, bits=32, rate=44_100)
    assert_tone(heard(path, data)[10_000:], 2 - 10_000 / 16_000, 2 / SAMPLE_RATE)


def test_clipping(path: Path) -> None:
    """What is louder than full scale stops there, and does not wrap around."""
    samples = np.clip(craft.tone(2, 44_100, level=3.0), -1, 1)
    loud = heard(path, craft.wav(craft.pcm16(samples), rate=44_100)).astype(np.int32)
    assert loud.max() == 32767
    assert loud.min() == -32768
    assert np.abs(np.diff(loud)).max() < 32768


# -- Headers that lie, files that break off --------------------------------------------------------


@pytest.mark.parametrize("claimed", [0, 0xFFFFFFFF, 0x7FFFFFFF, 10**6])
def test_claimed_size(path: Path, claimed: int) -> None:
    """A recorder that could not know the size writes 0 or the largest; the samples are what is there."""
    data = craft.wav(craft.pcm16(craft.tone(2, 16_000)), claimed=claimed)
    assert_tone(heard(path, data), 2.0, 0)


@pytest.mark.parametrize(
    ("muxer", "codec", "rate"),
    [
        ("wav", "pcm_s16le", 16_000),
        ("flac", "flac", 16_000),
        ("ogg", "libopus", 48_000),
        ("mp3", "libmp3lame", 16_000),
        ("adts", "aac", 16_000),
        ("webm", "libopus", 48_000),
        ("mpegts", "aac", 16_000),
        ("au", "pcm_s16be", 16_000),
    ],
)
def test_dropped_upload(path: Path, muxer: str, codec: str, rate: int) -> None:
    """Of a file that breaks off, what had arrived is kept."""
    data = craft.ffmpeg(muxer, codec, rate, seconds=4)
    assert_tone(heard(path, data[: len(data) // 2 + 1]), 2.0, 0.6)


def test_damaged_in_the_middle(path: Path) -> None:
    """A damaged stretch costs itself, not what follows it."""
    data = bytearray(craft.ffmpeg("mp3", "libmp3lame", 16_000, seconds=10))
    data[len(data) // 2 : len(data) // 2 + 500] = b"\x5a" * 500
    assert len(heard(path, bytes(data))) / SAMPLE_RATE == pytest.approx(10, abs=0.5)


@pytest.mark.parametrize("muxer", ["wav", "flac", "ogg", "mp3", "adts", "mp4", "webm", "aiff", "mpegts", "asf"])
def test_damaged_anywhere(path: Path, muxer: str) -> None:
    """No damage ends in anything but sound or one of our errors."""
    codec, rate = {
        "wav": ("pcm_s16le", 16_000),
        "flac": ("flac", 16_000),
        "ogg": ("libopus", 48_000),
        "mp3": ("libmp3lame", 16_000),
        "adts": ("aac", 16_000),
        "mp4": ("aac", 16_000),
        "webm": ("libopus", 48_000),
        "aiff": ("pcm_s16be", 16_000),
        "mpegts": ("aac", 16_000),
        "asf": ("mp2", 44_100),
    }[muxer]
    good = craft.ffmpeg(muxer, codec, rate, seconds=0.5)
    rng = np.random.default_rng(5)
    for _ in range(40):
        data = bytearray(good[: rng.integers(1, len(good) + 1)])
        for at in rng.integers(0, min(len(data), int(rng.choice([64, len(good)]))), rng.integers(1, 8)):
            data[at] = rng.integers(0, 256)
        with suppress(SttError):
            heard(path, bytes(data))


def test_place_before_the_beginning(path: Path) -> None:
    """A damaged ASF that sends the reader to a negative place gives what it holds all the same."""
    data = craft.ffmpeg("asf", "mp2", 44_100)

    class Spy:
        def __init__(self) -> None:
            self.file = path.open("rb")
            self.read, self.tell = self.file.read, self.file.tell

        def seek(self, offset: int, whence: int = 0) -> int:
            if offset != 0:
                raise OSError(errno.EINVAL, "Invalid argument")
            return self.file.seek(offset, whence)

    path.write_bytes(data)
    spy: Any = Spy()
    assert sum(sound.samples.shape[1] for sound in read(spy, Container("asf", "asf", ()))) > 80_000
    spy.file.close()


# -- Bounds ----------------------------------------------------------------------------------------


def test_too_long(path: Path) -> None:
    """One sample too many is too long; what is allowed is allowed to the sample."""
    data = craft.wav(craft.pcm16(craft.tone(2, 16_000)))
    assert len(heard(path, data, max_duration=2.0)) == 32_000
    with pytest.raises(AudioTooLong, match=r"1\.9 seconds"):
        heard(path, data, max_duration=1.9)


def test_too_long_is_said_early(path: Path) -> None:
    """A long file is refused when the limit is passed, not at its end."""
    path.write_bytes(craft.silent_flac(36_000))
    seen: list[NDArray[np.int16]] = []
    with pytest.raises(AudioTooLong):
        seen.extend(decode(path, "flac", max_duration=60))
    assert 50 < sum(map(len, seen)) / SAMPLE_RATE <= 60


def test_too_short(path: Path) -> None:
    """Under a tenth of a second is too short; a tenth is not."""
    assert len(heard(path, craft.wav(bytes(3200)))) == 1600
    with pytest.raises(AudioTooShort) as error:
        heard(path, craft.wav(bytes(3198)))
    assert error.value.param == "file"


@pytest.mark.parametrize("data", [craft.wav(b""), craft.wav(b"")[:36], craft.ffmpeg("flac", "flac", 16_000)[:60]])
def test_nothing_to_hear(path: Path, data: bytes) -> None:
    """A header alone is no audio."""
    with pytest.raises(BadAudio):
        heard(path, data)


def test_only_pictures(path: Path) -> None:
    """A file with no audio track says so."""
    data = craft.film("matroska", "aac").replace(b"A_AAC", b"A_XYZ")
    with pytest.raises(BadAudio, match="no audio track"):
        heard(path, data)


def test_blocks_stay_small(path: Path) -> None:
    """Sound comes in blocks of a few seconds at most, whatever the file."""
    for rate in (4_000, 16_000, 192_000):
        path.write_bytes(craft.wav(bytes(2 * rate * 30), rate=rate))
        assert max(len(b) for b in decode(path, "wav", max_duration=HOUR)) <= 10 * SAMPLE_RATE


@pytest.mark.parametrize(
    ("demuxer", "text", "options"),
    [
        ("concat", "ffconcat version 1.0\nfile {}\n", {"safe": "0"}),
        ("hls", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n", {"allowed_extensions": "ALL"}),
    ],
)
def test_no_other_file_is_opened(tmp_path: Path, demuxer: str, text: str, options: dict[str, str]) -> None:
    """Even a demuxer that opens other files, if one were listed, could not."""
    secret = tmp_path / "secret.mp3"
    secret.write_bytes(craft.ffmpeg("mp3", "libmp3lame", 16_000))
    playlist = tmp_path / "list"
    playlist.write_text(text.format(secret))
    with playlist.open("rb") as file, pytest.raises(BadAudio):
        list(read(file, Container("evil", demuxer, (), options)))


def test_odd_decoders_stay_shut(path: Path) -> None:
    """A codec that no recorder uses is not decoded, even inside an allowed container."""
    with pytest.raises(BadAudio, match="no audio track"):
        heard(path, craft.ffmpeg("wav", "dfpwm", 48_000))


# -- Windows ---------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(start=st.integers(0, 40_000), length=st.integers(0, 40_000))
def test_window(tmp_path_factory: pytest.TempPathFactory, start: int, length: int) -> None:
    """A window holds exactly the samples of its span, and knows where it lies."""
    pcm = tmp_path_factory.getbasetemp() / "window.pcm"
    samples = np.arange(-16_000, 16_000).astype("<i2")
    if not pcm.exists():
        pcm.write_bytes(samples.tobytes())
    span = Span(start / SAMPLE_RATE, (start + length) / SAMPLE_RATE)
    window = read_window(pcm, span)
    assert window.start == span.start
    assert window.samples.dtype == np.float32
    assert np.array_equal(window.samples * 32768, samples[start : start + length])


def test_window_of_a_growing_file(tmp_path: Path) -> None:
    """A window that is not all written yet holds what is."""
    pcm = tmp_path / "audio.pcm"
    pcm.write_bytes(struct.pack("<4h", 0, 16384, -32768, 32767) + b"\x01")
    assert read_window(pcm, Span(0, 9)).samples.tolist() == [0, 0.5, -1, 32767 / 32768]
