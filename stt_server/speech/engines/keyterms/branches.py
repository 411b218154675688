"""Ways that lead a search along the letters of a term.

The model chooses the pieces, the frames and the durations; only the letters are given. What comes out is how likely the
term is to the model itself, compared with what it had heard in the same frames.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile

import numpy as np
from numpy.typing import NDArray

from stt_server.speech.engines.features import Float32
from stt_server.speech.engines.keyterms.lexicon import Likely
from stt_server.speech.engines.keyterms.spelling import Term
from stt_server.speech.engines.tdt import Point, Step, Transducer, likeliest, walk
from stt_server.speech.engines.vocabulary import Vocabulary

_WIDTH = 2
"""Ways followed at a time. One misses half of the terms that fit; four find hardly more than two."""
_LONGEST = 30
"""Frames from a word's beginning to a term's end, 2.4 s."""
_BEYOND = 30
"""Frames from there to the beginning of the word behind it, at most."""
_OVERSHOT = 5
"""Frames by which a step can lead past the last of them."""


class Writing:
    """What the tokens of a vocabulary are in a text."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._texts = [text or "" for text in vocabulary.texts]
        self.blank = vocabulary.blank
        self._texts[self.blank] = ""
        within = [token for token, text in enumerate(self._texts) if text[:1].isalnum()]
        self.within_words: NDArray[np.intp] = np.array(within, np.intp)
        """The tokens that go on with a word."""

    def __len__(self) -> int:
        return len(self._texts)

    def text(self, step: Step) -> str:
        """What a step writes."""
        return self._texts[step.token]


@dataclass(frozen=True, slots=True)
class Window:
    """What is searched, and with what."""

    encoded: Float32
    transducer: Transducer
    writing: Writing

    def walk(self, point: Point) -> list[Step]:
        """The likeliest steps from a point to the end."""
        tokens, blank = len(self.writing), self.writing.blank
        return list(walk(self.encoded, self.transducer, point, tokens=tokens, blank=blank))

    def step(self, point: Point) -> Step:
        """The likeliest one."""
        return likeliest(self.encoded, self.transducer, point, tokens=len(self.writing))


class Stretch:
    """What was heard from the end of one word on."""

    def __init__(self, steps: Sequence[Step], word: int, writing: Writing, *, end: int) -> None:
        self.before = steps[: word + 1]
        """Up to the one that begins the next word; all others are blank."""
        self.deadline = steps[word].point.frame + _LONGEST
        """The frame by which a term must have ended."""
        self._end = min(end, self.deadline + _BEYOND)
        near = list(takewhile(lambda step: step.point.frame < self._end + _OVERSHOT, steps))
        self._frames = [step.point.frame for step in near]
        self._sums = list(accumulate((step.logprob() for step in near), initial=0.0))
        self._words = [step.point.frame for step in near[word + 1 :] if writing.text(step).startswith(" ")]

    def logprob(self, frame: int) -> float:
        """Of all steps before a frame."""
        return self._sums[bisect_left(self._frames, frame)]

    def word_after(self, frame: int) -> int:
        """Where the first word begins from a frame on, or the end."""
        return next((word for word in self._words if frame <= word < self._end), self._end)


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """A way along a term's letters."""

    logprob: float
    """Since the stretch began."""
    point: Point
    """Where it leads."""
    place: int
    """In the term."""
    kept: int
    """Steps of the stretch that it has in common with what was heard."""
    steps: tuple[Step, ...] = ()
    """The others."""

    def after(self, step: Step, place: int, *, blank: int) -> "Way":
        """The way a step further, to a place in the term."""
        logprob, point = self.logprob + step.logprob(), step.point.after(step.token, step.duration, blank=blank)
        return Way(logprob, point, place, self.kept, (*self.steps, step))


@dataclass(frozen=True, slots=True)
class Branch:
    """A term in the place of what was heard."""

    term: Term
    spare: float
    """How much less likely it might still be."""
    way: Way
    """Up to where it is compared, at the next word."""
    spoken: int
    """Steps of the way up to the term's end."""


def best_branch(window: Window, stretch: Stretch, likely: Likely, *, start: int) -> Branch | None:
    """The likeliest way along a term from a place in it, None where it is not likely enough."""
    branches = (_branch(window, stretch, likely, way) for way in _complete_ways(window, stretch, likely, start))
    return max((branch for branch in branches if branch.spare >= 0), key=lambda branch: branch.spare, default=None)


def _branch(window: Window, stretch: Stretch, likely: Likely, way: Way) -> Branch:
    """Go on to the beginning of the next word, so that the frames are the same."""
    spoken, writing = len(way.steps), window.writing
    stop, within = stretch.word_after(way.point.frame), True
    while way.point.frame < stop:
        step = window.step(way.point)
        if within:  # the term is not the beginning of another word
            others = step.scores.copy()
            others[writing.within_words] = -np.inf
            step = step.instead(int(others.argmax()))
        way = way.after(step, way.place, blank=writing.blank)
        within = within and step.token == writing.blank
    return Branch(likely.term, likely.allowed - _lost(way, stretch), way, spoken)


def _lost(way: Way, stretch: Stretch) -> float:
    """How much less likely it is than what was heard in the same frames."""
    return stretch.logprob(way.point.frame) - way.logprob


def _complete_ways(window: Window, stretch: Stretch, likely: Likely, start: int) -> list[Way]:
    """Up to the term's end, at most `_WIDTH`."""
    ways, complete = list(_first_ways(window, stretch, likely, start)), list[Way]()
    while len(complete) < _WIDTH:
        ways = [way for way in ways if _lost(way, stretch) <= likely.allowed and way.point.frame <= stretch.deadline]
        complete += [way for way in ways if way.place == likely.term.end]
        going = [way for way in ways if way.place != likely.term.end and way.point.frame < len(window.encoded)]
        going = sorted(going, key=lambda way: _lost(way, stretch))[:_WIDTH]
        if not going:
            break
        # Those at the earliest frame go on first: ways are compared where they have heard the same.
        frame = min(way.point.frame for way in going)
        ways = [way for way in going if way.point.frame > frame]
        for way in going:
            if way.point.frame == frame:
                ways += _next_ways(way, window.step(way.point), likely, blank=window.writing.blank)
    return complete


def _first_ways(window: Window, stretch: Stretch, likely: Likely, start: int) -> Iterator[Way]:
    """Those that leave the stretch at one of its first steps, whose scores are known already."""
    blank = window.writing.blank
    for kept, step in enumerate(stretch.before):
        way = Way(stretch.logprob(step.point.frame), step.point, start, kept)
        ways = _next_ways(way, step, likely, blank=blank)
        yield from ways if step is stretch.before[-1] else ways[:-1]


def _next_ways(way: Way, step: Step, likely: Likely, *, blank: int) -> list[Way]:
    """By the term's likeliest next pieces, and last by none."""
    moves = [move for move in likely.term.moves[way.place] if move.exact]
    moves.sort(key=lambda move: -step.scores[move.token])
    further = [way.after(step.instead(move.token), move.place, blank=blank) for move in moves[:_WIDTH]]
    return [*further, way.after(step.instead(blank), way.place, blank=blank)]
