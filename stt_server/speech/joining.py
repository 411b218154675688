"""How the words of windows join (pure): none doubled, none lost, in order, whatever order the windows come in."""

import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import pairwise, zip_longest
from math import ceil, inf

from stt_server.speech.chunking import OVERLAP, Window
from stt_server.types import Hypothesis, Span, Token, Word

SAME_WORD_SECS = 0.6
"""The same word in two windows lies this close: punctuation may stretch its end by as much."""
SAME_SOUND_SECS = 0.15
"""Different words this close, or half on top of each other, are one sound heard in two ways."""
SLACK_SECS = 0.5
"""Words this far outside the common audio may still match a word inside it."""
_SHORTEST_WORD = 0.1
"""Seconds. In the audio that two windows share, there is room for so many words; auctioneers say six a second."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """A word and the tokens that spell it."""

    word: Word
    tokens: tuple[Token, ...]

    @property
    def middle(self) -> float:
        return (self.word.start + self.word.end) / 2


class Joiner:
    """Joins the windows of one recording. Each is added once, in any order."""

    def __init__(self) -> None:
        self._early: dict[int, tuple[Window, Hypothesis | None]] = {}
        """Windows whose forerunners are still missing."""
        self._next = 0
        self._held: list[_Heard] = []
        """Words at the end of the last window that the next one heard too."""
        self._clock = 0.0
        """End of the last word given out."""
        self._place: tuple[Span, Span] | None = None
        """Where the last inexact word was said to be, and where it was given out to be."""

    def add(self, window: Window, hypothesis: Hypothesis | None) -> Hypothesis:
        """Take one window's words (None: it failed), in times of the file; what is certain since, in order."""
        self._early[window.index] = window, hypothesis
        sealed = []
        while self._next in self._early:
            sealed.append(self._give(self._join(*self._early.pop(self._next))))
            self._next += 1
        return replace(concatenate(sealed), language=hypothesis.language if hypothesis else None)

    def finish(self) -> Hypothesis:
        """There are no more windows: the words held back. A window never added counts as failed."""
        sealed = [self._give(self._join(*self._early.pop(index))) for index in sorted(self._early)]
        held, self._held = self._held, []
        return concatenate([*sealed, self._give(held)])

    def _join(self, window: Window, hypothesis: Hypothesis | None) -> list[_Heard]:
        """The words before the next seam, if there is one. Those around it wait for the next window."""
        heard = _heard(window.span, hypothesis) if hypothesis else []
        heard = _stitch(self._held, heard, window.owned.start) if window.joined else self._held + heard
        shared_from = window.owned.end - OVERLAP - SLACK_SECS if window.owned.end < window.span.end else inf
        sealed = next((n for n, one in enumerate(heard) if one.word.end > shared_from), len(heard))
        self._held = heard[sealed:]
        return heard[:sealed]

    def _give(self, sealed: list[_Heard]) -> Hypothesis:
        """Words and tokens with times that go forward only and do not overlap; inexact ones share theirs."""
        words, tokens = [], []
        for one, following in zip_longest(sealed, sealed[1:]):
            if not one.word.exact:
                words.append(self._give_inexact(one.word))
                continue
            start = max(one.word.start, self._clock)
            end = max(start, min(one.word.end, following.word.start if following else inf))
            words.append(replace(one.word, start=start, end=end))
            tokens += [replace(token, start=min(max(token.start, start), end)) for token in one.tokens]
            self._clock = end
        return Hypothesis(tuple(words), tuple(tokens))

    def _give_inexact(self, word: Word) -> Word:
        """The word where it was said to be, but behind all before it that was said to be elsewhere."""
        said = Span(word.start, word.end)
        if self._place is None or self._place[0] != said:
            start = max(said.start, self._clock)
            self._clock = max(start, said.end)
            self._place = said, Span(start, self._clock)
        return replace(word, start=self._place[1].start, end=self._place[1].end)


def concatenate(parts: Iterable[Hypothesis]) -> Hypothesis:
    """Sealed pieces, one after the other, as one, in the language of most of their words."""
    parts = list(parts)
    words = tuple(word for part in parts for word in part.words)
    spoken: dict[str, int] = {}
    for part in parts:
        if part.language:
            spoken[part.language] = spoken.get(part.language, 0) + len(part.words)
    language = max(spoken, key=lambda code: spoken[code], default=None)
    return Hypothesis(words, tuple(token for part in parts for token in part.tokens), language)


