"""Transcript <-> text for storage: compact JSON with a version, exact both ways.

Version 1, rows as lists without names, because a long recording has 100,000 of them:

    {"v": 1, "duration", "language", "model", "gaps": [[start, end]],
     "segments": [[text or null, start, end, speaker, words, tokens]]}
    word:  [text, start, end, confidence?, speaker?]        left out from the right while None
    token: [id, text, start, logprob]

A segment's text is null where it is its words joined by spaces, as nearly always.
"""

import json
from typing import Any

from stt_server.errors import Internal
from stt_server.types import Segment, Span, Token, Transcript, Word

VERSION = 1


def dump(transcript: Transcript) -> str:
    """The transcript as text that `load` turns into an equal one.

    Raises ValueError when a number is not finite: nothing else would be able to read that.
    """
    content = {
        "v": VERSION,
        "duration": transcript.duration,
        "language": transcript.language,
        "model": transcript.model,
        "gaps": [[gap.start, gap.end] for gap in transcript.gaps],
        "segments": [_segment_row(segment) for segment in transcript.segments],
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def load(text: str) -> Transcript:
    """The transcript that was dumped. Raises `Internal` when the text is damaged or of a later version."""
    try:
        content = json.loads(text)
        version = content["v"]
        if version != VERSION:
            raise ValueError(f"version {version!r}, where {VERSION} is known")
        return Transcript(
            segments=tuple(_segment(row) for row in content["segments"]),
            duration=content["duration"],
            language=content["language"],
            model=content["model"],
            gaps=tuple(Span(*row) for row in content["gaps"]),
        )
    except (ValueError, LookupError, TypeError) as error:
        raise Internal("A stored transcript cannot be read.") from error


def _segment_row(segment: Segment) -> list[Any]:
    spelled = segment.text == _spell(segment.words)
    words = [_word_row(word) for word in segment.words]
    tokens = [[token.id, token.text, token.start, token.logprob] for token in segment.tokens]
    text = None if spelled else segment.text
    return [text, segment.start, segment.end, segment.speaker, words, tokens]


def _segment(row: list[Any]) -> Segment:
    text, start, end, speaker, word_rows, token_rows = row
    words = tuple(Word(*word) for word in word_rows)
    tokens = tuple(Token(*token) for token in token_rows)
    return Segment(_spell(words) if text is None else text, start, end, words, tokens, speaker)


def _word_row(word: Word) -> list[Any]:
    row = [word.text, word.start, word.end, word.confidence, word.speaker]
    while row[-1] is None:
        row.pop()
    return row


def _spell(words: tuple[Word, ...]) -> str:
    return " ".join(word.text for word in words)
