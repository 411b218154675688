"""A transcript survives being stored."""

import json

import pytest
from hypothesis import given, settings

from stt_server.errors import Internal
from stt_server.speech.codec import dump, load
from stt_server.types import Segment, Span, Transcript, Word
from tests.speech.transcripts import transcript, transcripts


@given(transcripts())
@settings(deadline=None)
def test_what_was_dumped_comes_back_equal(given_transcript: Transcript) -> None:
    """Every word, time, token and probability is the same after a restart, to the last bit."""
    assert load(dump(given_transcript)) == given_transcript


def test_texts_without_words_speakers_and_gaps_come_back_too() -> None:
    """What an older database kept, and what a later one may hold, is not lost."""
    old = Segment('two\nlines, "quoted" \u2028 é 😀', 0.1, 1e-9)
    new = Segment("Hi", 1.0, 2.0, (Word("Hi", 1.0, 2.0, None, "A"),), (), "A")
    original = Transcript((old, new), 1 / 3, None, "m", (Span(0.1, 0.2), Span(5, 6)))
    assert load(dump(original)) == original
    assert load(dump(Transcript((), 0.0, "fr", ""))) == Transcript((), 0.0, "fr", "")


def test_the_stored_form_stays_as_it_is() -> None:
    """Rows written today must be readable for ever: this text is version 1."""
    stored = (
        '{"v":1,"duration":1.1,"language":"en","model":"made-up","gaps":[[3,4.5]],"segments":'
        '[[null,0.0,0.6,null,[["Hi",0.0,0.2,0.9],["é.",0.3,0.5]],[[0," Hi",0.0,-0.25]]],["A  b",1,2,"B",[],[]]]}'
    )
    assert dump(load(stored)) == stored
    assert load(stored).text == "Hi é. A  b"


def test_it_is_compact() -> None:
    """A word with its two tokens takes about 100 bytes: 4 MB for four hours."""
    said = transcript("somebody says something, " * 500)
    assert len(dump(said)) < 1500 * 110


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", "plain words", '{"v":2}', '{"v":1}', dump(transcript("Hi."))[:-9],
     '{"v":1,"duration":1,"language":null,"model":"m","gaps":[],"segments":[[null,1]]}',
     '{"v":1,"duration":1,"language":null,"model":"m","gaps":[[1]],"segments":[]}'],
)  # fmt: skip
def test_damage_is_an_error_of_ours(text: str) -> None:
    """A damaged row, or one of a later version, is never half a transcript."""
    with pytest.raises(Internal):
        load(text)


def test_only_real_numbers_are_stored() -> None:
    """NaN is refused where it is written, not where it is read years later."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump(Transcript((), float("nan"), None, "m"))


def test_it_is_plain_json() -> None:
    """Other tools, and the database's own functions, can read it."""
    assert json.loads(dump(transcript("Hi there.")))["segments"][0][3] is None