def _heard(span: Span, hypothesis: Hypothesis) -> list[_Heard]:
    """Words with their tokens, no time outside the audio they were heard in."""
    words = [
        replace(word, start=_within(span, word.start), end=_within(span, max(word.start, word.end)))
        for word in hypothesis.words
    ]
    return [_Heard(*pair) for pair in zip(words, _spelling(hypothesis), strict=True)]


def _within(span: Span, time: float) -> float:
    return min(max(time, span.start), span.end)


def _spelling(hypothesis: Hypothesis) -> list[tuple[Token, ...]]:
    """Each word's own tokens: from one leading space to the next, by time where that does not come out even."""
    words, tokens = hypothesis.words, hypothesis.tokens
    if not words:
        return []
    # A space alone stands before a word's own space.
    begins = [n for n, token in enumerate(tokens) if token.text.startswith(" ") and token.text.strip()]
    if len(begins) != len(words):
        begins = [bisect_left(tokens, word.start - 1e-6, key=lambda token: token.start) for word in words]
    return [tokens[begin:end] for begin, end in pairwise([0, *begins[1:], len(tokens)])]


# -- At a cut through speech -----------------------------------------------------------------------


def _stitch(left: list[_Heard], right: list[_Heard], seam: float) -> list[_Heard]:
    """Two windows' words around a cut, each once.

    A word heard by both is taken from the side that owns the place. A word heard by one is kept if that side does.
    """
    if not all(one.word.exact for one in [*left, *right]):
        return _stitch_by_text(left, right)
    reach = max([seam, *(one.word.end for one in left)]) + SLACK_SECS
    near = sum(one.word.start < reach for one in right)
    joined, before_left, before_right = [], 0, 0
    for at_left, at_right in [*_pairs(left, right[:near]), (len(left), near)]:
        joined += [one for one in left[before_left:at_left] if one.middle < seam]
        joined += [one for one in right[before_right:at_right] if one.middle >= seam]
        if at_left < len(left):
            mine, theirs = left[at_left], right[at_right]
            joined.append(mine if mine.middle + theirs.middle < 2 * seam else theirs)
        before_left, before_right = at_left + 1, at_right + 1
    return joined + right[near:]


def _stitch_by_text(left: list[_Heard], right: list[_Heard]) -> list[_Heard]:
    """The same by the words alone: what ends the left and begins the right, with a word or two astray, is said once.

    Where nothing fits, both are kept whole: a word said twice is better than one lost.
    """
    reach = ceil(2 * OVERLAP / _SHORTEST_WORD)
    tail, head = [[_normal(one.word.text) for one in part] for part in (left[-reach:], right[:reach])]
    matched = SequenceMatcher(None, tail, head, autojunk=False).find_longest_match()
    outside = len(tail) - matched.a - matched.size + matched.b
    if matched.size == 0 or outside > max(matched.size, 2):
        return left + right
    return left[: len(left) - len(tail) + matched.a + matched.size] + right[matched.b + matched.size :]


def _pairs(left: Sequence[_Heard], right: Sequence[_Heard]) -> list[tuple[int, int]]:
    """Which words are the same, as the best alignment of the two sides: indices in both, ascending."""
    best = [[(0.0, 0)] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i in range(1, len(left) + 1):
        for j in range(1, len(right) + 1):
            likeness = _likeness(left[i - 1], right[j - 1])
            ways = [best[i - 1][j][0], best[i][j - 1][0]]
            if likeness > 0:
                ways.append(best[i - 1][j - 1][0] + likeness)
            score = max(ways)
            best[i][j] = score, ways.index(score)
    pairs = []
    i, j = len(left), len(right)
    while i and j:
        way = best[i][j][1]
        if way == 2:
            pairs.append((i - 1, j - 1))
        i, j = i - (way != 1), j - (way != 0)
    return pairs[::-1]


def _likeness(mine: _Heard, theirs: _Heard) -> float:
    """How sure it is that both sides heard the same word; 0 if not."""
    apart = abs(mine.middle - theirs.middle)
    if apart <= SAME_WORD_SECS and _normal(mine.word.text) == _normal(theirs.word.text):
        # Falls so steeply that of the same word said several times each meets itself, not its neighbour.
        return 1.01 - apart / SAME_WORD_SECS
    common = min(mine.word.end, theirs.word.end) - max(mine.word.start, theirs.word.start)
    shorter = min(mine.word.end - mine.word.start, theirs.word.end - theirs.word.start)
    return 0.25 - apart / 10 if apart <= SAME_SOUND_SECS or common > shorter / 2 else 0.0


def _normal(text: str) -> str:
    """Letters and digits only, without case; a text without any stays as it is."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(letter for letter in folded if letter.isalnum()) or folded
