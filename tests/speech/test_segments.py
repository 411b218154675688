"""Words become sentences, and none is lost on the way."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings

from stt_server.speech.segments import MAX_CHARACTERS, MAX_SECONDS, PAUSE, segment
from stt_server.types import Hypothesis, Token, Word
from tests.speech.transcripts import hypotheses, spoken


def texts(said: str) -> list[str]:
    heard = spoken(said)
    return [part.text for part in segment(heard.words, heard.tokens)]


def test_nothing_said_makes_no_segment() -> None:
    """No words, no segments, whatever the tokens are."""
    assert segment((), ()) == ()
    assert segment((), (Token(3, " ", 0.1, -0.5),)) == ()


@pytest.mark.parametrize(
    "said",
    [
        "Hello there. / How are you? / Fine! / And you… / Me too.",
        "She said \"Stop.\" / He did not. / “Why?” / ‘Because.’ / (Really.) / Yes.",
        "« Vraiment ? » / Oui ! / D'accord. / « Bien. » / Merci.",
        "Bonjour M. Dupont, ici Mme. Martin pour le Dr. Roy. / À demain.",
        "Mr. and Mrs. J. F. Kennedy live on St. James Street. / They left.",
        "It costs 3.5 euros. / Version 2.0 is out. / In 1998. / Then we went.",
        "Take No. 5 please. / No. / Never. / See p. 12 there.",
        "At 3 p.m. / She left, e.g. Monday or so. / The U.S. army came at 5 a.m. today.",
        "Und so weiter usw. und dann am 3. Mai um 5. / Danke.",
        "Den 3. maj var han här. / Z.B. heute etc. / Gut.",
        "Il y a... euh... un problème… / Enfin.",
        "Mm. / Okay. / So am I. / Then go.",
        "Πού είσαι; / Εδώ. / Here; not there.",
        "¿Cómo está? / ¡Bien! / ¿Y usted?",
        "we have no capitals. / at all. / but stops",
        "J'ai dit : « Oui. » / « Non. »",
    ],
)  # fmt: skip
def test_sentences_end_where_a_reader_would_end_them(said: str) -> None:
    """A full stop ends a sentence, with the quotes behind it; one that belongs to the word does not."""
    assert texts(said.replace(" / ", " ")) == said.split(" / ")


def test_a_silence_ends_a_segment() -> None:
    """Two seconds of silence part what no punctuation parts, and 0.9 s do not."""
    assert texts("call me back | when you can") == ["call me back", "when you can"]
    words = (Word("call", 0.0, 0.4), Word("me", 1.3, 1.5))
    assert len(segment(words, ())) == 1


def test_speakers_do_not_share_a_segment() -> None:
    """A segment is one person's."""
    words = (Word("Hello", 0, 0.4, None, "A"), Word("hello", 0.5, 0.9, None, "B"))
    assert [(part.text, part.speaker) for part in segment(words, ())] == [("Hello", "A"), ("hello", "B")]


def test_a_long_sentence_is_cut_at_its_commas() -> None:
    """Somebody who never stops is cut at a comma within reach, not in the middle of a phrase."""
    clause = "and then we went on to the next house, "
    parts = texts(clause * 12)
    assert len(parts) > 2
    assert all(part.endswith("house,") for part in parts)


def test_without_commas_the_longest_pause_is_taken_and_no_word_stays_alone() -> None:
    """Unpunctuated speech is cut at its pauses, in parts of like length."""
    words = spoken("word " * 34).words
    late = [Word(w.text, w.start + 0.5 * (i >= 18), w.end + 0.5 * (i >= 18)) for i, w in enumerate(words)]
    assert [len(part.words) for part in segment(late, ())] == [18, 16]


def test_a_token_stays_with_its_word_even_at_the_same_instant() -> None:
    """A full stop emitted in the frame where the next word begins goes with the sentence it ends."""
    words = (Word("Yes.", 0.0, 0.4), Word("No.", 0.4, 0.8))
    tokens = tuple(
        Token(i, text, start, -0.1)
        for i, (text, start) in enumerate([(" Yes", 0.0), (".", 0.4), (" ", 0.4), ("No", 0.4), (".", 0.6)])
    )
    assert [[t.id for t in part.tokens] for part in segment(words, tokens)] == [[0, 1], [2, 3, 4]]


def test_tokens_that_do_not_spell_the_words_go_by_time() -> None:
    """Where tokens and words disagree, each token goes to the segment being spoken then."""
    words = (Word("Yes.", 0.0, 0.4), Word("No.", 0.5, 0.8))
    tokens = tuple(Token(i, "x", start, -0.1) for i, start in enumerate([0.0, 0.2, 0.5, 0.6]))
    assert [[t.id for t in part.tokens] for part in segment(words, tokens)] == [[0, 1], [2, 3]]


@given(hypotheses())
@settings(deadline=None)
def test_all_words_and_tokens_are_there_once_and_in_order(said: Hypothesis) -> None:
    """Segments put together are the words and the tokens; the text does not depend on where it was cut."""
    parts = segment(said.words, said.tokens)
    assert tuple(word for part in parts for word in part.words) == said.words
    assert tuple(token for part in parts for token in part.tokens) == (said.tokens if said.words else ())
    assert " ".join(part.text for part in parts) == " ".join(word.text for word in said.words)


@given(hypotheses())
@settings(deadline=None)
def test_segments_follow_each_other_and_keep_the_limits(said: Hypothesis) -> None:
    """Segments are in order, no longer than the limits, and no silence lies inside one."""
    parts = segment(said.words, said.tokens)
    assert all(a.end <= b.start for a, b in pairwise(parts))
    for part in parts:
        assert (part.start, part.end) == (part.words[0].start, part.words[-1].end)
        assert len(part.words) == 1 or part.end - part.start <= MAX_SECONDS
        assert len(part.words) == 1 or len(part.text) <= MAX_CHARACTERS
        assert all(b.start - a.end < PAUSE for a, b in pairwise(part.words))


def test_times_out_of_order_lose_nothing() -> None:
    """Even words and tokens with senseless times all come out once."""
    dice = random.Random(5)
    words = [Word(f"w{i}.", dice.random() * 9, dice.random() * 9) for i in range(200)]
    tokens = [Token(i, "x", dice.random() * 9, -1.0) for i in range(300)]
    parts = segment(words, tokens)
    assert [word for part in parts for word in part.words] == words
    assert [token for part in parts for token in part.tokens] == tokens


def test_words_without_times_make_segments_of_their_stretch() -> None:
    """Neither times nor places within it are made up; exact words beside them stay as they are."""
    vague = [Word(text, 0.5, 9.0, exact=False) for text in ["One.", "Two", "three?"]]
    later = [Word(text, 9.0, 19.0, exact=False) for text in ["Four", "five"]]
    exact = [Word("Six.", 20.0, 20.5), Word("Seven", 20.5, 21.0)]
    tokens = [Token(1, " Six.", 20.0, -0.1), Token(2, " Seven", 20.5, -0.1)]
    parts = segment([*vague, *later, *exact], tokens)
    assert [(part.text, part.start, part.end) for part in parts] == [
        ("One. Two three?", 0.5, 9.0),
        ("Four five", 9.0, 19.0),
        ("Six.", 20.0, 20.5),
        ("Seven", 20.5, 21.0),
    ]
    assert [word for part in parts for word in part.words] == exact
    assert [part.tokens for part in parts] == [(), (), (tokens[0],), (tokens[1],)]
