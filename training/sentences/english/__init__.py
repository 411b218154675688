"""English sentences."""

from pathlib import Path
from random import Random

from training.sentences import numbers
from training.sentences.english.clauses import Clauses
from training.sentences.english.inflection import with_articles
from training.sentences.grammar import read_rules, written

RULES = Path(__file__).parent / "rules"


class English(Clauses):
    """The English grammar."""

    def __init__(self, random: Random) -> None:
        super().__init__(read_rules(RULES), random)
        self.slots |= {
            "number": lambda span: numbers.english(self.between(span)),
            "ordinal": lambda span: numbers.english_ordinal(self.between(span)),
            "year": lambda span: numbers.english_year(self.between(span)),
            "digits": self._digits,
            "as_in": self._as_in,
        }

    def sentence(self) -> str:
        """One more."""
        return with_articles(written(self.expand("{sentence}")))

    def _digits(self, count: str) -> str:
        """So many, one by one; zero is sometimes read `oh`."""
        zero = self.random.choice(("zero", "zero", "oh"))
        said = (self.random.choice(numbers.ENGLISH[:10]) for _ in range(int(count)))
        return " ".join(zero if digit == "zero" else digit for digit in said)

    def _as_in(self, _: str) -> str:
        """`N as in Nora`."""
        word = self.pick("spelling")
        return f"{word[0].upper()} {self.random.choice(('as in', 'for', 'like'))} {word}"
