"""English inflection: plurals, verb forms, `a` or `an`."""

import re
from functools import cache
from pathlib import Path

from training.sentences.english.subjects import Subject

VOWELS = "aeiou"
SPOKEN_VOWEL = re.compile(r"(?!one\b|once\b|uni(?!n)|use|usual|euro|ewe)[aeiou]|hour|hono|heir", re.IGNORECASE)
LETTER_VOWEL = re.compile(r"[AEFHILMNORSX]\b")
"""Letters whose names begin with a vowel."""


def _table() -> dict[str, list[str]]:
    lines = (Path(__file__).parent / "irregular-verbs.txt").read_text().splitlines()
    return {line.split()[0]: line.split() for line in lines if not line.startswith("#")}


IRREGULAR = _table()


def plural(noun: str) -> str:
    """Of a regular noun."""
    if noun.endswith(("s", "x", "ch", "sh", "z")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in VOWELS:
        return noun[:-1] + "ies"
    return noun + "s"


@cache
def past(verb: str) -> str:
    """`went`, `carried`."""
    return IRREGULAR[verb][1] if verb in IRREGULAR else _regular_past(verb)


@cache
def participle(verb: str) -> str:
    """`gone`, `carried`."""
    return IRREGULAR[verb][2] if verb in IRREGULAR else _regular_past(verb)


def _regular_past(verb: str) -> str:
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in VOWELS:
        return verb[:-1] + "ied"
    return verb + "ed"


@cache
def ing(verb: str) -> str:
    """`going`, `carrying`, `lying`, `running`."""
    if len(IRREGULAR.get(verb, ())) == 4:
        return IRREGULAR[verb][3]
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and verb != "be" and not verb.endswith(("ee", "oe")):
        return verb[:-1] + "ing"
    return verb + "ing"


@cache
def third_person(verb: str) -> str:
    """`goes`, `carries`, `has`."""
    if verb in ("do", "go", "undo", "redo"):
        return verb + "es"
    return "has" if verb == "have" else plural(verb)


def be(subject: Subject, tense: str) -> str:
    """Of the present or the past."""
    if tense == "past":
        return "were" if subject.plural else "was"
    return "are" if subject.plural else "am" if subject.person == 1 else "is"


def form_of(verb: str, form: str, subject: Subject) -> str:
    """`base`, `present`, `past`, `participle` or `ing` of a verb."""
    if verb == "be" and form in ("present", "past"):
        return be(subject, form)
    if form == "present":
        return verb if subject.plural or subject.person == 1 else third_person(verb)
    if form == "base":
        return verb
    return {"past": past, "participle": participle, "ing": ing}[form](verb)


def with_articles(text: str) -> str:
    """`a` becomes `an` before a vowel that is spoken."""
    return re.sub(r"\b([Aa]) (?=(\w+))", lambda found: found[1] + ("n " if _starts_with_vowel(found[2]) else " "), text)


def _starts_with_vowel(word: str) -> bool:
    return bool(LETTER_VOWEL.match(word) if len(word) == 1 else SPOKEN_VOWEL.match(word))
