"""The words of windows join without loss and without doubles."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_server.speech.chunking import Cutter, Window
from stt_server.speech.joining import Joiner, concatenate
from stt_server.types import Hypothesis, Span, Token, Word

VOCABULARY = ("one", "six", "sixteen", "teen", "a", "the", "Over", "over,", "l'été", "été.", "—", "7")
"""Few words, so that the same one stands next to itself, and some that are the end of another."""
JITTER = 0.04
"""Seconds by which two windows disagree about a time: half a frame."""


@dataclass(frozen=True)
class Talk:
    """What was really said, and where the detector found it."""

    words: tuple[Word, ...]
    spans: list[Span]
    duration: float


@st.composite
def talks(draw: st.DrawFn) -> Talk:
    """Words with pauses, at times long ones, at times none for a minute."""
    pauses = st.sampled_from([0.0, 0.0, 0.0, 0.05, 0.3, 0.3, 1.0, 4.0])
    lengths = st.floats(0.12, 0.7)
    count = draw(st.integers(0, 60))
    gaps = draw(st.lists(pauses, min_size=count, max_size=count)) if draw(st.booleans()) else [0.0] * count
    words, now = [], 0.0
    for gap in gaps:
        start = now + gap
        now = start + draw(lengths)
        words.append(Word(draw(st.sampled_from(VOCABULARY)), start, now, confidence=0.9))
    # The detector knows nothing of words: where it parts speech, it may part one.
    spans: list[Span] = []
    for word in words:
        if spans and word.start - spans[-1].end < 0.19:
            spans[-1] = Span(spans[-1].start, word.end)
        else:
            spans.append(Span(word.start, word.end))
    return Talk(tuple(words), [part for span in spans for part in _parts(draw, span)], now)


def _parts(draw: st.DrawFn, span: Span) -> list[Span]:
    edges = [span.start]
    while span.end - edges[-1] > 2.5:
        edges.append(edges[-1] + draw(st.floats(1.3, 2.4)))
    return [Span(*edge) for edge in pairwise([*edges, span.end])]


def spell(words: Sequence[Word]) -> Hypothesis:
    """The words, and tokens of up to three letters that spell them."""
    tokens = [
        Token(n, (" " if n == 0 else "") + word.text[n : n + 3], word.start + 0.01 * n, -0.1)
        for word in words
        for n in range(0, len(word.text), 3)
    ]
    return Hypothesis(tuple(words), tuple(tokens))


def hear(talk: Talk, window: Window, chance: random.Random) -> Hypothesis:
    """A perfect recogniser, but for words that the window's audio cuts: each is lost or mutilated."""
    heard = []
    for word in talk.words:
        if word.end <= window.span.start or word.start >= window.span.end:
            continue
        start, end = (time + chance.uniform(-JITTER, JITTER) for time in (word.start, word.end))
        if word.start >= window.span.start and word.end <= window.span.end:
            heard.append(replace(word, start=start, end=max(start, end)))
        elif chance.random() < 0.5:
            half = len(word.text) // 2 or 1
            text = word.text[half:] or "uh" if word.start < window.span.start else word.text[:half]
            start, end = max(start, window.span.start), min(end, window.span.end)
            heard.append(Word(text, start, max(start, end), 0.3))
    return spell(heard)


def cut(talk: Talk) -> list[Window]:
    cutter = Cutter(shortest=2.5, longest=5)
    return cutter.feed(talk.spans, now=talk.duration) + cutter.finish(talk.duration)


def join(heard: list[tuple[Window, Hypothesis | None]]) -> Hypothesis:
    joiner = Joiner()
    return concatenate([*(joiner.add(*each) for each in heard), joiner.finish()])


def texts(hypothesis: Hypothesis) -> list[str]:
    return [word.text for word in hypothesis.words]


