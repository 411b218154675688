"""A caller's terms, and which of them sound like what was heard."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stt_server.speech.engines.keyterms.expected import expected
from stt_server.speech.engines.keyterms.spelling import Speller, Term, letters_of, sound
from stt_server.types import Options

_ALIKE = 0.5
"""Likeness above which a term is tried. From 0.4 on, seven times as many would be tried to find a tenth more."""
_PER_LIKENESS, _PER_LETTER, _MOST_LETTERS, _OFFSET = 7.0, 0.75, 12, 8.0
"""How much less likely than what was heard a term may be, as a natural logarithm: 7 for one that sounds the same, 3/4
for each letter, and 8 off. A long name that sounds alike is hardly ever there by chance, a short one often.

`docs/decisions.md` has the measurements. They are of likelihoods and letters, not of pieces, which differ by model.
"""
_MOST_TRIED = 8
"""Terms for a word. More are alike only in lists made for it, and each costs some twenty steps."""
_LETTERS = 64
"""Kinds of letters that are told apart when they are counted."""


@dataclass(frozen=True, slots=True)
class Likely:
    """A term that may have been said."""

    term: Term
    allowed: float
    """How much less likely than what was heard it may be, as a natural logarithm."""


class Lexicon:
    """The terms of one request."""

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms = tuple(terms)
        self._spelt = {letters_of(term.text): term for term in reversed(terms)}
        self._counts = np.array([_counts(term.sound) for term in terms]).reshape(-1, _LETTERS)
        self._lengths = np.array([len(term.sound) for term in terms], np.int64)

    def __len__(self) -> int:
        return len(self.terms)

    def spelt(self, letters: str) -> Term | None:
        """The term of these letters, without case and accents."""
        return self._spelt.get(letters)

    def alike(self, heard: Sequence[str]) -> list[Likely]:
        """The terms that sound like one of these texts, the likeliest first."""
        best = dict[int, float]()
        for key in dict.fromkeys(map(sound, heard)):
            for index in self._candidates(key):
                best[index] = max(best.get(index, 0.0), likeness(self.terms[index].sound, key))
        found = [_likely(self.terms[index], alike) for index, alike in best.items() if alike > _ALIKE]
        found = [likely for likely in found if likely.allowed > 0]
        return sorted(found, key=lambda likely: -likely.allowed)[:_MOST_TRIED]

    def _candidates(self, key: str) -> Iterator[int]:
        """Those that share letters enough, since comparing the order of all of them would take long."""
        shared = np.minimum(self._counts, _counts(key)).sum(axis=1)
        yield from np.flatnonzero(shared > _ALIKE * np.maximum(self._lengths, len(key))).tolist()


def compile_terms(options: Options, speller: Speller) -> Lexicon:
    """The terms that the options name, as far as the model can write them."""
    terms = [speller.term(text) for text in expected(options)]
    return Lexicon([term for term in terms if term is not None])


def likeness(one: str, other: str) -> float:
    """1 for the same, 0 for nothing in common: the part of the longer one that need not be changed."""
    longest = max(len(one), len(other))
    return 1 - _changes(one, other) / longest if longest else 1.0


def _changes(one: str, other: str) -> int:
    """Levenshtein's distance, a row at a time in the bits of two numbers (Myers 1999, Hyyrö 2003): five times as fast.

    Bit i of `up` says that the row rises from letter i of `one` to the next, of `down` that it falls.
    """
    where = dict.fromkeys(one, 0)
    for index, letter in enumerate(one):
        where[letter] |= 1 << index
    every = (1 << len(one)) - 1
    last = every ^ (every >> 1)
    up, down, changes = every, 0, len(one)
    for letter in other:
        same = where.get(letter, 0)
        diagonal = (((same & up) + up) ^ up) | same | down
        rise, fall = down | ~(diagonal | up) & every, up & diagonal
        changes += bool(rise & last) - bool(fall & last)
        rise, fall = (rise << 1 | 1) & every, fall << 1 & every
        up, down = fall | ~(diagonal | rise) & every, rise & diagonal
    return changes if one else len(other)


def _likely(term: Term, alike: float) -> Likely:
    return Likely(term, _PER_LIKENESS * alike + _PER_LETTER * min(term.letters, _MOST_LETTERS) - _OFFSET)


def _counts(text: str) -> NDArray[np.int64]:
    return np.bincount([ord(letter) % _LETTERS for letter in text], minlength=_LETTERS)
