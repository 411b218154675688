"""How the pieces of a vocabulary can spell a term, whatever their case and accents.

A model has its own way to cut a name into pieces, one of hundreds, and the tokens file does not say which. So none is
chosen here: each place in a term lists the pieces that may come there, and the search takes those that the model likes.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from stt_server.speech.engines.vocabulary import Vocabulary

SHORTEST = 3
"""Letters. What is shorter is like too many words."""
_MARKS = "'-"
"""Within a word; the model may write them or not."""
_SAME = str.maketrans({"œ": "oe", "æ": "ae", "’": "'", "‐": "-", "‑": "-"})
_SOUNDS = (
    *(("eaux", "o"), ("eau", "o"), ("aux", "o"), ("au", "o"), ("ai", "e"), ("ei", "e")),
    *(("ph", "f"), ("th", "t"), ("gh", "g"), ("ck", "k"), ("qu", "k"), ("q", "k"), ("c", "k"), ("x", "ks")),
    *(("h", ""), ("w", "v"), ("y", "i"), ("z", "s")),
)
"""What English and French spell alike in sound, in the order in which it is replaced."""


@dataclass(frozen=True, slots=True)
class Move:
    """A piece that may come next."""

    token: int
    place: int
    """In the term, after it."""
    exact: bool
    """Its accents are the term's, and so is its capital where the term has one in front."""


@dataclass(frozen=True, slots=True)
class Term:
    """A name or word that the caller expects."""

    text: str
    """As the caller writes it."""
    moves: tuple[tuple[Move, ...], ...]
    """By place: 0 is before the space in front, 1 after it, the last one after the last letter."""
    at: tuple[int, ...]
    """By place, where it lies in the text with its space in front."""
    letters: int
    """And digits."""
    sound: str

    @property
    def end(self) -> int:
        """The last place."""
        return len(self.moves) - 1

    def spelt(self, tokens: Sequence[int], *, start: int) -> list[int] | None:
        """The places before, between and after tokens that spell the term from `start` to its end; None if not."""
        places = [start]
        for token in tokens:
            following = [move.place for move in self.moves[places[-1]] if move.token == token]
            if not following:
                return None
            places.append(following[0])
        return places if places[-1] == self.end else None

    def written(self, places: Sequence[int]) -> list[str]:
        """The text, in the parts that lie between the places."""
        cuts = [*(self.at[place] for place in places[:-1]), len(self.text) + 1]
        return [f" {self.text}"[start:stop] for start, stop in pairwise(cuts)]


@dataclass(frozen=True, slots=True)
class _Piece:
    token: int
    lower: str
    """Its text in lower case, accents kept."""
    capital: bool


class Speller:
    """Spells terms with a vocabulary's pieces."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        pieces = defaultdict[str, list[_Piece]](list)
        for token, text in enumerate(vocabulary.texts):
            if text is not None and (letters := folded(text)):
                pieces[letters].append(_Piece(token, _lower(text), text.strip()[:1].isupper()))
        self._pieces: Mapping[str, list[_Piece]] = pieces
        self._longest = max(map(len, pieces), default=0)

    def term(self, text: str) -> Term | None:
        """The term; None where it is too short, or the pieces cannot spell it."""
        text = unicodedata.normalize("NFC", " ".join(text.split()))
        wanted = _wanted(text)
        letters = sum(character.isalnum() for character in wanted.letters)
        moves = [tuple(self._moves(wanted, place)) for place in range(len(wanted.letters))]
        if letters < SHORTEST or not _leads_to_the_end(moves):
            return None
        return Term(text, (*moves, ()), wanted.at, letters, sound(text))

    def _moves(self, wanted: "_Wanted", place: int) -> Iterator[Move]:
        for length in range(1, min(self._longest, len(wanted.letters) - place) + 1):
            after = place + length
            spelt, accented = wanted.letters[place:after], wanted.accented[place:after]
            yield from _moves_by(self._pieces.get(spelt, ()), accented, after, capital=wanted.capital_in(place, after))
            if spelt[0] == "-":  # two words to the model
                spelt, accented = " " + spelt[1:], " " + accented[1:]
                yield from _moves_by(self._pieces.get(spelt, ()), accented, after, capital=False)
        if place and not wanted.letters[place].isalnum():  # a space or mark within the term may be left out
            yield from self._moves(wanted, place + 1)


def _moves_by(pieces: Sequence[_Piece], accented: str, after: int, *, capital: bool) -> Iterator[Move]:
    for piece in pieces:
        yield Move(piece.token, after, piece.lower == accented and (piece.capital or not capital))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A term's letters as pieces may spell them, a space in front."""

    letters: str
    accented: str
    """The same with its accents."""
    at: tuple[int, ...]
    """As in `Term`."""
    capital: bool
    """Whether the term begins with one."""

    def capital_in(self, place: int, after: int) -> bool:
        """Whether a capital that the term begins with is between two places."""
        return self.capital and place <= 1 < after


def _wanted(text: str) -> _Wanted:
    letters, accented, at = " ", " ", [0]
    for index, (before, character) in enumerate(pairwise(f" {text}"), start=1):
        plain, lower = folded(character), _lower(character)
        if before.islower() and character.isupper():  # "OpenAI" may be two words to the model
            plain, lower = f" {plain}", f" {lower}"
        letters += plain
        accented += lower if len(lower) == len(plain) else plain
        at += [index] * len(plain)
    letters = letters.rstrip(" " + _MARKS)
    return _Wanted(letters, accented[: len(letters)], (*at[: len(letters)], len(text) + 1), text[:1].isupper())


def folded(text: str) -> str:
    """Its letters and digits without case and accents, and the spaces and marks between them."""
    plain = unicodedata.normalize("NFKD", text.casefold().translate(_SAME)).casefold()  # "№" becomes "No"
    return "".join(character for character in plain if character.isalnum() or character in " " + _MARKS)


def letters_of(text: str) -> str:
    """Its letters and digits without case and accents, and nothing else."""
    return "".join(character for character in folded(text) if character.isalnum())


def sound(text: str) -> str:
    """Roughly how it sounds: under this key, a misheard name is alike."""
    heard = letters_of(text)
    for letters, same in _SOUNDS:
        heard = heard.replace(letters, same)
    return re.sub(r"(.)\1+", r"\1", heard)


def _lower(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold().translate(_SAME))


def _leads_to_the_end(moves: Sequence[Sequence[Move]]) -> bool:
    reached = {0}
    for place, following in enumerate(moves):
        if place in reached:
            reached.update(move.place for move in following if move.exact)
    return len(moves) in reached
