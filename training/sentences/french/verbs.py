"""French conjugation: the forms that sentences need, by rule from the infinitive and a table of irregular verbs.

Persons are numbered 0 to 5: je, tu, il, nous, vous, ils.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CONSONANT = "[bcdfghjklmnpqrstvz]"
PAST = ("ais", "ais", "ait", "ions", "iez", "aient")
FUTURE = ("ai", "as", "a", "ons", "ez", "ont")
IMPERATIVES = {
    "être": ("sois", "soyons", "soyez"),
    "avoir": ("aie", "ayons", "ayez"),
    "savoir": ("sache", "sachons", "sachez"),
}
WITH_ETRE = {
    *("aller", "venir", "revenir", "devenir", "parvenir", "intervenir", "partir", "repartir", "sortir", "arriver"),
    *("rester", "tomber", "retomber", "entrer", "rentrer", "retourner", "monter", "descendre", "naître", "mourir"),
}
"""Verbs that make their compound tenses with être."""
SECOND_GROUP = ("is", "is", "it", "issons", "issez", "issent")


@dataclass(frozen=True, slots=True)
class Irregular:
    """The forms of an irregular verb from which the others follow."""

    present: tuple[str, ...]
    participle: str
    future: str
    """Stem, of the conditional too."""
    simple_past: str
    """Of il."""
    subjunctive: str
    """Stem."""


def _table() -> dict[str, Irregular]:
    lines = (Path(__file__).parent / "irregular-verbs.txt").read_text(encoding="utf-8").splitlines()
    return dict(entry for line in lines if not line.startswith("#") for entry in _family(line))


def _family(line: str) -> list[tuple[str, Irregular]]:
    """All verbs of a line. They share the end of their infinitive with the first, which gives the forms."""
    verbs, *forms = line.split("|")
    model, *others = verbs.split()
    entries = []
    for verb in (model, *others):
        shared = max(size for size in range(len(model) + 1) if verb.endswith(model[len(model) - size :]))
        stem, old = verb[: len(verb) - shared], model[: len(model) - shared]
        present, *rest = ([stem + form.removeprefix(old) for form in part.split()] for part in forms)
        entries.append((verb, Irregular(tuple(present), *(part[0] for part in rest))))
    return entries


IRREGULAR = _table()


def _softened(stem: str, ending: str) -> str:
    """`mangeons`, `commençons`: g and c keep their sound before a and o."""
    if ending[0] in "ao":
        if stem.endswith("g"):
            return stem + "e" + ending
        if stem.endswith("c"):
            return stem[:-1] + "ç" + ending
    return stem + ending


def _before_mute(verb: str, future: bool = False) -> str:
    """Stem of an -er verb where the next syllable is mute: `achèt-`, `appell-`, `essai-`."""
    stem = verb[:-2]
    if verb in ("envoyer", "renvoyer") and future:
        return stem[:-2] + "err"
    if stem.endswith(("appel", "jet", "épel")):
        return stem + stem[-1]
    if stem.endswith(("oy", "uy", "ay")):
        return stem[:-1] + "i"
    return re.sub(rf"e(?={CONSONANT}$)" if future else rf"(?:e(?={CONSONANT}$)|é(?={CONSONANT}+$))", "è", stem)


@cache
def present(verb: str) -> tuple[str, ...]:
    """The six persons."""
    if verb in IRREGULAR:
        return IRREGULAR[verb].present
    stem = verb[:-2]
    if verb.endswith("er"):
        mute = _before_mute(verb)
        return (mute + "e", mute + "es", mute + "e", _softened(stem, "ons"), stem + "ez", mute + "ent")
    if verb.endswith("ir"):
        return tuple(stem + ending for ending in SECOND_GROUP)
    return tuple(stem + ending for ending in ("s", "s", "" if stem[-1] in "dt" else "t", "ons", "ez", "ent"))


@cache
def imperfect(verb: str) -> tuple[str, ...]:
    """The six persons."""
    if verb.endswith(("ger", "cer")):
        return tuple(_softened(verb[:-2], ending) for ending in PAST)
    stem = "ét" if verb == "être" else present(verb)[3].removesuffix("ons")
    return tuple(stem + ending for ending in PAST)


def _future_stem(verb: str) -> str:
    if verb in IRREGULAR:
        return IRREGULAR[verb].future
    if verb.endswith("er"):
        mute = _before_mute(verb, future=True)
        return mute if mute.endswith("verr") else mute + "er"
    return verb.removesuffix("e")


@cache
def future(verb: str) -> tuple[str, ...]:
    """The six persons."""
    return tuple(_future_stem(verb) + ending for ending in FUTURE)


@cache
def conditional(verb: str) -> tuple[str, ...]:
    """The six persons."""
    return tuple(_future_stem(verb) + ending for ending in PAST)


@cache
def subjunctive(verb: str) -> tuple[str, ...]:
    """The six persons."""
    if verb == "être":
        return ("sois", "sois", "soit", "soyons", "soyez", "soient")
    if verb == "avoir":
        return ("aie", "aies", "ait", "ayons", "ayez", "aient")
    stem = IRREGULAR[verb].subjunctive if verb in IRREGULAR else present(verb)[5].removesuffix("ent")
    own = verb in ("faire", "refaire", "pouvoir", "savoir")
    we, you = (stem + "ions", stem + "iez") if own else imperfect(verb)[3:5]
    return (stem + "e", stem + "es", stem + "e", we, you, stem + "ent")


@cache
def simple_past(verb: str) -> tuple[str, str]:
    """Of il and of ils."""
    if verb == "aller" or (verb.endswith("er") and verb not in IRREGULAR):
        return _softened(verb[:-2], "a"), verb[:-2] + "èrent"
    singular = IRREGULAR[verb].simple_past if verb in IRREGULAR else verb[:-2] + "it"
    return singular, singular.removesuffix("t") + "rent"


@cache
def participle(verb: str) -> str:
    """Masculine singular."""
    if verb in IRREGULAR:
        return IRREGULAR[verb].participle
    return verb[:-2] + {"er": "é", "ir": "i", "re": "u"}[verb[-2:]]


def gerund(verb: str) -> str:
    """`en` comes before it."""
    special = {"avoir": "ayant", "savoir": "sachant"}
    return special.get(verb) or imperfect(verb)[0].removesuffix("ais") + "ant"


def imperative(verb: str) -> tuple[str, str, str]:
    """Of tu, nous and vous."""
    if verb in IMPERATIVES:
        return IMPERATIVES[verb]
    _, you, _, we, you_all, _ = present(verb)
    return (you.removesuffix("s") if you.endswith(("es", "vas")) else you), we, you_all
