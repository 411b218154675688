"""Every format carries the whole transcript, in the shape its readers expect."""

import html
import json
import math
import random
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from openai.types.audio import Transcription, TranscriptionVerbose

from stt_server.speech.cues import LINE_CHARACTERS, LONGEST, cues
from stt_server.speech.formats import FORMATS, Rendering, delta
from stt_server.types import Segment, Span, Token, Transcript, Word
from tests.speech.transcripts import spoken, transcript, transcripts

SAID = transcript("Hello, Mr. Smith. | It's 3.5 km & <5 min.", gaps=(Span(2.7, 3.25),))
NOTHING = Transcript((), 2.0, None, "made-up")
BOTH = Rendering(frozenset({"word", "segment"}), logprobs=True)
TIMING = re.compile(r"(\d{2,}):(\d\d):(\d\d)[,.](\d{3}) --> (\d{2,}):(\d\d):(\d\d)[,.](\d{3})")


def render(name: str, said: Transcript, rendering: Rendering | None = None) -> Any:
    return FORMATS[name].render(said, rendering or Rendering())


def read_cues(subtitles: str) -> list[tuple[int, int, list[str]]]:
    """(start ms, end ms, lines) of each block with a timing, read as a player would."""
    found = []
    for block in re.split(r"\n{2,}", subtitles.strip("\n")):
        lines = block.split("\n")
        if lines[0].isdigit():
            lines = lines[1:]
        if timing := TIMING.fullmatch(lines[0] if lines else ""):
            h, m, s, ms, h2, m2, s2, ms2 = map(int, timing.groups())
            start, end = ((h * 60 + m) * 60 + s) * 1000 + ms, ((h2 * 60 + m2) * 60 + s2) * 1000 + ms2
            found.append((start, end, lines[1:]))
    return found


def test_json() -> None:
    """Text and usage; probabilities only when asked for; what was not understood is said."""
    assert render("json", SAID) == {
        "text": "Hello, Mr. Smith. It's 3.5 km & <5 min.",
        "usage": {"type": "duration", "seconds": 8},
        "gaps": [{"start": 2.7, "end": 3.25}],
    }
    body = render("json", transcript("né"), Rendering(logprobs=True))
    assert body == {
        "text": "né",
        "usage": {"type": "duration", "seconds": 1},
        "logprobs": [
            {"token": " n", "logprob": -0.25, "bytes": [32, 110]},
            {"token": "é", "logprob": -0.5, "bytes": [195, 169]},
        ],
    }


def test_json_with_languages() -> None:
    """Their codes when asked for: none when nobody knows."""
    assert render("json", SAID, Rendering(languages=True))["languages"] == [{"code": "en"}]
    assert render("json", NOTHING, Rendering(languages=True))["languages"] == []


def test_verbose_json_has_segments_by_default() -> None:
    """The ten fields of each segment, the language by its name, and no words unless asked for."""
    assert render("verbose_json", SAID) == {
        "task": "transcribe",
        "language": "english",
        "duration": 7.4,
        "text": "Hello, Mr. Smith. It's 3.5 km & <5 min.",
        "segments": [
            {
                "id": 0, "seek": 0, "start": 0.0, "end": 2.3, "text": " Hello, Mr. Smith.",
                "tokens": [0, 1, 2, 3, 4, 5], "temperature": 0.0, "avg_logprob": -0.375,
                "compression_ratio": 0.68, "no_speech_prob": 0.0,
            },
            {
                "id": 1, "seek": 480, "start": 4.8, "end": 6.9, "text": " It's 3.5 km & <5 min.",
                "tokens": list(range(6, 17)), "temperature": 0.0, "avg_logprob": -0.363636,
                "compression_ratio": 0.724138, "no_speech_prob": 0.0,
            },
        ],
        "usage": {"type": "duration", "seconds": 8},
        "gaps": [{"start": 2.7, "end": 3.25}],
    }  # fmt: skip


