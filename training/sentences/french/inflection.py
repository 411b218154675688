"""French plurals and feminines, by rule and a list of exceptions."""

from pathlib import Path

ENDINGS = (("teur", "trice"), ("eur", "euse"), ("eux", "euse"), ("ier", "ière"), ("er", "ère"), ("if", "ive"))
"""Masculine and feminine, the first that fits."""
DOUBLED = ("el", "eil", "en", "on", "et", "ul")
"""Endings whose last letter is doubled in the feminine."""
PREPOSITIONS = ("de ", "d'", "du ", "des ", "à ", "au ", "aux ", "en ")


def _exceptions() -> dict[str, dict[str, str]]:
    tables: dict[str, dict[str, str]] = {"plural": {}, "feminine": {}}
    for line in (Path(__file__).parent / "exceptions.txt").read_text(encoding="utf-8").splitlines():
        name, _, pairs = line.partition(": ")
        if name in tables:
            tables[name] |= dict(pair.strip().split("/") for pair in pairs.split(","))
    return tables


EXCEPTIONS = _exceptions()


def plural(word: str) -> str:
    """Of a noun or an adjective, masculine or feminine: `pommes de terre`, `ratons laveurs`."""
    if word in EXCEPTIONS["plural"]:
        return EXCEPTIONS["plural"][word]
    if word.startswith("en ") or word.endswith(("s", "x", "z")):
        return word
    if " " in word:
        first, rest = word.split(" ", 1)
        return f"{plural(first)} {rest if rest.startswith(PREPOSITIONS) else plural(rest)}"
    if word.endswith("al"):
        return word[:-2] + "aux"
    return word + ("x" if word.endswith(("eau", "eu")) else "s")


def feminine(adjective: str) -> str:
    """Of a masculine adjective or participle."""
    if adjective in EXCEPTIONS["feminine"]:
        return EXCEPTIONS["feminine"][adjective]
    if adjective.endswith("e") or adjective.startswith("en "):
        return adjective
    for ending, other in ENDINGS:
        if adjective.endswith(ending):
            return adjective.removesuffix(ending) + other
    return adjective + (adjective[-1] if adjective.endswith(DOUBLED) else "") + "e"


def agreeing(adjective: str, female: bool, many: bool) -> str:
    """An adjective or participle in gender and number."""
    form = feminine(adjective) if female else adjective
    return plural(form) if many else form