@given(talks(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=200)
def test_every_word_comes_out_once_in_order(talk: Talk, chance: random.Random) -> None:
    """Whatever the windows, what a perfect recogniser hears in them joins to what was said."""
    heard: list[tuple[Window, Hypothesis | None]] = [(window, hear(talk, window, chance)) for window in cut(talk)]
    chance.shuffle(heard)
    joined = join(heard)
    assert texts(joined) == [word.text for word in talk.words]
    assert "".join(token.text for token in joined.tokens).split() == texts(joined)


@given(talks(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_times_go_forward(talk: Talk, chance: random.Random) -> None:
    """Words do not overlap, lie in the recording, and near where they were said; tokens lie in their words."""
    joined = join([(window, hear(talk, window, chance)) for window in cut(talk)])
    assert all(a.start <= a.end <= b.start for a, b in pairwise(joined.words))
    assert all(0 <= word.start <= word.end <= talk.duration for word in joined.words)
    for said, word in zip(talk.words, joined.words, strict=True):
        assert word.start == pytest.approx(said.start, abs=0.12)
        assert word.end == pytest.approx(said.end, abs=0.12)
    assert all(a.start <= b.start for a, b in pairwise(joined.tokens))
    assert all(joined.words[0].start <= token.start <= joined.words[-1].end for token in joined.tokens)


@given(talks(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_arrival_does_not_matter(talk: Talk, chance: random.Random) -> None:
    """The same windows in another order join to the same words, given out in order as soon as they are certain."""
    heard: list[tuple[Window, Hypothesis | None]] = [(window, hear(talk, window, chance)) for window in cut(talk)]
    shuffled = chance.sample(heard, len(heard))
    assert join(shuffled) == join(heard)


@given(talks(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_a_failed_window_takes_nobody_with_it(talk: Talk, chance: random.Random) -> None:
    """All that the other windows own is there, nothing is doubled."""
    windows = cut(talk)
    failed = {window.index for window in windows if chance.random() < 0.4}
    heard = [(window, None if window.index in failed else hear(talk, window, chance)) for window in windows]
    found = texts(join(heard))
    near = 2 * JITTER
    sure, possible = [], []
    for word in talk.words:
        middle = (word.start + word.end) / 2
        owners = [w for w in windows if w.owned.start - near <= middle <= w.owned.end + near]
        if all(window.index not in failed for window in owners):
            sure.append(word.text)
        if any(window.index not in failed for window in owners):
            possible.append(word.text)
    assert _is_within(sure, found)
    assert _is_within(found, possible)


def _is_within(part: list[str], whole: list[str]) -> bool:
    """Whether `part` is what remains of `whole` when some are left out."""
    rest = iter(whole)
    return all(text in rest for text in part)


def seam(left: list[Word], right: list[Word]) -> list[str]:
    """Two windows that meet at 10 s, each hearing 1.25 s of the other."""
    first = Window(0, Span(0, 11.25), Span(0, 10))
    second = Window(1, Span(8.75, 20), Span(10, 20), joined=True)
    return texts(join([(first, spell(left)), (second, spell(right))]))


@pytest.mark.parametrize(
    ("left", "right", "joined"),
    [
        pytest.param(
            [Word("Hello", 9.0, 9.3), Word("world.", 9.9, 10.06)],
            [Word("hello", 9.1, 9.3), Word("World", 9.98, 10.3), Word("again.", 10.5, 11)],
            ["Hello", "World", "again."],
            id="the same words, heard on both sides of the cut",
        ),
        pytest.param(
            [Word("one", 9.0, 9.3), Word("one", 9.5, 9.8), Word("one", 10.1, 10.4)],
            [Word("one", 9.52, 9.8), Word("one", 10.1, 10.4), Word("one", 10.6, 10.9)],
            ["one"] * 4,
            id="one word four times",
        ),
        pytest.param(
            [Word("their", 9.7, 10.2)], [Word("there", 9.8, 10.4), Word("is", 10.5, 10.6)], ["there", "is"],
            id="one sound, heard in two ways",
        ),
        pytest.param(
            [Word("only", 9.2, 9.5), Word("both", 9.6, 9.9)], [Word("both", 9.6, 9.9), Word("here", 10.3, 10.6)],
            ["only", "both", "here"],
            id="a word heard by its owner alone",
        ),
        pytest.param(
            [Word("left", 9.2, 9.5), Word("noise", 10.9, 11.2)], [Word("ght", 8.75, 8.9), Word("right", 10.2, 10.5)],
            ["left", "right"],
            id="what neither owns and only one heard",
        ),
        pytest.param([], [Word("mine", 10.2, 10.5)], ["mine"], id="nothing heard on the left"),
        pytest.param([Word("mine", 9.2, 9.5)], [], ["mine"], id="nothing heard on the right"),
    ],
)  # fmt: skip
def test_seams(left: list[Word], right: list[Word], joined: list[str]) -> None:
    """At a cut through speech each word is taken once, from the side that hears it better."""
    assert seam(left, right) == joined


def test_words_are_given_out_as_soon_as_they_are_certain() -> None:
    """Only the words around a seam wait for the next window."""
    joiner = Joiner()
    first = Window(0, Span(0, 11.25), Span(0, 10))
    second = Window(1, Span(8.75, 20), Span(10, 20), joined=True)
    sealed = joiner.add(first, spell([Word("early", 1, 2), Word("late", 9.5, 9.9)]))
    assert texts(sealed) == ["early"]
    assert texts(joiner.add(second, spell([Word("late", 9.5, 9.9), Word("last", 12, 13)]))) == ["late", "last"]
    assert joiner.finish() == Hypothesis()


def test_a_window_waits_for_its_forerunner() -> None:
    """Nothing is given out before what was said earlier."""
    joiner = Joiner()
    windows = [Window(n, Span(10 * n, 10 * n + 8), Span(10 * n, 10 * n + 8)) for n in range(3)]
    assert texts(joiner.add(windows[2], spell([Word("c", 21, 22)]))) == []
    assert texts(joiner.add(windows[0], spell([Word("a", 1, 2)]))) == ["a"]
    assert texts(joiner.add(windows[1], spell([Word("b", 11, 12)]))) == ["b", "c"]


def test_times_outside_the_audio_are_brought_back() -> None:
    """An engine that hears words in the silence it appends does not push them past the window's end."""
    window = Window(0, Span(2, 5), Span(2, 5))
    said = join([(window, spell([Word("so", 1.9, 2.3), Word("late", 4.9, 5.4), Word("later", 5.2, 5.5)]))])
    assert [(word.start, word.end) for word in said.words] == [(2, 2.3), (4.9, 5), (5, 5)]
    assert all(2 <= token.start <= 5 for token in said.tokens)


def test_tokens_without_word_starts_go_by_time() -> None:
    """Tokens that do not spell the words stay, each with the word it was heard in."""
    words = (Word("日本", 1, 2), Word("語", 2.1, 3))
    tokens = (Token(1, "日", 1, -0.1), Token(2, "本", 1.5, -0.1), Token(3, "語", 2.1, -0.1))
    window = Window(0, Span(0, 4), Span(0, 4))
    assert join([(window, Hypothesis(words, tokens))]) == Hypothesis(words, tokens)


# -- Words without times -----------------------------------------------------------------------------


def vague(window: Window, said: Sequence[str]) -> Hypothesis:
    """The words of a window, by an engine that cannot tell where in it they are."""
    return Hypothesis(tuple(Word(text, window.span.start, window.span.end, exact=False) for text in said))


@given(talk=talks(), late=st.booleans())
@settings(deadline=None)
def test_words_without_times_come_out_once_too(talk: Talk, late: bool) -> None:
    """Each once and in order, in stretches that go forward and do not overlap, however the windows come in."""
    named = [(f"w{n}", word) for n, word in enumerate(talk.words)]
    heard: list[tuple[Window, Hypothesis | None]] = [
        (window, vague(window, [text for text, word in named if _is_inside(word, window.span)])) for window in cut(talk)
    ]
    joined = join(heard[::-1] if late else heard)
    assert texts(joined) == [text for text, word in named if any(_is_inside(word, w.span) for w, _ in heard)]
    stretches = list(dict.fromkeys((word.start, word.end) for word in joined.words))
    assert all(before[1] <= after[0] for before, after in pairwise(stretches))
    assert all(0 <= start < end <= talk.duration for start, end in stretches)


def _is_inside(word: Word, span: Span) -> bool:
    return span.start <= word.start and word.end <= span.end


@pytest.mark.parametrize(
    ("left", "right", "joined"),
    [
        ("I am going to the", "going to the shop", "I am going to the shop"),
        ("I am going to", "I am going to the shop", "I am going to the shop"),
        ("and then, Over there", "over there we go", "and then, Over there we go"),
        ("it was a lovely daisy", "a lovely day in May", "it was a lovely day in May"),  # the last is cut in two
        ("nothing fits", "here at all", "nothing fits here at all"),
        ("so that was the end of it", "begin the story again", "so that was the end of it begin the story again"),
        ("", "right", "right"),
        ("left", "", "left"),
    ],
)
def test_seams_without_times(left: str, right: str, joined: str) -> None:
    """What ends one window and begins the next is said once; where nothing fits, nothing is lost."""
    first = Window(0, Span(0, 11.25), Span(0, 10))
    second = Window(1, Span(8.75, 20), Span(10, 20), joined=True)
    said = join([(first, vague(first, left.split())), (second, vague(second, right.split()))])
    assert " ".join(texts(said)) == joined


def test_the_language_is_that_of_most_words() -> None:
    """Windows may disagree, and a silent one has no vote."""
    windows = [Window(n, Span(10 * n, 10 * n + 8), Span(10 * n, 10 * n + 8)) for n in range(3)]
    heard = [(window, vague(window, said.split())) for window, said in zip(windows, ("oui", "a b c", ""), strict=True)]
    languages = ("fr", "en", "fr")
    told: list[tuple[Window, Hypothesis | None]] = [
        (window, replace(hypothesis, language=language))
        for (window, hypothesis), language in zip(heard, languages, strict=True)
    ]
    assert join(told).language == "en"
