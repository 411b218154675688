"""English noun phrases: determiner, adjective, noun.

A noun stands in the rules as `lamp`, `child/children` (irregular plural), `~rice` (not counted) or `+scissors` (always
plural). A rule `<kind>_adj` lists the adjectives of a kind, `<kind>_tail` what may follow its nouns.
"""

from random import Random

from training.sentences.english import inflection
from training.sentences.english.subjects import NOBODY, Subject
from training.sentences.grammar import Grammar, Rule

ADJECTIVE = 0.4
"""How many noun phrases have an adjective."""
TAIL = 0.08
PLURAL = 0.22


class NounPhrases(Grammar):
    """A grammar with slots for noun phrases. The words after the colon are kinds, of which one is taken."""

    def __init__(self, rules: dict[str, Rule], random: Random) -> None:
        super().__init__(rules, random)
        self.subject: Subject = NOBODY
        """Of the clause that is being said; possessives refer to it."""
        self.slots |= {
            "np": lambda kinds: self.phrase(kinds)[0],
            "one": lambda kinds: self.phrase(kinds, plural=False)[0],
            "n": lambda kinds: inflected(self._counted(self._kind(kinds)), plural=False),
            "ns": lambda kinds: inflected(self._counted(self._kind(kinds)), plural=True),
            "any": lambda kinds: inflected(self.pick(self._kind(kinds)), plural=True),
            "own": self._own,
            "self": lambda _: self.subject.self,
            "adj": lambda kinds: self.expand(self.pick(f"{self._kind(kinds)}_adj")),
            "some_are": self._attribute,
        }

    def phrase(self, kinds: str, plural: bool | None = None) -> tuple[str, bool]:
        """`the old lamp`, and whether it is plural."""
        kind = self._kind(kinds)
        entry = self._counted(kind) if plural is False else self.pick(kind)
        if plural is None:
            plural = self.chance(PLURAL)
        plural = entry[0] == "+" or (plural and entry[0] != "~")
        words = [self._determiner(entry, plural), self._adjective(kind, ADJECTIVE), inflected(entry, plural)]
        if f"{kind}_tail" in self.rules and self.chance(TAIL):
            words.append(self.expand(self.pick(f"{kind}_tail")))
        return " ".join(filter(None, words)), plural

    def _kind(self, kinds: str) -> str:
        return self.random.choice(kinds.split())

    def _counted(self, kind: str) -> str:
        """A noun that is counted, if the kind has one."""
        entries = (self.pick(kind) for _ in range(20))
        return next((entry for entry in entries if entry[0] not in "~+"), self.pick(kind))

    def _determiner(self, entry: str, plural: bool) -> str:
        marks = {"~": "mass_determiner", "+": "pair_determiner"}
        return self.expand(self.pick(marks.get(entry[0], "plural_determiner" if plural else "determiner")))

    def _adjective(self, kind: str, probability: float) -> str:
        if not self.chance(probability):
            return ""
        rule = f"{kind}_adj" if f"{kind}_adj" in self.rules else "any_adj"
        return self.expand(self.pick(rule))

    def _own(self, kinds: str) -> str:
        """`her old lamp`, if she is the subject."""
        kind = self._kind(kinds)
        return f"{self.subject.own} {self._adjective(kind, 0.15)} {inflected(self._counted(kind), plural=False)}"

    def _attribute(self, kind: str) -> str:
        """`a teacher`, `teachers`: what the subject is."""
        if self.subject.plural and self.subject.text != "you":
            return inflected(self._counted(kind), plural=True)
        adjective = self._adjective(kind, 0.5) if f"{kind}_adj" in self.rules else ""
        return f"a {adjective} {inflected(self._counted(kind), plural=False)}"


def inflected(entry: str, plural: bool) -> str:
    """A noun as the rules have it, in singular or plural."""
    noun, _, irregular = entry.lstrip("~+").partition("/")
    if not plural or entry[0] in "~+":
        return noun
    return irregular or inflection.plural(noun)
