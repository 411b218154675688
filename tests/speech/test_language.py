"""What languages are called, and which one a text is in."""

import csv
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_server.errors import BadRequest, InvalidLanguage
from stt_server.speech.language import LANGUAGE_NAMES, guess_language, parse_language
from tests.assets import ASSETS, needs_assets

PARAKEET = "bg hr cs da nl en et fi fr de el hu it lv lt mt pl pt ro sk sl es sv ru uk"


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("fr", "fr"), ("FR", "fr"), (" fr ", "fr"), ("fr-FR", "fr"), ("fr_CA", "fr"), ("en-US", "en"),
        ("en_us", "en"), ("zh-Hans-CN", "zh"), ("es-419", "es"), ("fra", "fr"), ("fre", "fr"), ("FRA", "fr"),
        ("deu", "de"), ("ger-AT", "de"), ("ell", "el"), ("gre", "el"), ("dut", "nl"), ("ces", "cs"),
        ("french", "fr"), ("English", "en"), ("GERMAN", "de"), ("haitian creole", "ht"), ("flemish", "nl"),
        ("iw", "he"), ("nb-NO", "no"), ("yue", "yue"), ("haw", "haw"),
    ],
)  # fmt: skip
def test_every_usual_spelling_of_a_language_is_understood(sent: str, meant: str) -> None:
    """Clients write codes of two and three letters, with regions, in any case, and names."""
    assert parse_language(sent) == meant


@pytest.mark.parametrize("sent", ["", "  ", "auto", "und", "multi"])
def test_leaving_it_open_is_no_error(sent: str) -> None:
    """An empty language, which some clients send with every call, means: find out."""
    assert parse_language(sent) is None


@pytest.mark.parametrize("sent", ["ga", "zz", "tlh", "tlh-Latn"])
def test_a_language_we_cannot_name_is_still_a_language(sent: str) -> None:
    """Whether the model speaks it is decided elsewhere, so the code comes back."""
    assert parse_language(sent) == sent.split("-")[0]


@pytest.mark.parametrize(
    "sent",
    ["xx1", "f", "fren", "klingon?", "fr-", "-fr", "fr--FR", "fr FR", "fr,en", "1", "fr\n-x", "ﬁ", "é", "fr-é",
     "x" * 40, "fr" + "-abcdefgh" * 5, "[]", "null", "\x00", "fr-FR;DROP"],
)  # fmt: skip
def test_anything_else_is_refused_with_openais_code(sent: str) -> None:
    """A malformed language is the caller's mistake, and the message says what is accepted."""
    with pytest.raises(InvalidLanguage, match="fr-FR") as caught:
        parse_language(sent)
    assert isinstance(caught.value, BadRequest)
    assert (caught.value.code, caught.value.param) == ("invalid_language_format", "language")


@given(st.text() | st.text("frdeen-_ 0", max_size=40))
def test_an_understood_language_is_understood_again(sent: str) -> None:
    """Whatever is sent is refused, or becomes a short code that means itself."""
    try:
        code = parse_language(sent)
    except InvalidLanguage:
        return
    assert code is None or (code.isascii() and code.isalpha() and len(code) <= 3)
    assert code is None or parse_language(code) == code


def test_names_are_those_of_openai() -> None:
    """Each of Whisper's hundred languages has a lower-case English name that leads back to its code."""
    assert len(LANGUAGE_NAMES) == 100
    assert set(PARAKEET.split()) <= set(LANGUAGE_NAMES)
    assert all(name == name.lower().strip() and parse_language(name) == code for code, name in LANGUAGE_NAMES.items())
    known = {"fr": "french", "en": "english", "el": "greek", "nl": "dutch", "uk": "ukrainian", "ht": "haitian creole"}
    assert known.items() <= LANGUAGE_NAMES.items()


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Thank you for calling, please leave a message.", "en"),
        ("Bonjour, c'est Marie, rappelez-moi dès que possible.", "fr"),
        ("Добър ден, обадете ми се, когато можете.", "bg"),
        ("Доброго дня, зателефонуйте мені, будь ласка.", "uk"),
        ("Dobrý den, prosím zavolejte mi zpátky.", "cs"),
        ("Dzień dobry, proszę o telefon zwrotny.", "pl"),
        ("Tere päevast, palun helistage mulle tagasi.", "et"),
        ("Καλημέρα, παρακαλώ τηλεφωνήστε μου.", "el"),
        ("IL FAUT QUE JE PARTE DEMAIN MATIN", "fr"),
    ],
)  # fmt: skip
def test_a_sentence_tells_its_language(text: str, language: str) -> None:
    """One sentence is enough."""
    assert guess_language(text) == language


@pytest.mark.parametrize("text", ["", " ", ".", "a", "OK.", "Hm.", "No.", "12 34 56", "…", "😀", "東京", "\x00"])
def test_too_little_to_tell_is_none(text: str) -> None:
    """No guess is better than a wrong one."""
    assert guess_language(text) is None


@needs_assets
def test_real_transcripts_are_told_right() -> None:
    """On the transcripts of all clips: never wrong, and always sure from five seconds of speech on."""
    with (ASSETS / "audio" / "manifest.tsv").open(newline="", encoding="utf-8") as table:
        rows = [row for row in csv.DictReader(table, delimiter="\t") if row["transcript"]]
    guesses = [(row["language"], guess_language(row["transcript"]), float(row["seconds"])) for row in rows]
    assert [guess for guess in guesses if guess[1] not in (None, guess[0])] == []
    assert [guess for guess in guesses if guess[1] is None and guess[2] >= 5] == []
    assert sum(guess[1] is not None for guess in guesses) >= 60


def test_the_table_is_loaded_late_once_and_without_a_warning() -> None:
    """Importing costs nothing, eight threads asking at once all get the answer, and nothing warns."""
    program = """
import sys
from concurrent.futures import ThreadPoolExecutor
import stt_server.speech.formats
from stt_server.speech import language
assert "py3langid" not in sys.modules
with ThreadPoolExecutor(8) as pool:
    guesses = set(pool.map(language.guess_language, ["Call me back when you can, please."] * 8))
assert guesses == {"en"}, guesses
assert language._load_identifier.cache_info().misses == 1
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
