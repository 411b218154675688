"""Small files that ask for much, and files that are something else. Each is made when it is needed."""

import struct
from collections.abc import Callable
from functools import reduce

from tests.speech import craft

HOURS_10 = 36_000


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


def _nested(depth: int) -> bytes:
    return _box(b"ftyp", b"isom\0\0\0\0isom") + reduce(lambda inner, _: _box(b"moov", inner), range(depth), b"")


def _sizes_without_end() -> bytes:
    """An MP4 whose table of samples claims four billion of them."""
    whole = craft.ffmpeg("mp4", "aac", 16_000)
    at = whole.index(b"stsz") + 12
    return whole[:at] + b"\xff\xff\xff\xff" + whole[at + 4 :]


BOMBS: dict[str, Callable[[], bytes]] = {
    # Long, wide, high.
    "ten hours of silence": lambda: craft.silent_flac(HOURS_10),
    "eight channels at 192 kHz": lambda: craft.silent_flac(HOURS_10 // 20, 192_000, 8),
    "eight channels at 655 kHz": lambda: craft.silent_flac(60, 655_350, 8),
    "1 Hz": lambda: craft.wav(bytes(32_000), rate=1),
    "4 GHz": lambda: craft.wav(bytes(32_000), rate=0xFFFFFFFF),
    "no rate": lambda: craft.wav(bytes(32_000), rate=0),
    "65,535 channels": lambda: craft.wav(bytes(640_000), channels=65_535, block=4),
    "no channels": lambda: craft.wav(bytes(32_000), channels=0, block=2),
    "five hours of AMR": lambda: b"#!AMR\n" + bytes(1_000_000),
    "a thousand files in one": lambda: craft.silent_flac(1) * 1000,
    "a thousand streams in one": lambda: craft.ffmpeg("ogg", "libopus", 16_000, 0.1) * 1000,
    # Claims.
    "4 GB of data": lambda: craft.wav(bytes(32_000), claimed=0xFFFFFFFF),
    "4 GB before the data": lambda: craft.wav(bytes(32_000), before=b"LIST" + struct.pack("<I", 0xFFFFFFF0)),
    "4 GB of header": lambda: b"RIFF\xff\xff\xff\xffWAVEfmt \xf0\xff\xff\xff" + bytes(100_000),
    "4 GB of AU header": lambda: b".snd" + struct.pack(">5I", 0, 0xFFFFFFFF, 27, 8000, 0xFFFFFFFF) + bytes(100_000),
    "a cover of 100 MB": lambda: craft.id3(100_000_000) + b"\xff\xfb\x90\0" + bytes(1000),
    "boxes in boxes": lambda: _nested(10_000),
    "four billion samples": _sizes_without_end,
    "elements without end": lambda: b"\x1aE\xdf\xa3" + b"\x01\xff\xff\xff\xff\xff\xff\xfe" * 10_000,
    "packets without end": lambda: b"FLV\x01\x05\0\0\0\x09\0\0\0\0" + (b"\x08\xff\xff\xff" + bytes(11)) * 10_000,
    "objects without end": lambda: bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + b"\xff" * 100_000,
    "tables without end": lambda: (b"G" + b"\xff" * 187) * 5000,
}
"""Of audio, or what says that it is."""

NONSENSE = {"eight channels at 655 kHz", "1 Hz", "4 GHz", "no rate", "65,535 channels", "no channels"}
"""Those that no recorder makes: refused before anything is made of them."""


def strangers(address: str, file: str) -> dict[str, bytes]:
    """Files that would lead a careless decoder to an address and a file."""
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}\n#EXTINF:9,\nfile://{file}\n".encode()
    return {
        "HLS": playlist,
        "HLS in a WAV": b"RIFF....WAVE\n" + playlist,
        "HLS in an AVI": b"RIFF\xff\xff\xff\xffAVI GAB2" + playlist * 9,
        "list of files": f"ffconcat version 1.0\nfile {file}\nfile {address}\n".encode(),
        "DASH": f'<?xml version="1.0"?><MPD><BaseURL>{address}</BaseURL></MPD>'.encode(),
        "SDP": b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nc=IN IP4 127.0.0.1\r\nm=audio 5004 RTP/AVP 0\r\n",
        "XML": f'<!DOCTYPE x [<!ENTITY y SYSTEM "file://{file}">]><x>&y;</x>'.encode(),
        "playlist": f"[playlist]\nFile1={address}\nNumberOfEntries=1\n".encode(),
        "reference movie": _box(b"moov", _box(b"rmra", _box(b"rmda", _box(b"rdrf", b"\0" * 4 + b"url " + struct.pack(
            ">I", len(address) + 1) + address.encode() + b"\0")))),
        "reference track": _box(b"ftyp", b"qt  ") + _box(b"moov", _box(b"dref", b"\0" * 7 + b"\1" + _box(
            b"url ", b"\0" * 4 + address.encode()))),
        "archive": b"PK\x03\x04" + bytes(1000),
        "program": b"\x7fELF\x02\x01\x01" + bytes(1000),
        "picture": b"\x89PNG\r\n\x1a\n" + bytes(1000),
    }  # fmt: skip
