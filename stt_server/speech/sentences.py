"""Where a sentence ends, judged by how its last word and the next one are written."""

import re
from collections.abc import Sequence

from stt_server.types import Word


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_CLOSERS = "\"'”’“»«›)]}"
"""Marks that may follow a full stop. German closes with what French opens with."""
_STOPS = (".", "?", "!", "…", "。", "？", "！")
_APART = "\"'”’»›)]},;:" + "".join(_STOPS)
"""What French, or a tokeniser, may set apart from the word it belongs to."""
_INITIAL = re.compile(r"(?!I\.)[^\W\d_]\.")  # `So am I.` ends
_DOTTED = re.compile(r"(?:[^\W\d_]\.){2,}")
_NUMBER = re.compile(r"\d+\.")
_GREEK = re.compile("[\u0370-\u03ff\u1f00-\u1fff]")

_TITLES = _set(
    "m mme mmes mlle mlles mgr dr dra drs pr prof profa mr mrs ms messrs st ste sr sra srta dña rev hr dipl ing"
    " mudr judr phdr sig dott avv ul vs cf z.b d.h e.g i.e p.ex p.ej п г ул проф св"
)
"""Written with a point, and always followed by what they belong to. `Mm.` is a sentence, `MM.` is not."""
_BEFORE_NUMBERS = _set("no nº nr num núm n tel tél art vol fig p pp s č chap kap abs št")
"""Abbreviations only when a number follows: `No. 5`, but `No. Never.`"""
_SHORTENED = _set("etc bzw usw ca approx resp env inc ltd co corp jr ev ggf evtl")
"""They end a sentence only when the next word does not begin small."""
_AFTER_ORDINALS = _set("januar februar märz april mai juni juli august september oktober november dezember jahrhundert")
"""German writes `am 3. Mai`; the other languages that count with a point write these words small."""


def ends_sentence(words: Sequence[Word], i: int) -> bool:
    """Whether a sentence ends with word `i`, which is not the last one."""
    following = words[i + 1].text
    if not following.strip(_APART):
        return False
    text = words[i].text.rstrip(_CLOSERS)
    if not text:  # a closing quote, set apart: what stands before it decides
        closing = i > 0 and not words[i].text.strip(_APART)
        return closing and words[i - 1].text.rstrip(_CLOSERS).endswith(_STOPS)
    if text[-1] in ";\u037e":
        return _GREEK.search(text) is not None  # there it is the question mark
    if not text.endswith(_STOPS):
        return False
    if text.endswith(("…", "..")):  # a hesitation, unless a new sentence follows
        return not _begins_small(following)
    return text[-1] != "." or _point_ends(text.lstrip("¿¡(«„“\"'"), following)


def _point_ends(text: str, following: str) -> bool:
    """Whether the point behind `text` is a full stop, and not part of the word."""
    name = text[:-1].lower()
    if name in _TITLES or text == "MM.":
        return False
    if _NUMBER.fullmatch(text):  # `3. 5`, `3. mai`, `3. Mai`
        ordinal = following.strip(_APART).lower() in _AFTER_ORDINALS
        return not (ordinal or _begins_small(following) or following[0].isdigit())
    if name in _BEFORE_NUMBERS and following[0].isdigit():
        return False
    if name in _SHORTENED or (_DOTTED.fullmatch(text) and text.islower()):  # `etc.`, `a.m.`
        return not _begins_small(following)
    return not (text.isupper() and (_INITIAL.fullmatch(text) or _DOTTED.fullmatch(text)))


def _begins_small(text: str) -> bool:
    return next((letter.islower() for letter in text if letter.isalnum()), False)
