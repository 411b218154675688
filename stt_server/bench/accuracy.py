"""How many words models get wrong, on recordings of which the text is known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stt_server.bench.errors import Score, difference, rate, score
from stt_server.bench.recordings import Recording
from stt_server.errors import BadRequest, EngineFailed
from stt_server.speech.engines import Engine
from stt_server.speech.transcribe import Preparation, transcribe
from stt_server.types import Options


@dataclass(frozen=True, slots=True)
class Judged:
    """One model's words."""

    model: str
    scores: tuple[Score, ...]

    @property
    def words(self) -> int:
        """That were said."""
        return sum(one.words for one in self.scores)

    @property
    def errors(self) -> int:
        """Of all recordings."""
        return sum(one.errors for one in self.scores)

    @property
    def rate(self) -> float:
        """Word error rate, per cent."""
        return 100 * rate(self.scores)


@dataclass(frozen=True, slots=True)
class Difference:
    """The second model's word error rate minus the first one's, in points of a per cent."""

    points: float
    low: float
    high: float
    """Between these bounds with 95 % confidence."""

    @property
    def certain(self) -> bool:
        """Whether one of them is really better, as far as these recordings tell."""
        return self.low > 0 or self.high < 0


def judge(
    engine: Engine,
    model: str,
    recordings: Sequence[Recording],
    *,
    threads: int,
    longest: float,
    preparation: Preparation,
    on_step: Callable[[int], None] = lambda _: None,
) -> Judged:
    """Recognise all recordings. A model that fails on one has heard nothing there. Raises `BadRequest` kin."""
    scores = []
    for number, recording in enumerate(recordings):
        on_step(number)
        try:
            transcript = transcribe(
                recording.path,
                engine,
                Options(model=model),
                max_duration=longest,
                threads=threads,
                preparation=preparation,
            )
            heard = transcript.text
        except EngineFailed:
            heard = ""
        except BadRequest as error:
            raise type(error)(f"{recording.path}: {error.message}") from error
        scores.append(score(recording.text, heard))
    return Judged(model, tuple(scores))


def compare(one: Judged, other: Judged) -> Difference:
    """Of the same recordings."""
    low, high = difference(one.scores, other.scores)
    return Difference(other.rate - one.rate, 100 * low, 100 * high)
