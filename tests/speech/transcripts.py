"""Made-up speech for the tests of what happens after recognition."""

from hypothesis import strategies as st

from stt_server.speech.segments import segment
from stt_server.types import Hypothesis, Span, Token, Transcript, Word

PAUSES = {",": 0.3, ".": 0.5, "?": 0.5, "!": 0.5}


def spoken(text: str, start: float = 0.0, pause: float = 0.1) -> Hypothesis:
    """Somebody says a text: 0.1 s a letter, a short pause at punctuation; `|` is a silence of two seconds."""
    words: list[Word] = []
    tokens: list[Token] = []
    now = start
    for written in text.split():
        if written == "|":
            now += 2.0
            continue
        end = now + 0.1 * len(written)
        words.append(Word(written, round(now, 3), round(end, 3), 0.9))
        half = (len(written) + 1) // 2
        for i, piece in enumerate(filter(None, (f" {written[:half]}", written[half:]))):
            tokens.append(Token(len(tokens), piece, round(now + 0.05 * i, 3), -0.25 * (1 + i)))
        now = end + PAUSES.get(written[-1], pause)
    return Hypothesis(tuple(words), tuple(tokens))


def transcript(text: str, *, language: str | None = "en", gaps: tuple[Span, ...] = ()) -> Transcript:
    """Somebody said a text, and then nothing for half a second."""
    said = spoken(text)
    duration = said.words[-1].end + 0.5 if said.words else 2.0
    return Transcript(segment(said.words, said.tokens), round(duration, 3), language, "made-up", gaps)


_seconds = st.floats(0, 3, allow_nan=False)
_letters = st.text("abcdEFGé'-<&>0123ж", min_size=1, max_size=20)
_written = st.builds(str.__add__, _letters, st.sampled_from(["", "", "", ",", ".", "?", "…", ".»", ";"]))
_marks = st.sampled_from(["»", "!", "-", "-->", "M.", "p.m.", "3."])


@st.composite
def hypotheses(draw: st.DrawFn) -> Hypothesis:
    """Words one after the other, with or without time between them, some without duration."""
    drawn = draw(st.lists(st.tuples(st.one_of(_written, _marks), _seconds, _seconds), max_size=40))
    words: list[Word] = []
    tokens: list[Token] = []
    now = 0.0
    for text, pause, length in drawn:
        now += max(0.0, pause - 1.5)
        words.append(Word(text, now, now + length, draw(st.none() | st.floats(0, 1))))
        tokens.extend(
            Token(draw(st.integers(0, 8192)), piece, now, draw(st.floats(-30, 0)))
            for piece in filter(None, (f" {text[:2]}", text[2:]))
        )
        now += length
    return Hypothesis(tuple(words), tuple(tokens))


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    """Any transcript the recipe could make."""
    said = draw(hypotheses())
    end = said.words[-1].end if said.words else 0.0
    gaps = draw(st.lists(st.builds(Span, _seconds, st.floats(3, 9)), max_size=2))
    language = draw(st.sampled_from([None, "en", "mt", "xx"]))
    return Transcript(segment(said.words, said.tokens), end + draw(_seconds), language, "made-up", tuple(gaps))
