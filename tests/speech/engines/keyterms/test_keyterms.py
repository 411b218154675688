"""What of a prompt is a term, and how a model's pieces can spell it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_server.speech.engines.keyterms.expected import LONGEST_TERM, MOST_TERMS, expected
from stt_server.speech.engines.keyterms.lexicon import Lexicon, compile_terms, likeness
from stt_server.speech.engines.keyterms.spelling import Speller, folded, sound
from stt_server.speech.engines.vocabulary import Vocabulary
from stt_server.types import Options

LETTERS = "abcdefghijklmnopqrstuvwxyzèé'-ABCDEFGHIJKLMNOPQRSTUVWXYZ"
PIECES = (None, " ", *LETTERS, *(f" {letter}" for letter in LETTERS), " Mc", "gre", "gor", " AI", "œ", None)
VOCABULARY = Vocabulary(PIECES, len(PIECES) - 1)
SPELLER = Speller(VOCABULARY)


def terms(prompt: str) -> tuple[str, ...]:
    return expected(Options("m", prompt=prompt))


def tokens(*pieces: str) -> list[int]:
    return [PIECES.index(piece) for piece in pieces]


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("The transcript is about Kubernetes and McKinsey.", ("Kubernetes", "McKinsey")),
        ("Kubernetes, McKinsey, load balancer", ("Kubernetes", "McKinsey", "load balancer")),
        ("Names: Anna Brun; Wazo.\n- calld\n- Lefèvre", ("Anna Brun", "Wazo", "calld", "Lefèvre")),
        ("Le message vient d'Annecy et de l'Oréal.", ("Annecy", "Oréal")),
        ("Ask for McGregor's PBX or the 3CX of O'Brien. Then hang up at 42.", ("McGregor", "PBX", "3CX", "O'Brien")),
        ("Hello there, my name is Zoé and i sell an iPad. Thanks for calling us!", ("Zoé", "iPad")),
        ("Please transcribe this voicemail with full punctuation.", ()),
        ("Wazo", ("Wazo",)),
        ("Dear Anna,", ("Dear Anna", "Anna")),
        ("Wazo, Wazo", ("Wazo",)),
        (" \n, ;", ()),
    ],
)
def test_of_a_prompt_lists_and_names_are_terms(prompt: str, found: tuple[str, ...]) -> None:
    """A list's items are terms whatever they are; of running text, names and words with odd capitals or digits are."""
    assert terms(prompt) == found


def test_keyterms_are_terms_whatever_they_are() -> None:
    """They come first, each once, spaces tidied."""
    told = Options("m", prompt="It is about Wazo and Brun.", keyterms=("line  of code", "Wazo"))
    assert expected(told) == ("line of code", "Wazo", "Brun")


@given(st.text(max_size=300), st.lists(st.text(max_size=80), max_size=300))
def test_terms_are_bounded(prompt: str, keyterms: list[str]) -> None:
    """Whatever is sent, there are so many terms at most, and none is longer than allowed."""
    options = Options("m", prompt=prompt, keyterms=tuple(keyterms))
    found = expected(options)
    assert len(found) <= MOST_TERMS
    assert all(0 < len(term) <= LONGEST_TERM for term in found)
    assert len(compile_terms(options, SPELLER)) <= len(found)