def test_verbose_json_has_bare_words_when_asked() -> None:
    """Words come without the punctuation around them, and without what is only punctuation."""
    body = render("verbose_json", transcript("« Oui » , it's 3.5 % (ok)… l'an-2 !"), BOTH)
    assert [word["word"] for word in body["words"]] == ["Oui", "it's", "3.5", "%", "ok", "l'an-2"]
    assert body["words"][0] == {"word": "Oui", "start": 0.2, "end": 0.5}
    assert "segments" in body


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        (set(), {"segments"}),
        ({"segment"}, {"segments"}),
        ({"word"}, {"words"}),
        ({"word", "segment"}, {"words", "segments"}),
    ],
)  # fmt: skip
def test_verbose_json_lists_only_what_was_asked(asked: set[str], keys: set[str]) -> None:
    """With words alone the key `segments` is absent: clients take an empty list for the answer."""
    body = render("verbose_json", SAID, Rendering(frozenset(asked)))
    assert body.keys() & {"words", "segments"} == keys


@pytest.mark.parametrize(
    ("language", "name"), [(None, "unknown"), ("fr", "french"), ("el", "greek"), ("zz", "zz")]
)  # fmt: skip
def test_the_language_is_called_by_its_name(language: str | None, name: str) -> None:
    """Clients map names; a code would be lost on them."""
    assert render("verbose_json", transcript("Hi.", language=language))["language"] == name


def test_text_is_the_words_and_an_end_of_line() -> None:
    """A terminal shows it well, and no quotes are around it."""
    assert render("text", SAID) == "Hello, Mr. Smith. It's 3.5 km & <5 min.\n"


def test_srt() -> None:
    """Numbered cues with a comma before the milliseconds."""
    assert render("srt", SAID) == (
        "1\n00:00:00,000 --> 00:00:02,300\nHello, Mr. Smith.\n\n"
        "2\n00:00:04,800 --> 00:00:06,900\nIt's 3.5 km & <5 min.\n\n"
    )


def test_vtt() -> None:
    """A header, cues with a point before the milliseconds, escaped; what was missed, where no player shows it."""
    assert render("vtt", SAID) == (
        "WEBVTT\n\n"
        "NOTE Not recognised: 00:00:02.700 to 00:00:03.250\n\n"
        "00:00:00.000 --> 00:00:02.300\nHello, Mr. Smith.\n\n"
        "00:00:04.800 --> 00:00:06.900\nIt's 3.5 km &amp; &lt;5 min.\n\n"
    )


def test_nothing_said_is_a_valid_answer_in_every_format() -> None:
    """Silence is no error."""
    assert render("json", NOTHING) == {"text": "", "usage": {"type": "duration", "seconds": 2}}
    assert render("verbose_json", NOTHING, BOTH) == {
        "task": "transcribe", "language": "unknown", "duration": 2.0, "text": "", "segments": [], "words": [],
        "usage": {"type": "duration", "seconds": 2},
    }  # fmt: skip
    assert [render(name, NOTHING) for name in ("text", "srt", "vtt")] == ["\n", "\n", "WEBVTT\n\n"]


def test_the_table_is_complete() -> None:
    """OpenAI's five formats, text ones as plain text, which is what its clients get from OpenAI."""
    plain = "text/plain; charset=utf-8"
    assert {name: row.media_type for name, row in FORMATS.items()} == {
        "json": "application/json", "verbose_json": "application/json", "text": plain, "srt": plain, "vtt": plain,
    }  # fmt: skip


@given(transcripts())
@settings(deadline=None)
def test_strict_clients_can_read_every_answer(said: Transcript) -> None:
    """Each of the ten segment fields is a number, a list or text, never null, or the AI SDK throws all away."""
    for segment in render("verbose_json", said, BOTH)["segments"]:
        assert list(segment) == [
            "id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob", "compression_ratio",
            "no_speech_prob",
        ]  # fmt: skip
        assert all(type(segment[key]) is int for key in ("id", "seek"))
        assert all(type(token) is int for token in segment["tokens"])
        assert segment["text"].startswith(" ")
        numbers = ("start", "end", "temperature", "avg_logprob", "compression_ratio", "no_speech_prob")
        assert all(type(segment[key]) is float for key in numbers)


