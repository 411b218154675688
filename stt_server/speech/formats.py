"""Transcript -> what the caller asked for: a function and a row of `FORMATS` each.

The shapes are OpenAI's. One thing is added: stretches that could not be recognised are listed as `gaps` in both
JSON formats, and in a NOTE, which players do not show, in WebVTT. `text` and `srt` have no place to say it
outside the words themselves, so they leave it out. Without such stretches nothing is added.
"""

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from stt_server.speech.cues import cues
from stt_server.speech.language import LANGUAGE_NAMES
from stt_server.types import Segment, Span, Token, Transcript, Word

_JSON = "application/json"
_PLAIN = "text/plain; charset=utf-8"
_QUOTES_AND_STOPS = ".,;:?!…。，、？！¿¡\"'`´’‘“”„‚«»‹›()[]{}-–—"


@dataclass(frozen=True, slots=True)
class Rendering:
    """What may be chosen within a format."""

    granularities: frozenset[str] = frozenset({"segment"})
    """`word` and `segment`; for verbose_json. Empty means segment."""
    logprobs: bool = False
    """For json: list every token with its probability."""
    languages: bool = False
    """For json: name the language, in a list, as `gpt-transcribe` does."""


@dataclass(frozen=True, slots=True)
class Format:
    """One row of the table."""

    render: Callable[[Transcript, Rendering], str | dict[str, Any]]
    """The body: text, or an object to be sent as JSON, of finite numbers only."""
    media_type: str


def json(transcript: Transcript, rendering: Rendering) -> dict[str, Any]:
    """`{text, usage, logprobs?, languages?, gaps?}`."""
    body: dict[str, Any] = {"text": transcript.text, "usage": _usage(transcript)}
    if rendering.logprobs:
        body["logprobs"] = [entry for part in transcript.segments for entry in logprobs(part.tokens)]
    if rendering.languages:
        body["languages"] = [{"code": transcript.language}] if transcript.language else []
    return body | _gaps(transcript)


def verbose_json(transcript: Transcript, rendering: Rendering) -> dict[str, Any]:
    """Everything, for programs. `segments` is absent, not empty, when only words were asked for."""
    code = transcript.language
    body: dict[str, Any] = {
        "task": "transcribe",
        "language": LANGUAGE_NAMES.get(code, code) if code else "unknown",
        "duration": _number(transcript.duration),
        "text": transcript.text,
    }
    if "segment" in rendering.granularities or "word" not in rendering.granularities:
        body["segments"] = [_segment(i, segment) for i, segment in enumerate(transcript.segments)]
    if "word" in rendering.granularities:
        body["words"] = [entry for part in transcript.segments for entry in _words(part.words)]
    return body | {"usage": _usage(transcript)} | _gaps(transcript)


def text(transcript: Transcript, _: Rendering) -> str:
    """The words on one line."""
    return transcript.text + "\n"


def srt(transcript: Transcript, _: Rendering) -> str:
    """SubRip cues, each followed by a blank line; only a line's end when nobody spoke."""
    blocks = [
        f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n"
        + "\n".join(cue.lines).replace("-->", "->")  # SubRip knows no escapes
        + "\n\n"
        for number, cue in enumerate(cues(transcript), start=1)
    ]
    return "".join(blocks) or "\n"


def vtt(transcript: Transcript, _: Rendering) -> str:
    """WebVTT cues under its header."""
    blocks = [
        f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n" + _escape("\n".join(cue.lines))
        for cue in cues(transcript)
    ]
    notes = [
        f"NOTE Not recognised: {_clock(_ms(gap.start), '.')} to {_clock(_ms(gap.end), '.')}" for gap in transcript.gaps
    ]
    return "".join(f"{block}\n\n" for block in ["WEBVTT", *notes, *blocks])


FORMATS: dict[str, Format] = {
    "json": Format(json, _JSON),
    "text": Format(text, _PLAIN),
    "srt": Format(srt, _PLAIN),
    "vtt": Format(vtt, _PLAIN),
    "verbose_json": Format(verbose_json, _JSON),
}
"""By the name asked for as `response_format`. OpenAI sends subtitles as plain text too."""


def delta(words: Sequence[Word], *, first: bool) -> str:
    """The next piece of a text that is being streamed. The pieces, put together, are `Transcript.text`.

    `first` holds until a piece with words was sent.
    """
    return "".join(word.text if first and i == 0 else f" {word.text}" for i, word in enumerate(words))


def logprobs(tokens: Sequence[Token]) -> list[dict[str, Any]]:
    """Tokens with their probabilities, of a whole transcript or of a piece."""
    return [
        {"token": token.text, "logprob": _number(token.logprob, 6), "bytes": list(token.text.encode())}
        for token in tokens
    ]


def _usage(transcript: Transcript) -> dict[str, Any]:
    return {"type": "duration", "seconds": math.ceil(_number(transcript.duration))}


def _gaps(transcript: Transcript) -> dict[str, Any]:
    return {"gaps": [_times(gap) for gap in transcript.gaps]} if transcript.gaps else {}


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    """The ten fields, each always a number, a list or text: the AI SDK refuses an answer that lacks one.

    `seek` is the segment's start in Whisper's frames of 10 ms. `temperature` is that of greedy decoding, and
    `no_speech_prob` that of audio the speech detector has let through: this kind of model computes neither.
    """
    own = [token.logprob for token in segment.tokens]
    times = _times(segment)
    return {
        "id": number,
        "seek": round(times["start"] * 100),
        **times,
        "text": f" {segment.text}",
        "tokens": [token.id for token in segment.tokens],
        "temperature": 0.0,
        "avg_logprob": _number(sum(own) / len(own), 6) if own else 0.0,
        "compression_ratio": _compression_ratio(segment.text),
        "no_speech_prob": 0.0,
    }


def _compression_ratio(text: str) -> float:
    """How well it can be packed, as Whisper measures it; above 2.4 it repeats itself."""
    data = text.encode()
    return _number(len(data) / len(zlib.compress(data)), 6)


def _words(words: Sequence[Word]) -> Iterator[dict[str, Any]]:
    """Words without the punctuation around them; what is nothing else is no word."""
    for word in words:
        if bare := word.text.strip(_QUOTES_AND_STOPS):
            yield {"word": bare, **_times(word)}


def _times(part: Segment | Word | Span) -> dict[str, float]:
    return {"start": _number(part.start), "end": _number(part.end)}


def _number(value: float, digits: int = 3) -> float:
    """Rounded for reading, to the millisecond by default; 0 for what JSON cannot say."""
    return round(float(value), digits) if math.isfinite(value) else 0.0


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _clock(ms: int, point: str) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"
