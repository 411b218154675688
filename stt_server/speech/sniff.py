"""What kind of audio file the first bytes are: an allow-list, by magic numbers, never by name or MIME type.

Only the headerless codecs of telephony are told by extension. Playlists, scripts and all else end here, before
any decoder sees them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from stt_server.errors import BadAudio
from stt_server.speech.mpeg import find_frames, starts_with_frames

SNIFF_BYTES = 8192
"""How much of a file `sniff` wants: some frames of the largest MP3, behind a little junk."""


@dataclass(frozen=True, slots=True)
class Container:
    """One kind of file that is accepted, and who reads it."""

    name: str
    demuxer: str | None
    """FFmpeg's name for it; None: libsndfile reads it."""
    extensions: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    """For FFmpeg's demuxer."""
    headerless: bool = False
    """Nothing in the bytes tells this codec: its extension must."""


# Without the limit FFmpeg looks through all of a WAV for DTS hidden in its PCM: 17 ms for 10 s of 48 kHz stereo.
_NO_PROBING = {"max_probe_packets": "1"}
_TELEPHONE = {"sample_rate": "8000"}
_KINDS = (
    Container("wav", "wav", ("wav",), _NO_PROBING),
    Container("rifx", None, ()),
    Container("flac", "flac", ("flac",)),
    Container("ogg", "ogg", ("ogg", "oga", "opus", "spx")),
    Container("mp3", "mp3", ("mp3", "mp2", "mpga")),
    Container("aac", "aac", ("aac",)),
    Container("mp4", "mp4", ("mp4", "m4a", "mov", "3gp")),
    Container("matroska", "matroska", ("webm", "mkv")),
    Container("aiff", "aiff", ("aiff", "aif")),
    Container("caf", "caf", ("caf",)),
    Container("au", "au", ("au",)),
    Container("amr", "amr", ("amr",)),
    Container("asf", "asf", ("wma",)),
    Container("mpegts", "mpegts", ("ts",)),
    Container("mpeg", "mpeg", ("mpeg",)),
    Container("avi", "avi", ("avi",)),
    Container("flv", "flv", ("flv",)),
    Container("gsm", "gsm", ("gsm",), headerless=True),
    Container("ulaw", "mulaw", ("ulaw", "ul", "mulaw", "pcmu"), _TELEPHONE, headerless=True),
    Container("alaw", "alaw", ("alaw", "al", "pcma"), _TELEPHONE, headerless=True),
    Container("g722", "g722", ("g722",), headerless=True),
    Container("sln", "s16le", ("sln",), _TELEPHONE, headerless=True),
    Container("sln16", "s16le", ("sln16",), {"sample_rate": "16000"}, headerless=True),
)
CONTAINERS: dict[str, Container] = {kind.name: kind for kind in _KINDS}

_BY_EXTENSION = {ext: kind.name for kind in _KINDS if kind.headerless for ext in kind.extensions}
_SUPPORTED = sorted(ext for kind in _KINDS for ext in kind.extensions)

_MAGIC = {
    "wav": rb"(RIFF|RF64|BW64).{4}WAVE",
    "rifx": rb"RIFX.{4}WAVE",
    "flac": rb"fLaC",
    "ogg": rb"OggS\0",
    # Any box a QuickTime file may begin with. The first byte, of its size, tells it from text.
    "mp4": rb"[\0-\x1f].{3}(ftyp|styp|moov|moof|mdat|free|skip|wide|pnot)",
    "matroska": rb"\x1aE\xdf\xa3",
    "aiff": rb"FORM.{4}AIF[FC]",
    "caf": rb"caff\0\x01",
    "au": rb"\.snd\0\0",
    "amr": rb"#!AMR(-WB)?\n",
    "asf": rb"0&\xb2u\x8ef\xcf\x11\xa6\xd9\0\xaa\0b\xcel",
    "mpegts": rb"G.{187}G.{187}G|.{4}G.{191}G.{191}G",
    "mpeg": rb"\0\0\x01\xba",
    "avi": rb"RIFF.{4}AVI ",
    "flv": rb"FLV\x01",
}
_SIGNATURES = {name: re.compile(pattern, re.DOTALL) for name, pattern in _MAGIC.items()}
_TEXT = re.compile(rb"[\t\n\r -~]+")


def sniff(head: bytes, filename: str | None = None) -> str:
    """Name the container that a file's first `SNIFF_BYTES` belong to; raises `BadAudio` if it is none of ours.

    The file's name counts only where the bytes say nothing.
    """
    if not head:
        raise BadAudio("The audio file is empty.")
    found = (
        _by_magic(head)
        or _by_tag(head)
        or starts_with_frames(head)
        or _by_extension(head, filename)
        or find_frames(head)
    )
    if found is None:
        raise BadAudio(f"Invalid file format. Supported formats: {_SUPPORTED}")
    return found


def id3_length(head: bytes) -> int:
    """Bytes of the ID3v2 tag that `head` begins with, 0 if there is none."""
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 0x7F:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return size + (20 if head[5] & 0x10 else 10)


def _by_magic(head: bytes) -> str | None:
    return next((name for name, signature in _SIGNATURES.items() if signature.match(head)), None)


def _by_tag(head: bytes) -> str | None:
    """Look behind ID3 tags, which AAC and FLAC may carry too."""
    rest = head
    while length := id3_length(rest):
        rest = rest[length:]
    if rest is head:
        return None
    return _by_magic(rest) or starts_with_frames(rest) or "mp3"


def _by_extension(head: bytes, filename: str | None) -> str | None:
    _, dot, extension = (filename or "").rpartition(".")
    if not dot or _TEXT.fullmatch(head):
        return None
    return _BY_EXTENSION.get(extension.lower())
