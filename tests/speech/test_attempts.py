"""What is tried with a window that fails."""

import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from stt_server.speech.attempts import SHORTEST_TO_HALVE, Outcome, attempts
from stt_server.speech.chunking import Window
from stt_server.types import Hypothesis, Span, Word
from tests.speech.test_joining import Talk, cut, hear, join, talks, texts

WINDOW = Window(3, Span(8.75, 31.25), Span(10, 30), joined=True)
SAID = Hypothesis((Word("first", 11, 12), Word("last", 28, 29)))

Hears = Callable[[Window], Hypothesis | None]


def follow(window: Window, hears: Hears) -> tuple[Outcome, list[Window]]:
    """Do what is wanted until nothing is; what came of it, and what was wanted."""
    steps, wanted = attempts(window), []
    try:
        wanted.append(next(steps))
        while True:
            wanted.append(steps.send(hears(wanted[-1])))
    except StopIteration as end:
        return end.value, wanted


def heard_in(window: Window) -> Hypothesis:
    return Hypothesis(tuple(w for w in SAID.words if window.span.start <= w.start and w.end <= window.span.end))


def test_a_window_that_is_heard_is_tried_once() -> None:
    """No work is done twice."""
    assert follow(WINDOW, lambda _: SAID) == (Outcome(SAID), [WINDOW])


def test_a_failed_window_is_tried_again() -> None:
    """A failure that does not come back costs nothing but time."""
    answers = iter([None, SAID])
    assert follow(WINDOW, lambda _: next(answers)) == (Outcome(SAID), [WINDOW, WINDOW])


def test_silence_is_an_answer() -> None:
    """Hearing nothing is not a failure."""
    assert follow(WINDOW, lambda _: Hypothesis()) == (Outcome(Hypothesis()), [WINDOW])


def test_what_stays_deaf_is_a_gap() -> None:
    """When the halves fail too, the whole window is reported."""
    outcome, wanted = follow(WINDOW, lambda _: None)
    assert outcome == Outcome(None, (WINDOW.owned,))
    assert len(wanted) == 4


def test_one_deaf_half_leaves_the_other() -> None:
    """The half that can be heard is kept, and the gap is no longer than the other's part."""
    outcome, _ = follow(WINDOW, lambda window: heard_in(window) if window.span.start > 10 else None)
    assert outcome.hypothesis is not None
    assert texts(outcome.hypothesis) == ["last"]
    assert outcome.gaps == (Span(10, 20),)


def test_a_short_window_is_not_halved() -> None:
    """Halves of two seconds would be nothing but overlap."""
    short = Window(0, Span(0, 3), Span(0, 3))
    assert follow(short, lambda _: None) == (Outcome(None, (short.owned,)), [short, short])


@given(talks(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_halves_say_what_the_window_would_have(talk: Talk, chance: random.Random) -> None:
    """Where only halves can be heard, every word still comes out once, in order."""
    heard: list[tuple[Window, Hypothesis | None]] = []
    for window in cut(talk):
        deaf = {window} if chance.random() < 0.5 and window.span.duration >= SHORTEST_TO_HALVE else set()
        outcome, _ = follow(window, _hears(talk, deaf, chance))
        assert outcome.gaps == ()
        heard.append((window, outcome.hypothesis))
    assert texts(join(heard)) == [word.text for word in talk.words]


def _hears(talk: Talk, deaf: set[Window], chance: random.Random) -> Hears:
    return lambda window: None if window in deaf else hear(talk, window, chance)
