"""French sentences."""

from pathlib import Path
from random import Random

from training.sentences import numbers
from training.sentences.french.clauses import Clauses
from training.sentences.french.spelling import spelled
from training.sentences.grammar import read_rules, written

RULES = Path(__file__).parent / "rules"


class French(Clauses):
    """The French grammar."""

    def __init__(self, random: Random) -> None:
        super().__init__(read_rules(RULES), random)
        self.slots |= {
            "number": lambda span: numbers.french(self.between(span)),
            "number_f": lambda span: numbers.french(self.between(span), feminine=True),
            "counted": self._counted,
            "digits": lambda count: " ".join(self.random.choices(numbers.FRENCH[:10], k=int(count))),
            "pairs": lambda count: " ".join(self._pair() for _ in range(int(count))),
            "as_in": self._as_in,
        }

    def sentence(self) -> str:
        """One more."""
        return written(spelled(" ".join(self.expand("{sentence}").split())))

    def _counted(self, words: str) -> str:
        """`2-99 person animal`: so many of them, the number agreeing with the noun."""
        span, kinds = words.split(" ", 1)
        phrase = self.phrase(kinds, many=True, article="")
        return f"{numbers.french(self.between(span), phrase.female)} {phrase.text}"

    def _pair(self) -> str:
        """Two digits of a telephone number."""
        number = self.random.randint(0, 99)
        return f"zéro {numbers.french(number)}" if number < 10 else numbers.french(number)

    def _as_in(self, _: str) -> str:
        """`N comme Nicolas`."""
        word = self.pick("spelling")
        return f"{word[0].upper()} comme {word}"
