"""French noun phrases: article, adjective, noun, which agree.

The nouns of a kind stand in the rules `<kind>.m` and `<kind>.f`, as `lampe`, `~eau` (not counted) or `+gens` (always
plural). `<kind>_adj` lists its adjectives, with `^` where they stand before the noun; `<kind>_plain` says that it has
none; `<kind>_tail` holds what may follow. `article.<name>` lists masculine, feminine, plural, feminine plural.
"""

from dataclasses import dataclass
from random import Random

from training.sentences.french.inflection import agreeing, plural
from training.sentences.french.spelling import elided
from training.sentences.french.subjects import OWN, POLITE, Subject
from training.sentences.grammar import Grammar, Rule, Slot

ADJECTIVE = 0.33
"""How many noun phrases have an adjective."""
TAIL = 0.08
PLURAL = 0.25
BEFORE_VOWEL = {"beau": "bel", "nouveau": "nouvel", "vieux": "vieil"}
ARTICLES = {"the": "le", "a": "un", "n": "", "this": "ce", "what": "quel", "my": "mon", "your": "votre"}
"""Slots of noun phrases in the singular, and their articles."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A noun phrase."""

    text: str
    female: bool
    many: bool


class NounPhrases(Grammar):
    """A grammar with slots for noun phrases. The words after the colon are kinds, of which one is taken."""

    def __init__(self, rules: dict[str, Rule], random: Random) -> None:
        super().__init__(rules, random)
        self.subject: Subject = POLITE
        """Of the clause that is being said; possessives and adjectives refer to it."""
        self.slots |= {name: self._with_article(article) for name, article in ARTICLES.items()}
        self.slots |= {
            "np": lambda kinds: self.phrase(kinds).text,
            "one": lambda kinds: self.phrase(kinds, many=False).text,
            "thes": lambda kinds: self.phrase(kinds, many=True, article="le").text,
            "ns": lambda kinds: self.phrase(kinds, many=True, article="").text,
            "own": lambda kinds: self.phrase(kinds, article="own").text,
            "adj": lambda kind: self.agreed(self.pick(f"{kind}_adj")),
            "agr": self.agreed,
            "some_are": lambda kind: self.phrase(kind, self.subject.many, "").text,
        }

    def _with_article(self, article: str) -> Slot:
        return lambda kinds: self.phrase(kinds, many=False, article=article).text

    def phrase(self, kinds: str, many: bool | None = None, article: str | None = None) -> Phrase:
        """`la vieille lampe`; number and article are chosen where they are not given."""
        kind = self.random.choice(kinds.split())
        entry, female = self._noun(kind)
        if many is None:
            many = self.chance(PLURAL)
        many = entry[0] == "+" or (many and entry[0] != "~")
        noun = plural(entry) if many and entry[0] != "+" else entry.lstrip("~+")
        before, after = self._adjectives(kind, female, many, noun)
        words = [self._determined(article, entry, female, many, bool(before)), before, noun, after]
        if article is None and f"{kind}_tail" in self.rules and self.chance(TAIL):
            words.append(self.expand(self.pick(f"{kind}_tail")))
        return Phrase(" ".join(filter(None, words)), female, many)

    def _noun(self, kind: str) -> tuple[str, bool]:
        """As it is listed, and whether it is feminine."""
        rule = self.choose(*(name for name in (f"{kind}.m", f"{kind}.f") if name in self.rules))
        return self.pick(rule), rule.endswith(".f")

    def _determined(self, article: str | None, entry: str, female: bool, many: bool, adjective: bool) -> str:
        """The article in gender and number; `de` for `des` before an adjective."""
        if article is None:
            article = self.pick({"~": "mass_determiner"}.get(entry[0], "plural_determiner" if many else "determiner"))
        if article == "un" and entry[0] == "~":
            article = "du"
        if article == "un" and many and adjective:
            return "de_"
        if not article:
            return ""
        column = 2 * many + female
        forms = OWN[self.subject.person] if article == "own" else self.rules[f"article.{article}"].choices
        return forms[min(column, len(forms) - 1)]

    def _adjectives(self, kind: str, female: bool, many: bool, noun: str) -> tuple[str, str]:
        """One before the noun or one after it, or none."""
        if f"{kind}_plain" in self.rules or not self.chance(ADJECTIVE):
            return "", ""
        adjective = self.pick(f"{kind}_adj" if f"{kind}_adj" in self.rules else "any_adj")
        if adjective[0] != "^":
            return "", agreeing(adjective, female, many)
        if not female and not many and elided("le_ " + noun) != "le_ " + noun:
            return BEFORE_VOWEL.get(adjective[1:], adjective[1:]), ""
        return agreeing(adjective[1:], female, many), ""

    def agreed(self, adjective: str) -> str:
        """With the subject."""
        return agreeing(adjective.lstrip("^"), self.subject.female, self.subject.many)