@given(transcripts())
@settings(deadline=None)
def test_json_answers_hold_only_what_json_can_say(said: Transcript) -> None:
    """Both JSON formats can be written strictly, and the official client's types accept them."""
    for name, accept in (("json", Transcription), ("verbose_json", TranscriptionVerbose)):
        body = render(name, said, BOTH)
        written = json.loads(json.dumps(body, allow_nan=False))
        assert accept.model_validate(written, strict=True).text == said.text
        assert type(body["usage"]["seconds"]) is int
        assert body["usage"]["seconds"] >= said.duration - 0.001


def test_numbers_that_are_none_become_placeholders() -> None:
    """A probability that went wrong in the engine does not make the answer unreadable."""
    broken = (Token(1, " Hi", 0.0, math.nan), Token(2, "!", math.inf, -math.inf))
    said = Transcript((Segment("Hi!", 0.0, math.inf, (), broken),), math.nan, "en", "m")
    for name in ("json", "verbose_json"):
        json.dumps(render(name, said, BOTH), allow_nan=False)


@given(transcripts())
@settings(deadline=None)
def test_cues_are_in_order_one_at_a_time_and_readable(said: Transcript) -> None:
    """No cue is empty in time, overlaps the next, has a third line or a line too long, or stays too long."""
    shaped = cues(said)
    assert all(a.end_ms <= b.start_ms for a, b in pairwise(shaped))
    for cue in shaped:
        assert 0 <= cue.start_ms < cue.end_ms
        assert cue.end_ms - cue.start_ms <= LONGEST * 1000 + 1
        assert 1 <= len(cue.lines) <= 2
        assert all(len(line) <= LINE_CHARACTERS for line in cue.lines)


@pytest.mark.parametrize("name", ["srt", "vtt"])
@given(said=transcripts())
@settings(deadline=None)
def test_subtitles_hold_every_word_once(name: str, said: Transcript) -> None:
    """A player that reads the subtitles finds the text, word for word, whatever signs are in it."""
    found = read_cues(render(name, said))
    texts = [" ".join(lines) for _, _, lines in found]
    shown = " ".join(html.unescape(text) if name == "vtt" else text for text in texts)
    assert shown == (said.text if name == "vtt" else said.text.replace("-->", "->"))
    assert [(start, end) for start, end, _ in found] == [(cue.start_ms, cue.end_ms) for cue in cues(said)]
    assert render(name, said).count("-->") == len(found)


def test_a_cue_shows_its_words_when_they_are_said() -> None:
    """Cues break at punctuation and between words, and each begins with its first word."""
    said = transcript("The long journey home took a year, and then another one, because she had lost her shoes.")
    shaped = cues(said)
    assert [" / ".join(cue.lines) for cue in shaped] == [
        "The long journey home took a year,",
        "and then another one, / because she had lost her shoes.",
    ]
    second = next(word for part in said.segments for word in part.words if word.text == "and")
    assert shaped[1].start_ms == round(second.start * 1000)


def test_brief_sentences_share_a_cue() -> None:
    """Words within a second do not flicker; after a silence there is a cue of its own."""
    shaped = cues(transcript("Yes. No. Okay then. | Yes."))
    assert [cue.lines for cue in shaped] == [("Yes. No.",), ("Okay then.",), ("Yes.",)]


def test_a_brief_cue_stays_until_it_can_be_read() -> None:
    """A short word stays for a second, if neither the next cue nor the end of the audio comes first."""
    yes = Segment("Yes.", 1.0, 1.2, (Word("Yes.", 1.0, 1.2),))
    later = Segment("No.", 2.5, 2.7, (Word("No.", 2.5, 2.7),))
    shaped = cues(Transcript((yes, later), 3.0, "en", "m"))
    assert [(cue.start_ms, cue.end_ms) for cue in shaped] == [(1000, 2000), (2500, 3000)]


