"""Grammars in text files: rules with alternatives, expanded at random.

A rule file holds two kinds of rules:

    greeting:                          one alternative a line; a number in front is its weight
      3 Hello {first}.
      Good (morning|evening|), {first}.
    first = Anna, Paul, Emma           a list of words, continued on indented lines

In an alternative, `(a|b)` is a choice, `{name}` the expansion of a rule, `{name:words}` the answer of a slot, which the
language adds (agreement is its matter). Lines that start with `#` are comments.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from random import Random

CHOICE = re.compile(r"\(([^()]*)\)")
SLOT = re.compile(r"\{([\w.]+)(?::([^{}]*))?\}")
HEAD = re.compile(r"([\w.]+)\s*([:=])\s*(.*)")
WEIGHTED = re.compile(r"(\d+) (.+)")

Slot = Callable[[str], str]
"""Takes the words after the colon, gives text."""


@dataclass(slots=True)
class Rule:
    """Alternatives and how often each is taken."""

    choices: list[str] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)

    def add(self, choice: str, weight: int = 1) -> None:
        """Append an alternative."""
        self.choices.append(choice)
        self.weights.append(weight)


def read_rules(folder: Path) -> dict[str, Rule]:
    """All rules of the files in a folder; a rule that stands in several has the alternatives of all."""
    rules: dict[str, Rule] = {}
    rule, words = Rule(), False
    for path in sorted(folder.glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            rest = line.strip()
            if not line[0].isspace():
                head = HEAD.fullmatch(line)
                if head is None:
                    raise ValueError(f"{path.name}: no rule begins like this: {line}")
                rule, words, rest = rules.setdefault(head[1], Rule()), head[2] == "=", head[3]
            _add(rule, rest, words)
    return rules


def _add(rule: Rule, text: str, words: bool) -> None:
    if words:
        for word in filter(None, map(str.strip, text.split(","))):
            rule.add(word)
    elif text:
        weighted = WEIGHTED.fullmatch(text)
        rule.add(weighted[2], int(weighted[1])) if weighted else rule.add(text)


class Grammar:
    """Rules, a source of chance, and slots that a language adds."""

    def __init__(self, rules: dict[str, Rule], random: Random) -> None:
        self.rules = rules
        self.random = random
        self.slots: dict[str, Slot] = {}
        self._cumulative = {name: list(accumulate(rule.weights)) for name, rule in rules.items()}

    def pick(self, name: str) -> str:
        """An alternative of a rule, as it is written."""
        return self.random.choices(self.rules[name].choices, cum_weights=self._cumulative[name])[0]

    def choose(self, *names: str) -> str:
        """One of these rules; longer ones come up more often."""
        return self.random.choices(names, [self._cumulative[name][-1] for name in names])[0]

    def chance(self, probability: float) -> bool:
        """True this often."""
        return self.random.random() < probability

    def between(self, span: str) -> int:
        """A number of a span like `2-99`, both ends included."""
        low, high = map(int, span.split("-"))
        return self.random.randint(low, high)

    def expand(self, text: str) -> str:
        """Decide all choices, then fill all slots, from left to right."""
        while CHOICE.search(text):
            text = CHOICE.sub(lambda found: self.random.choice(found[1].split("|")), text)
        return SLOT.sub(self._fill, text)

    def _fill(self, found: re.Match[str]) -> str:
        name, words = found[1], found[2]
        if name in self.slots:
            return self.slots[name](words or "")
        return self.expand(self.pick(name))


def written(text: str) -> str:
    """One space between words, none before commas and stops, capitals at the start of sentences."""
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r" (?=[.,?!])", "", text)
    return re.sub(r"(?:^|(?<=[.?!] ))\w", lambda found: found[0].upper(), text)
