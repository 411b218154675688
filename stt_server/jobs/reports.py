"""What a decode child says, as JSON.

Not as pickles, which run code where they are read: a file may have taken the child over. What comes out of it is a
window of the audio, a length or a known error, or it is no report.

    12.5   {"duration": 61.2}   {"window": [index, start, end, owned start, owned end, joined, [cut, ...]]}
    {"error": [code, message, param]}
"""

import json
from itertools import pairwise
from typing import Any

from stt_server.errors import AudioLost, AudioTooLong, AudioTooShort, BadAudio, Internal, StorageFull, SttError
from stt_server.speech.chunking import Window
from stt_server.speech.transcribe import Prepared
from stt_server.types import Span

Report = Window | Prepared | float | SttError
"""A float: so many seconds are decoded."""

MOST_BYTES = 4096
"""Of one report. A message of ours is two lines."""
_ROUNDING = 0.001
"""Seconds."""
_ERRORS = {kind.code: kind for kind in (BadAudio, AudioTooLong, AudioTooShort, AudioLost, StorageFull, Internal)}


def dump(report: Report) -> bytes:
    """The report as `load` reads it."""
    return json.dumps(_content(report)).encode()


def _content(report: Report) -> Any:
    if isinstance(report, Window):
        span, owned = report.span, report.owned
        return {"window": [report.index, span.start, span.end, owned.start, owned.end, report.joined, report.cuts]}
    if isinstance(report, Prepared):
        return {"duration": report.duration}
    if isinstance(report, SttError):
        return {"error": [report.code, report.message, report.param]}
    return report


def load(text: bytes, *, longest: float) -> Report:
    """A report on audio of `longest` seconds at most. Raises ValueError when it is none."""
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("no report") from None
    match content:
        case float():
            return _seconds(content, longest)
        case {"duration": duration}:
            return Prepared(_seconds(duration, longest))
        case {"window": [int(index), *times, bool(joined), list(places)]} if len(times) == 4:
            start, end, owned_start, owned_end = (_seconds(time, longest) for time in times)
            cuts = tuple(_seconds(place, longest) for place in places)
            if start <= owned_start <= owned_end <= end and all(
                a < b for a, b in pairwise((start, *cuts, end)) if cuts
            ):
                return Window(index, Span(start, end), Span(owned_start, owned_end), joined, cuts)
        case {"error": [str(code), str(message), None | str() as param]} if code in _ERRORS:
            return _ERRORS[code](message, param=param)
    raise ValueError("no report")


def _seconds(value: Any, longest: float) -> float:
    # Which NaN is not.
    if isinstance(value, float | int) and -_ROUNDING <= value <= longest + _ROUNDING:
        return float(value)
    raise ValueError("no time of this audio")
