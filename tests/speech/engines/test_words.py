"""Tokens to words, over hand-written and random emissions."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_server.speech.engines.tdt import Emission
from stt_server.speech.engines.vocabulary import Vocabulary, read_vocabulary
from stt_server.speech.engines.words import read_hypothesis
from stt_server.types import Audio, Hypothesis

FRAME = 0.08
TEXTS = (None, " the", " m", "ess", "age", ".", ",", " ", "5", " -", "'s", " «")
VOCABULARY = Vocabulary(TEXTS, blank=len(TEXTS))


def window(seconds: float, start: float = 0.0) -> Audio:
    return Audio(np.zeros(round(seconds * 16_000), np.float32), start)


def read(*pieces: tuple[str | None, int, int, float], audio: Audio | None = None) -> Hypothesis:
    """Words of pieces given as (text, frame, duration, probability)."""
    emissions = [Emission(TEXTS.index(text), frame, duration, math.log(p)) for text, frame, duration, p in pieces]
    return read_hypothesis(emissions, VOCABULARY, audio or window(10), frame=FRAME)


def test_pieces_become_words() -> None:
    """A leading space begins a word, which lasts from its first piece to the end of its last."""
    found = read((" the", 0, 2, 0.9), (" m", 5, 1, 0.9), ("ess", 6, 2, 0.5), ("age", 8, 3, 0.8))
    assert [(w.text, round(w.start, 2), round(w.end, 2)) for w in found.words] == [
        ("the", 0.0, 0.16),
        ("message", 0.4, 0.88),
    ]
    assert [t.text for t in found.tokens] == [" the", " m", "ess", "age"]


def test_a_word_is_as_sure_as_its_least_sure_piece() -> None:
    """The confidence is the probability of the least likely piece, whatever the full stop's is."""
    found = read((" m", 5, 1, 0.9), ("ess", 6, 2, 0.5), ("age", 8, 3, 0.8), (".", 8, 3, 0.1))
    assert found.words[0].text == "message."
    assert found.words[0].confidence == pytest.approx(0.5)


def test_punctuation_does_not_stretch_a_word() -> None:
    """A comma set into the pause, with a length of its own, leaves the end of the word where the voice stopped."""
    found = read((" the", 0, 2, 0.9), (",", 3, 4, 0.9), (" m", 9, 1, 0.9))
    assert found.words[0].text == "the,"
    assert found.words[0].end == pytest.approx(2 * FRAME)


def test_an_apostrophe_s_is_spoken() -> None:
    """A piece with a letter in it counts, although it begins with a mark."""
    assert read((" the", 0, 2, 0.9), ("'s", 4, 2, 0.9)).words[0].end == pytest.approx(6 * FRAME)


def test_a_word_ends_where_the_next_begins() -> None:
    """A duration that reaches into the next word is cut, even to nothing when both begin together."""
    first, second, _ = read((" the", 0, 4, 0.9), (" m", 2, 0, 0.9), (" the", 2, 1, 0.9)).words
    assert (first.end, second.start, second.end) == pytest.approx((0.16, 0.16, 0.16))


def test_marks_of_the_vocabulary_are_not_text() -> None:
    """`<unk>` and its like vanish from the words and from the tokens, without breaking the word they stand in."""
    found = read((" m", 0, 1, 0.9), (None, 1, 1, 0.9), ("ess", 2, 1, 0.9))
    assert [w.text for w in found.words] == ["mess"]
    assert [t.text for t in found.tokens] == [" m", "ess"]


def test_a_lone_space_begins_a_word() -> None:
    """v3 writes figures as a space and digits; two spaces are one."""
    found = read((" ", 0, 1, 0.9), ("5", 1, 1, 0.9), (" ", 4, 1, 0.9), (" the", 5, 1, 0.9), (" ", 8, 1, 0.9))
    assert [w.text for w in found.words] == ["5", "the"]


def test_times_are_those_of_the_file() -> None:
    """The window's place in the file is added to every time."""
    found = read((" the", 1, 2, 0.9), audio=window(3, start=60.0))
    assert (found.words[0].start, found.words[0].end) == pytest.approx((60.08, 60.24))
    assert found.tokens[0].start == pytest.approx(60.08)


def test_no_time_lies_past_the_sound() -> None:
    """What is emitted in the quiet appended to a window ends with the sound."""
    found = read((" the", 11, 4, 0.9), (" m", 14, 4, 0.9), audio=window(1.0, start=5.0))
    assert [(w.start, w.end) for w in found.words] == [(pytest.approx(5.88), 6.0), (6.0, 6.0)]


@given(
    st.lists(
        st.tuples(st.sampled_from(range(len(TEXTS))), st.integers(0, 4), st.integers(0, 4), st.floats(-20, 0)),
        max_size=30,
    ),
    st.floats(0.1, 6),
    st.floats(0, 10_000),
)
def test_words_are_in_order(steps: list[tuple[int, int, int, float]], seconds: float, start: float) -> None:
    """Whatever the model emits, words come in order, do not overlap, and stay within the window and [0, 1]."""
    frames = np.cumsum([step for _, step, _, _ in steps], dtype=int).tolist()
    emissions = [Emission(t, f, d, lp) for (t, _, d, lp), f in zip(steps, frames, strict=True)]
    audio = window(seconds, start)
    found = read_hypothesis(emissions, VOCABULARY, audio, frame=FRAME)
    edges = [start] + [edge for word in found.words for edge in (word.start, word.end)] + [start + audio.duration]
    assert edges == sorted(edges)
    assert all(word.confidence is not None and 0 <= word.confidence <= 1 for word in found.words)
    assert " ".join("".join(t.text for t in found.tokens).split()) == " ".join(w.text for w in found.words)
    assert [t.start for t in found.tokens] == sorted(t.start for t in found.tokens)


def test_the_tokens_file_is_read_whole(tmp_path: Path) -> None:
    """Any order, any line ending, pieces with odd characters; the vocabulary's marks are known for what they are."""
    path = tmp_path / "tokens.txt"
    lines = ["<unk> 0", "<|en|> 1", "▁the 2", "▁ 3", "< 4", "\u2028 5", "<0x0A> 7", "▁<b 6", "<blk> 8"]
    path.write_bytes("\r\n".join([*lines, ""]).encode())
    found = read_vocabulary(path)
    assert found == Vocabulary((None, None, " the", " ", "<", "\u2028", " <b", None, None), blank=8)
