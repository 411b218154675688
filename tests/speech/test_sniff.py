"""What is let in to the decoders, and what is not."""

import random
import zipfile
from io import BytesIO

import numpy as np
import pytest

from stt_server.errors import BadAudio
from stt_server.speech.mpeg import find_frames
from stt_server.speech.sniff import CONTAINERS, SNIFF_BYTES, id3_length, sniff
from tests.speech import craft

RECORDED = [
    ("wav", "wav", "pcm_s16le", 16_000),
    ("flac", "flac", "flac", 16_000),
    ("ogg", "ogg", "libopus", 48_000),
    ("mp3", "mp3", "libmp3lame", 16_000),
    ("mp3", "mp2", "mp2", 44_100),
    ("aac", "adts", "aac", 16_000),
    ("mp4", "mp4", "aac", 16_000),
    ("mp4", "mov", "pcm_s16le", 16_000),
    ("mp4", "3gp", "aac", 16_000),
    ("matroska", "webm", "libopus", 48_000),
    ("matroska", "matroska", "flac", 16_000),
    ("aiff", "aiff", "pcm_s16be", 16_000),
    ("caf", "caf", "pcm_s16be", 16_000),
    ("au", "au", "pcm_s16be", 16_000),
    ("amr", "amr", "libopencore_amrnb", 8_000),
    ("asf", "asf", "mp2", 44_100),
    ("mpegts", "mpegts", "aac", 16_000),
    ("mpeg", "mpeg", "mp2", 44_100),
    ("avi", "avi", "pcm_s16le", 16_000),
    ("flv", "flv", "aac", 44_100),
]


@pytest.mark.parametrize(("container", "muxer", "codec", "rate"), RECORDED)
def test_magic(container: str, muxer: str, codec: str, rate: int) -> None:
    """Each container is known by its bytes, whatever the file is called."""
    head = craft.ffmpeg(muxer, codec, rate)[:SNIFF_BYTES]
    assert {sniff(head, name) for name in (None, "upload", "speech.ulaw", "a.gsm", "x.webm")} == {container}


def test_every_container_is_tested() -> None:
    """No container is listed that no test has seen."""
    headerless = {name for name, container in CONTAINERS.items() if container.headerless}
    assert {name for name, *_ in RECORDED} | headerless | {"rifx"} == set(CONTAINERS)


@pytest.mark.parametrize("kind", [b"RF64", b"BW64"])
def test_long_wav(kind: bytes) -> None:
    """WAV past 4 GB goes by other names."""
    assert sniff(kind + b"\xff\xff\xff\xffWAVEds64") == "wav"


@pytest.mark.parametrize(
    ("filename", "container"),
    [
        ("msg0000.gsm", "gsm"),
        ("msg.ulaw", "ulaw"),
        ("msg.ul", "ulaw"),
        ("MSG.MULAW", "ulaw"),
        ("msg.alaw", "alaw"),
        ("msg.al", "alaw"),
        ("msg.g722", "g722"),
        ("msg.sln", "sln"),
        ("msg.sln16", "sln16"),
    ],
)
def test_headerless(filename: str, container: str) -> None:
    """Headerless telephone codecs are known by their extension, and by it alone."""
    head = np.random.default_rng(7).integers(0, 256, SNIFF_BYTES, np.uint8).tobytes()
    assert sniff(head, filename) == container
    for other in (None, "recording", "msg.wav", "msg.mp3", "gsm"):
        with pytest.raises(BadAudio):
            sniff(head, other)


def test_quiet_ulaw_is_no_mp3() -> None:
    """A quiet line in u-law is full of bytes that look like the beginning of an MP3 frame."""
    rng = np.random.default_rng(1)
    quiet = [0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0xFA, 0x7F, 0x7E, 0x7D, 0x7C, 0x7B, 0x7A, 0x79]
    for _ in range(200):
        head = rng.choice(np.array(quiet, np.uint8), SNIFF_BYTES).tobytes()
        assert sniff(head, "msg0001.ulaw") == "ulaw"


def test_name_beats_chance() -> None:
    """A few MP3 frames deep in a file prove less than an extension; a file full of them proves more."""
    frames = craft.ffmpeg("mp3", "libmp3lame", 44_100)[300:SNIFF_BYTES]
    assert sniff(b"\x7e" * 100 + frames) == "mp3"
    assert sniff(b"\x7e" * 100 + frames, "msg0001.ulaw") == "ulaw"
    assert sniff(frames[frames.index(b"\xff\xfb") :], "msg0001.ulaw") == "mp3"