@pytest.mark.parametrize(
    ("text", "pieces", "parts"),
    [
        ("McGregor", (" Mc", "gre", "gor"), [" Mc", "Gre", "gor"]),
        ("Lefe", (" ", "L", "è", "f", "é"), [" ", "L", "e", "f", "e"]),
        ("Lefè", (" l", "e", "f", "e"), [" L", "e", "f", "è"]),
        ("OpenAI", (" O", "p", "e", "n", " AI"), [" O", "p", "e", "n", "AI"]),
        ("O'Brien", (" O", "B", "r", "i", "e", "n"), [" O", "'B", "r", "i", "e", "n"]),
        ("Jean-Luc", (" J", "e", "a", "n", " L", "u", "c"), [" J", "e", "a", "n", "-L", "u", "c"]),
        ("New York!", (" N", "e", "w", " ", "y", "o", "r", "k"), [" N", "e", "w", " ", "Y", "o", "r", "k!"]),
        ("œuf", ("œ", "u", "f"), ["œ", "u", "f"]),
    ],
)
def test_pieces_spell_a_term(text: str, pieces: tuple[str, ...], parts: list[str]) -> None:
    """Whatever the model's case, accents, spaces and marks, each piece stands for a part of the term."""
    term = SPELLER.term(text)
    assert term is not None
    places = term.spelt(tokens(*pieces), start=0 if pieces[0].startswith(" ") else 1)
    assert places is not None
    assert term.written(places) == parts
    assert term.spelt(tokens(*pieces[:-1]), start=places[0]) is None


def test_a_way_along_a_term_keeps_its_capital_and_accents() -> None:
    """The model must believe in the name: the word `marche` is no evidence of Marché."""
    term = SPELLER.term("Marché")
    assert term is not None
    exact = [{PIECES[move.token] for move in moves if move.exact} for moves in term.moves]
    assert exact[0] == {" ", " M"}
    assert exact[1] == {"M"}
    assert exact[6] == {"é", "É"} & set(PIECES)
    lower = SPELLER.term("wazo")
    assert lower is not None
    assert {PIECES[move.token] for move in lower.moves[0] if move.exact} == {" ", " w", " W"}


@pytest.mark.parametrize("text", ["", "C++", "ok", "東京都庁", "€€€€", "été3"])
def test_what_the_model_cannot_write_is_no_term(text: str) -> None:
    """Too short, or of letters that no piece has."""
    assert SPELLER.term(text) is None


@given(st.text(max_size=12))
def test_spelling_takes_any_text(text: str) -> None:
    """A term's parts put together are the term."""
    if (term := SPELLER.term(text)) is not None:
        assert len(term.at) == term.end + 1
        assert "".join(term.written([0, *range(1, term.end), term.end])) == f" {term.text}"


@pytest.mark.parametrize(
    ("one", "other"), [("Philip", "Filipp"), ("Thierry", "Tieri"), ("Bordeaux", "Bordo"), ("Quentin", "Kentin")]
)
def test_what_sounds_alike_has_one_key(one: str, other: str) -> None:
    """Spellings that English or French speakers take for one another."""
    assert sound(one) == sound(other)


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_likeness_is_one_for_the_same_only(one: str, other: str) -> None:
    """And is the same both ways."""
    assert 0 <= likeness(one, other) <= 1
    assert (likeness(one, other) == 1) == (one == other)
    assert likeness(one, other) == likeness(other, one)


@given(st.text("abc", max_size=9), st.text("abc", max_size=9))
def test_likeness_counts_changes(one: str, other: str) -> None:
    """Letters put in, left out or replaced, the fewest that lead from one to the other."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        above, row[0] = row[0], i
        for j, their in enumerate(other, start=1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (letter != their))
    assert likeness(one, other) == pytest.approx(1 - row[-1] / max(len(one), len(other), 1))


def test_the_quick_look_misses_no_term() -> None:
    """Counting letters first leaves out none that comparing would find."""
    names = ["Henderson", "Anderson", "Sanderson", "Winchester", "Manchester", "Lancaster", "Dominique", "Monique"]
    lexicon = Lexicon([term for name in names if (term := SPELLER.term(name)) is not None])
    for heard in [*names, "handersen", "men jester", "do meaning", "anders", "unique"]:
        found = {likely.term.text for likely in lexicon.alike([heard])}
        assert found == {name for name in names if likeness(sound(name), sound(heard)) > 0.5}


def test_folding_keeps_letters_spaces_and_marks() -> None:
    """Nothing else."""
    assert folded(" Œuvre d’Été (№ 3)…") == " oeuvre d'ete no 3"
