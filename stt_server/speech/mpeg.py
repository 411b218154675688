"""Frame headers of MPEG audio (layers I to III) and of AAC in ADTS: formats whose only signature is their rhythm."""

from dataclasses import dataclass

_ENOUGH = 3
"""Frames in a row that prove a stream. One header alone turns up in any random kilobyte."""

_UTF_16 = b"\xff\xfe"
"""How such a text begins; as audio it would be layer I with a checksum, which nobody uses."""

_KBPS = {
    # (MPEG-1, layer): kbit/s by index. MPEG-2 and 2.5 share theirs; their layers II and III are alike.
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)
_RATE_SHIFT = {3: 0, 2: 1, 0: 2}
"""By version bits: MPEG-1, MPEG-2, MPEG-2.5."""


@dataclass(frozen=True, slots=True)
class _Frame:
    container: str
    kind: tuple[int, ...]
    """What stays the same from frame to frame."""
    length_bytes: int


def starts_with_frames(head: bytes) -> str | None:
    """`mp3` or `aac` if frames begin at the first byte and follow each other, else None."""
    return _chain(head, 0, whole_file=False)


def find_frames(head: bytes) -> str | None:
    """`mp3` or `aac` if frames begin anywhere in `head`; a file of one or two frames counts too."""
    if found := _chain(head, 0, whole_file=True):
        return found
    at = head.find(b"\xff", 1)
    while at > 0:
        if found := _chain(head, at, whole_file=False):
            return found
        at = head.find(b"\xff", at + 1)
    return None


def _chain(head: bytes, at: int, *, whole_file: bool) -> str | None:
    first = frame = _frame(head, at)
    count = 0
    while first and frame and frame.kind == first.kind:
        count += 1
        at += frame.length_bytes
        frame = _frame(head, at)
    if first and (count >= _ENOUGH or (whole_file and at + 4 > len(head))):
        return first.container
    return None


def _frame(head: bytes, at: int) -> _Frame | None:
    header = head[at : at + 7]
    if len(header) < 4 or header[0] != 0xFF or header[1] < 0xE0 or header[:2] == _UTF_16:
        return None
    return _mpeg(header) if header[1] & 0x06 else _adts(header)


def _mpeg(header: bytes) -> _Frame | None:
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bitrate in (0, 15) or rate == 3:
        return None
    mpeg1 = version == 3
    bits_per_second = _KBPS[mpeg1, layer][bitrate] * 1000
    hertz = _RATES[rate] >> _RATE_SHIFT[version]
    padding = header[2] >> 1 & 1
    if layer == 1:
        length = (12 * bits_per_second // hertz + padding) * 4
    else:
        length = (144 if mpeg1 or layer == 2 else 72) * bits_per_second // hertz + padding
    return _Frame("mp3", (version, layer, rate), length)


def _adts(header: bytes) -> _Frame | None:
    if len(header) < 7 or header[1] < 0xF0:
        return None
    profile, rate = header[2] >> 6, header[2] >> 2 & 15
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    if rate > 12 or length < 9:
        return None
    return _Frame("aac", (header[1], profile, rate), length)