REFUSED = {
    "hls": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "ffconcat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nm=audio 5004 RTP/AVP 0\n",
    "dash": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    "html": b"<!DOCTYPE html><html>login</html>" * 400,
    "json": b'{"error": "not found"}',
    "utf16": "\ufeff#EXTM3U\nhttp://10.0.0.1/a.mp3\n".encode("utf-16-le"),
    "shout": ("ÿû" * 4000).encode("utf-16-le"),
    "xbin": b"XBIN\x1a" + bytes(400),
    "jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + bytes(400),
    "png": b"\x89PNG\r\n\x1a\n" + bytes(400),
    "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "elf": b"\x7fELF\x02\x01\x01" + bytes(400),
    "midi": b"MThd\x00\x00\x00\x06",
    "iff picture": b"FORM\x00\x00\x01\x00ILBMBMHD",
    "other riff": b"RIFF\x00\x01\x00\x00WEBPVP8 ",
    "zeros": bytes(SNIFF_BYTES),
    "ones": b"\xff" * SNIFF_BYTES,
    "one header": b"\xff\xfb\x90\x64" + bytes(SNIFF_BYTES),
    "text in a box": b"I'm free to go",
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str) -> None:
    """Playlists, texts, pictures and noise reach no decoder, under any name that needs a magic number."""
    for filename in (None, "a.mp3", "a.wav", "a.m3u8", "a.ogg"):
        with pytest.raises(BadAudio, match=r"^Invalid file format\. Supported formats: \['3gp', 'aac'"):
            sniff(REFUSED[what][:SNIFF_BYTES], filename)


@pytest.mark.parametrize("what", ["hls", "ffconcat", "sdp", "dash", "html", "json"])
def test_text_is_no_telephone_codec(what: str) -> None:
    """A text is refused even where any bytes would do."""
    with pytest.raises(BadAudio):
        sniff(REFUSED[what], "a.ulaw")


def test_empty() -> None:
    """An empty file is called empty."""
    with pytest.raises(BadAudio, match="empty"):
        sniff(b"", "a.ulaw")


def test_zip() -> None:
    """An archive of good audio is not audio."""
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.wav", craft.ffmpeg("wav", "pcm_s16le", 16_000))
    with pytest.raises(BadAudio):
        sniff(out.getvalue()[:SNIFF_BYTES])


def test_noise_is_nothing() -> None:
    """Random bytes are never taken for audio."""
    rng = random.Random(11)
    assert [find_frames(rng.randbytes(SNIFF_BYTES)) for _ in range(300)] == [None] * 300


@pytest.mark.parametrize("junk", [b"", bytes(500), b"ICY noise \xff\xfb\x90" * 30])
def test_mp3_behind_junk(junk: bytes) -> None:
    """A recording of a web radio begins in the middle of a frame."""
    assert sniff((junk + craft.ffmpeg("mp3", "libmp3lame", 44_100)[300:])[:SNIFF_BYTES]) == "mp3"


@pytest.mark.parametrize(
    ("muxer", "codec", "container"), [("mp3", "libmp3lame", "mp3"), ("adts", "aac", "aac"), ("flac", "flac", "flac")]
)
def test_id3(muxer: str, codec: str, container: str) -> None:
    """An ID3 tag says nothing about what follows it."""
    audio = craft.ffmpeg(muxer, codec, 16_000)
    assert sniff((craft.id3(20) + craft.id3(600) + audio)[:SNIFF_BYTES]) == container
    assert sniff((craft.id3(50_000) + audio)[:SNIFF_BYTES]) == "mp3"  # `decode` looks again


def test_thousand_tags() -> None:
    """Tags without end are read without end of the stack."""
    assert sniff(craft.id3(10) * 2000) == "mp3"


def test_id3_length() -> None:
    """The length of a tag counts its header and its footer."""
    assert id3_length(craft.id3(50_000)) == 50_000
    assert id3_length(b"ID3\4\0\x10\0\0\1\0") == 148
    assert id3_length(b"ID3\4\0\0\x80\0\0\0") == 0
    assert id3_length(b"ID3") == 0


def test_one_frame() -> None:
    """A file of one frame is a file."""
    frame = b"\xff\xfb\x90\x64" + bytes(413)
    assert sniff(frame) == "mp3"
    assert sniff(frame * 2) == "mp3"
