"""The search when terms are expected, over a script of what is heard at each frame."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_server.speech.engines.features import Float32
from stt_server.speech.engines.keyterms.boosting import search_for
from stt_server.speech.engines.keyterms.branches import Writing
from stt_server.speech.engines.keyterms.lexicon import Lexicon, compile_terms
from stt_server.speech.engines.keyterms.spelling import Speller
from stt_server.speech.engines.tdt import Emission, Memory, search
from stt_server.speech.engines.vocabulary import Vocabulary
from stt_server.types import Options
from tests.speech.engines.test_tdt import MadeUp

PIECES = (
    None,
    " ",
    *"abcdefghijklmnopqrstuvwxyzé'.ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    " A",
    " I",
    " M",
    " h",
    " t",
    " w",
    " W",
    None,
)
BLANK = len(PIECES) - 1
VOCABULARY = Vocabulary(PIECES, BLANK)
SPELLER, WRITING = Speller(VOCABULARY), Writing(VOCABULARY)
NEVER = -50.0

Frame = str | Mapping[str, float]
"""What is heard for certain, or the log-probabilities of some pieces; `_` is nothing."""


class Script:
    """A transducer for frames that hold the scores themselves. Every step leads to the next frame."""

    def start(self) -> Memory:
        nothing = np.zeros(1, np.float32)
        return Memory(BLANK, (nothing, nothing), next_state=(nothing, nothing))

    def join(self, frame: Float32, memory: Memory) -> Float32:
        memory.next_state = memory.state
        return frame


def sound_of(frames: Sequence[Frame]) -> Float32:
    encoded = np.full((len(frames), len(PIECES) + 2), NEVER, np.float32)
    encoded[:, -1] = 0  # a duration of one frame
    for row, frame in zip(encoded, frames, strict=True):
        for piece, logprob in ({frame: 0.0} if isinstance(frame, str) else frame).items():
            row[BLANK if piece == "_" else PIECES.index(piece)] = logprob
    return encoded


def lexicon(*terms: str, prompt: str | None = None) -> Lexicon:
    return compile_terms(Options("m", keyterms=terms, prompt=prompt), SPELLER)


def found(frames: Sequence[Frame], *terms: str) -> list[Emission]:
    return search_for(sound_of(frames), Script(), WRITING, lexicon(*terms))


def heard(frames: Sequence[Frame], *terms: str) -> str:
    return "".join((PIECES[e.token] or "") if e.text is None else e.text for e in found(frames, *terms))


def unsure(likely: str, other: str, margin: float) -> Frame:
    """Two pieces, one of them less likely by a margin."""
    first = -np.log(1 + np.exp(-margin))
    return {likely: first, other: first - margin}


WASO = [" t", "o", unsure(" w", " W", 0.5), "a", unsure("s", "z", 1.0), "_", "o", " h", "i"]
"""`to waso hi`, which may have been Wazo."""


def test_a_term_that_may_have_been_said_is_written() -> None:
    """And what is around it stays."""
    assert heard(WASO) == " to waso hi"
    assert heard(WASO, "Wazo") == " to Wazo hi"
    assert heard(WASO, "Kubernetes", "Wazo") == " to Wazo hi"


def test_its_scores_are_its_own() -> None:
    """Frames and probabilities are those of the term, not of what it took the place of."""
    emissions = found(WASO, "Wazo")
    assert [(PIECES[e.token], e.frame) for e in emissions[2:6]] == [(" W", 2), ("a", 3), ("z", 4), ("o", 6)]
    assert emissions[4].logprob == pytest.approx(-np.log(1 + np.exp(1.0)), abs=1e-4)


def test_a_term_that_was_not_said_is_not_written() -> None:
    """It may sound alike: where the model is sure, it stays with what it heard."""
    sure = [" t", "o", unsure(" w", " W", 0.5), "a", unsure("s", "z", 9.0), "o", " h", "i"]
    assert heard(sure, "Wazo") == " to waso hi"


def test_a_term_is_not_the_beginning_of_a_word() -> None:
    """Who says `washed` has not said Wash, however sure the first letters are; `'s` may follow."""
    said = [" W", "a", "s", "h", "e", "d", " h", "i"]
    assert heard(said, "Wash") == " Washed hi"
    whose = [unsure(" w", " W", 0.1), "a", unsure("s", "z", 0.1), "o", "'", "s", ".", " h"]
    assert heard(whose, "Wazo") == " Wazo's. h"


def test_a_term_may_come_later_or_without_a_space() -> None:
    """Its first piece may be heard after that of the word it replaces, and a word begins behind an apostrophe."""
    late = [unsure(" w", "_", 0.1), {"o": -0.7, " W": -0.75}, "a", unsure("s", "z", 0.1), "o", " h"]
    assert heard(late, "Wazo") == " Wazo h"
    joined = [" t", "'", unsure("w", "W", 0.1), "a", unsure("s", "z", 0.1), "o", " h"]
    assert heard(joined, "Wazo") == " t'Wazo h"


def test_two_words_may_have_been_a_term() -> None:
    """Where the model split it."""
    split = [unsure(" t", " M", 0.2), unsure(" A", "a", 0.2), "r", "t", "i", "n"]
    assert heard(split) == " t Artin"
    assert heard(split, "Martin") == " Martin"


def test_every_time_it_is_said() -> None:
    """A term is found again after it was found."""
    assert heard([*WASO, *WASO], "Wazo") == " to Wazo hi to Wazo hi"


@pytest.mark.parametrize(
    ("said", "term", "written"),
    [
        (" t. Mcgregor", "MCGREGOR", " t. Mcgregor"),
        (" t Mcgregor", "McGregor", " t McGregor"),
        (" Mcgregor", "McGregor", " McGregor"),
        (" wazo", "Wazo", " wazo"),
        (" the ipad", "iPad", " the iPad"),
        (" tell us", "US", " tell us"),
        (" Ito", "ITO", " Ito"),
        (" tell Ito", "ITO", " tell ITO"),
        (" Marche tout", "Marché", " Marche tout"),
        (" il marche", "Marché", " il marche"),
        (" a Marche", "Marché", " a Marché"),
        (" Will I", "will", " Will I"),
        (" a Will", "will", " a Will"),
        (" Open AI.", "OpenAI", " OpenAI."),
        (" t obrien", "O'Brien", " t obrien"),
        (" t Obrien", "O'Brien", " t O'Brien"),
    ],
)
def test_a_term_is_written_as_the_caller_writes_it(said: str, term: str, written: str) -> None:
    """Where the model heard its letters, unless that may be an ordinary word: those keep their case and accents."""
    assert heard(_pieces(said), term) == written


def test_a_lower_case_term_begins_a_sentence_with_a_capital() -> None:
    """As any word would."""
    said = [" W", "a", unsure("s", "z", 0.1), "o", " h"]
    assert heard(said, "wazo") == " Wazo h"


def _pieces(text: str) -> list[Frame]:
    frames: list[Frame] = []
    for word in text.split(" ")[1:]:
        frames += [f" {word[0]}", *word[1:]] if f" {word[0]}" in PIECES else [" ", *word]
    return frames


NAMES = ("What", "Hattie", "white", "the whit", "Thai", "with", "Wheat", "Waite", "heath", "Aheti")


@given(seed=st.integers(0, 10_000), terms=st.lists(st.sampled_from(NAMES), unique=True), length=st.integers(0, 40))
@settings(deadline=None)
def test_terms_that_are_never_plausible_change_nothing(seed: int, terms: list[str], length: int) -> None:
    """Whatever the networks say: a term whose letters they never expect leaves every token, frame and score alone."""
    small = Vocabulary((" h", "a", " t", "e", " w", "i", "t", "h", " W", " H", " T", " A", "z", None), 13)
    transducer = _Hushed(MadeUp(14, seed), token=12)
    encoded = np.random.default_rng(seed + 1).normal(size=(length, 6)).astype(np.float32)
    known = compile_terms(Options("m", keyterms=tuple(f"{term}z" for term in terms)), Speller(small))
    ours = search_for(encoded, transducer, Writing(small), known)
    assert ours == search(encoded, transducer, tokens=14, blank=13)


class _Hushed:
    """A transducer that never expects one token."""

    def __init__(self, transducer: MadeUp, token: int) -> None:
        self._transducer = transducer
        self._token = token

    def start(self) -> Memory:
        return self._transducer.start()

    def join(self, frame: Float32, memory: Memory) -> Float32:
        scores = self._transducer.join(frame, memory)
        scores[self._token] = -1e4
        return scores


@given(seed=st.integers(0, 10_000), terms=st.lists(st.sampled_from(NAMES), unique=True), length=st.integers(0, 40))
@settings(deadline=None)
def test_the_result_is_the_same_each_time_and_in_order(seed: int, terms: list[str], length: int) -> None:
    """Frames never go back, probabilities are probabilities, and a second search finds the same."""
    small = Vocabulary((" h", "a", " t", "e", " w", "i", "t", "h", " W", " H", " T", " A", ".", None), 13)
    encoded = np.random.default_rng(seed).normal(size=(length, 6)).astype(np.float32)
    known = compile_terms(Options("m", keyterms=tuple(terms)), Speller(small))
    first, second = (search_for(encoded, MadeUp(14, seed), Writing(small), known) for _ in range(2))
    assert first == second
    assert [e.frame for e in first] == sorted(e.frame for e in first)
    assert all(e.logprob <= 0 for e in first)