@pytest.mark.parametrize(
    ("lengths", "lines"),
    [([30, 25, 27], [[30, 25], [27]]), ([30, 25, 28, 13], [[30, 25], [42]]), ([60, 5], [[60], [5]])],
)  # fmt: skip
def test_words_that_do_not_fit_two_lines_take_two_cues(lengths: list[int], lines: list[list[int]]) -> None:
    """84 characters are not always two lines of 42, and one word longer than a line stays whole."""
    words = tuple(Word("x" * length, i, i + 0.9) for i, length in enumerate(lengths))
    shaped = cues(Transcript((Segment("", 0.0, 4.0, words),), 4.0, None, "m"))
    assert [[len(line) for line in cue.lines] for cue in shaped] == lines


def test_speakers_do_not_share_a_cue() -> None:
    """Even a brief answer is not shown as the other person's words."""
    yes, no = Word("Yes?", 1.0, 1.3, None, "A"), Word("No.", 1.4, 1.6, None, "B")
    parts = tuple(Segment(word.text, word.start, word.end, (word,), (), word.speaker) for word in (yes, no))
    assert [cue.lines for cue in cues(Transcript(parts, 3.0, "en", "m"))] == [("Yes?",), ("No.",)]


def test_senseless_times_still_make_a_valid_file() -> None:
    """Words at the same instant, backwards or before the beginning give cues in order all the same."""
    dice = random.Random(3)
    words = [Word(f"Word{i}.", dice.uniform(-2, 99), dice.uniform(-2, 99)) for i in range(99)]
    parts = tuple(Segment(word.text, word.start, word.end, (word,)) for word in words)
    shaped = cues(Transcript(parts, 0.0, None, "m"))
    assert " ".join(line for cue in shaped for line in cue.lines) == " ".join(word.text for word in words)
    assert all(0 <= cue.start_ms < cue.end_ms for cue in shaped)
    assert all(a.end_ms <= b.start_ms for a, b in pairwise(shaped))


def test_a_text_without_words_is_spread_over_its_time() -> None:
    """A text taken over from an older database becomes cues, even with line ends in it or no length."""
    text = "This voicemail was kept\n\nbefore words had times, and it is long enough for more than one cue, surely."
    for duration in (20.0, 0.0):
        shaped = cues(Transcript((Segment(text, 0.0, duration),), duration, None, "m"))
        assert len(shaped) >= 2
        assert " ".join(line for cue in shaped for line in cue.lines) == " ".join(text.split())
        assert all(a.end_ms <= b.start_ms for a, b in pairwise(shaped))
        assert not duration or 10_000 < shaped[-1].start_ms < 20_000
    assert cues(Transcript((Segment("", 0.0, 3.0),), 3.0, None, "m")) == []


def test_hours_go_on_counting() -> None:
    """The hundredth hour has three digits; nothing wraps around."""
    late = Segment("Hi.", 360_000.0, 360_001.0, (Word("Hi.", 360_000.0, 360_001.0),))
    assert "100:00:00.000 --> 100:00:01.000" in render("vtt", Transcript((late,), 360_002.0, "en", "m"))


@given(transcripts())
@settings(deadline=None)
def test_deltas_put_together_are_the_text(said: Transcript) -> None:
    """Whatever comes in whatever pieces, empty ones included, a client that adds them up has the text."""
    streamed = ""
    for part in said.segments:
        for words in ((), part.words[:1], part.words[1:]):
            streamed += delta(words, first=not streamed)
    assert streamed == said.text


def test_the_first_delta_has_no_leading_space() -> None:
    """Deltas carry their own spaces."""
    words = spoken("Hello there now").words
    assert [delta(words[:2], first=True), delta(words[2:], first=False), delta((), first=False)] == [
        "Hello there",
        " now",
        "",
    ]
