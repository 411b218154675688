"""From emitted tokens to words with times and confidences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from stt_server.speech.engines.tdt import Emission
from stt_server.speech.engines.vocabulary import Vocabulary
from stt_server.types import Audio, Hypothesis, Token, Word

_UNSPOKEN = frozenset(".,;:!?…¿¡'’‘\"“”„«»()[]-–—")
"""Marks the voice does not stop at: the model gives them a place and a length all the same."""


@dataclass(frozen=True, slots=True)
class _Piece:
    token: Token
    end: float

    @property
    def spoken(self) -> bool:
        return not _UNSPOKEN.issuperset(self.token.text.strip())


def read_hypothesis(emissions: Sequence[Emission], vocabulary: Vocabulary, audio: Audio, *, frame: float) -> Hypothesis:
    """Words and tokens of one window, in times of the whole file, none past the end of its sound.

    `frame` is the length of an encoder frame in seconds.
    """
    texts = [vocabulary.texts[e.token] if e.text is None else e.text for e in emissions]
    found = [_piece(e, text, audio, frame) for e, text in zip(emissions, texts, strict=True)]
    pieces = [piece for piece in found if piece is not None]
    words = [word for group in _grouped(pieces) if (word := _word(group)) is not None]
    return Hypothesis(words=tuple(_unlapped(words)), tokens=tuple(piece.token for piece in pieces))


def _piece(emission: Emission, text: str | None, audio: Audio, frame: float) -> _Piece | None:
    """The emission as a token; None for the vocabulary's marks (`<unk>`, `<|en|>`), which are not text."""
    if text is None:
        return None
    # Tokens may come in the quiet after the sound: there is no time for them in the file.
    start = min(emission.frame * frame, audio.duration)
    end = min((emission.frame + max(emission.duration, 1)) * frame, audio.duration)
    return _Piece(Token(emission.token, text, audio.start + start, emission.logprob), audio.start + end)


def _grouped(pieces: Sequence[_Piece]) -> list[list[_Piece]]:
    """One list per word: a leading space begins the next."""
    groups: list[list[_Piece]] = []
    for piece in pieces:
        if not groups or piece.token.text.startswith(" "):
            groups.append([])
        groups[-1].append(piece)
    return groups


def _word(pieces: Sequence[_Piece]) -> Word | None:
    """One word. None for a lone space, which stands before another word's space.

    It ends with its last spoken piece: a comma's own length would carry it up to 560 ms into the pause.
    Its confidence is that of its least likely piece, since one wrong piece makes a wrong word.
    """
    text = "".join(piece.token.text for piece in pieces).strip()
    if not text:
        return None
    spoken = [piece for piece in pieces if piece.spoken] or pieces
    confidence = math.exp(min(piece.token.logprob for piece in spoken))
    return Word(text, pieces[0].token.start, spoken[-1].end, confidence)


def _unlapped(words: Sequence[Word]) -> list[Word]:
    """End each word where the next begins, at the latest."""
    cut = [replace(word, end=min(word.end, following.start)) for word, following in pairwise(words)]
    return [*cut, *words[-1:]]
