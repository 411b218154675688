"""Segments into subtitle cues that can be read: two lines at most, not too long, not too brief."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from stt_server.speech.segments import pieces
from stt_server.types import Segment, Transcript, Word

LINE_CHARACTERS = 42
LONGEST = 7.0
"""Seconds. With the line length, the usual limits of broadcasters."""
BRIEFEST = 1.0
"""Seconds a cue stays, if the next one lets it."""
READING_SPEED = 20.0
"""Characters per second that can be followed."""


@dataclass(frozen=True, slots=True)
class Cue:
    """What is on the screen from one moment to another."""

    start_ms: int
    end_ms: int
    """Later than the start, and not later than the next cue's start."""
    lines: tuple[str, ...]
    """One or two, of `LINE_CHARACTERS` at most unless one word is longer."""


def cues(transcript: Transcript) -> list[Cue]:
    """The whole transcript as cues: every word once, in order, never two cues at a time."""
    runs = list(_runs(transcript))
    if not runs:
        return []
    ends = [*(run[0].start for run in runs[1:]), max(transcript.duration, runs[-1][-1].end)]
    shaped: list[Cue] = []
    free_ms = 0
    for run, latest in zip(runs, ends, strict=True):
        text = _text(run)
        start_ms = max(_ms(run[0].start), free_ms)
        spoken = min(run[-1].end - run[0].start, LONGEST)
        wanted_ms = start_ms + _ms(max(spoken, BRIEFEST, len(text) / READING_SPEED))
        free_ms = max(min(wanted_ms, _ms(latest)), start_ms + 1)
        shaped.append(Cue(start_ms, free_ms, _lines(text)))
    return shaped


def _runs(transcript: Transcript) -> Iterator[list[Word]]:
    """The words of each cue. A cue gone too soon to be read takes the following words in, if they fit."""
    held: list[Word] = []
    for segment in transcript.segments:
        for run in pieces(segment.words or _spread(segment), _readable):
            if held and not (_brief(held, run) and _readable([*held, *run])):
                yield held
                held = []
            held = [*held, *run]
    if held:
        yield held


def _brief(run: Sequence[Word], following: Sequence[Word]) -> bool:
    return following[0].start - run[0].start < BRIEFEST and run[0].speaker == following[0].speaker


def _readable(words: Sequence[Word]) -> bool:
    text = _text(words)
    rest = len(text) - text.rfind(" ", 0, LINE_CHARACTERS + 1) - 1
    return words[-1].end - words[0].start <= LONGEST and min(rest, len(text)) <= LINE_CHARACTERS


def _lines(text: str) -> tuple[str, ...]:
    """One line, or two of like length, parted at punctuation and not behind an article if that can be had."""
    if len(text) <= LINE_CHARACTERS:
        return (text,)
    spaces = [i for i, letter in enumerate(text) if letter == " "]
    fitting = [i for i in spaces if max(i, len(text) - i - 1) <= LINE_CHARACTERS]
    if not fitting:
        return (text,)

    def cost(i: int) -> int:
        short = i - text.rfind(" ", 0, i) <= 4
        return abs(2 * i + 1 - len(text)) + 8 * short - 16 * (text[i - 1] in ",;:?!…")

    cut = min(fitting, key=cost)
    return text[:cut], text[cut + 1 :]


def _spread(segment: Segment) -> list[Word]:
    """Words with the times of an even speaker, for texts of which only the words' order is known."""
    texts = segment.text.split()
    places = [0, *accumulate(len(text) + 1 for text in texts)]
    length = segment.end - segment.start
    pace = length / places[-1] if length > 0 and texts else 1 / READING_SPEED
    return [
        Word(text, segment.start + place * pace, segment.start + (place + len(text)) * pace)
        for text, place in zip(texts, places, strict=False)
    ]


def _text(words: Sequence[Word]) -> str:
    return " ".join(word.text for word in words)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
