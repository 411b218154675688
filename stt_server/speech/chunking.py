"""Where to cut long audio (pure): speech spans into windows of a comfortable length, cut where nobody speaks.

10 to 20 s is where the model is fastest for its accuracy, and above some 20 s its int8 form may change language.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, takewhile
from math import ceil

from stt_server.types import Span

OVERLAP = 1.25
"""Seconds heard on either side of a cut through speech, so that both windows hear the words around it whole."""
PAD_BEFORE = 0.3
PAD_AFTER = 0.4
"""Seconds kept around speech: the detector begins up to 0.1 s late, and last words fade out."""
MAX_PAUSE = 2.0
"""A longer silence ends a window and is left out: it costs as much as speech, and words after it get lost."""
MIN_PAUSE = 0.1
"""A shorter silence is no place to cut without overlap."""
CUT_PAUSE = 0.4
"""A window is divided only in pauses so long: no word is touched, and a sentence or a clause mostly ends there."""
SHORTEST_PART = 4.0
"""Seconds of a divided window's parts. Below, what the model does once a window costs more than it gains, and it hears
words without what was said around them."""
LARGEST_SHARE = 0.7
"""Of the window in one of its parts, lest the rest waits for it. Two halves of 10 s take 0.74 of the time of one
window, 60 and 40 % 0.80; of 20 s 0.61 and 0.68 (full-size encoder, two cores)."""
SEAM_COST = 2.0
"""Of cutting through speech, where a pause costs 1 if short and 0 if a second long."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of audio to recognise at once."""

    index: int
    """0, 1, … in order of time."""
    span: Span
    """The audio to recognise."""
    owned: Span
    """What it answers for. Less than `span` only beside a cut through speech, which both windows hear."""
    joined: bool = False
    """Its left edge cuts through speech: the words heard on both sides must be matched."""
    cuts: tuple[float, ...] = ()
    """Middles of the pauses in it, where `divide` may cut; known only of a recording's first window."""


def divide(window: Window, most: int) -> list[Window]:
    """The window in up to `most` parts of like length, 0, 1, …, cut in its pauses; whole where that would gain little.

    Like `halves`, they answer together for all it hears.
    """
    start, end = window.span.start, window.span.end
    length = window.span.duration
    for count in range(min(most, int(length / SHORTEST_PART)) if window.cuts else 1, 1, -1):
        ideal = (start + length * n / count for n in range(1, count))
        edges = sorted({start, *(min(window.cuts, key=lambda cut: abs(cut - at)) for at in ideal), end})
        spans = [Span(*edge) for edge in pairwise(edges)]
        lengths = [span.duration for span in spans]
        if min(lengths) >= SHORTEST_PART and max(lengths) <= LARGEST_SHARE * length:
            return [Window(index, span, span) for index, span in enumerate(spans)]
    return [window]


def halves(window: Window) -> tuple[Window, Window]:
    """Two windows, 0 and 1, that overlap in the middle of this one and answer together for all it hears."""
    span, middle = window.span, (window.owned.start + window.owned.end) / 2
    return (
        Window(0, Span(span.start, min(middle + OVERLAP, span.end)), Span(span.start, middle)),
        Window(1, Span(max(middle - OVERLAP, span.start), span.end), Span(middle, span.end), joined=True),
    )


class Cutter:
    """Cuts one recording while its speech is being found.

    What it decides never depends on how the speech was fed, only on the speech itself.
    """

    def __init__(self, *, shortest: float = 10.0, longest: float = 20.0) -> None:
        self._shortest = shortest
        self._longest = longest
        self._limit = longest * 1.25
        """The most speech of its own in a window; with overlaps and silence around it stays under 30 s."""
        self._speech: list[Span] = []
        """Not yet in a window."""
        self._count = 0
        self._edge = 0.0
        """The next window owns nothing before this."""
        self._overlap = 0.0
        """Seconds that it hears before that all the same, if its left edge cuts through speech."""

    def feed(self, spans: list[Span], *, now: float) -> list[Window]:
        """Take the next speech; the windows that are certain since.

        `now`: all speech before this time has been fed, and the audio up to here can be read.
        """
        for span in spans:
            self._speech += _pieces(span, self._limit)
        return list(self._cut(now, over=False))

    def finish(self, duration: float) -> list[Window]:
        """The recording ends at `duration`: the windows that remain."""
        return list(self._cut(duration, over=True))

    def _cut(self, now: float, *, over: bool) -> Iterator[Window]:
        while block := self._block():
            ended = over or len(block) < len(self._speech) or now > block[-1].end + MAX_PAUSE
            # Beyond that, what follows changes nothing: more than a comfortable window is left over anyway.
            if not ended and block[-1].end - block[0].start <= self._limit + self._longest:
                return
            yield self._window(self._best(block), now)

    def _block(self) -> list[Span]:
        """The speech up to the first long silence."""
        for index, (before, after) in enumerate(pairwise(self._speech), 1):
            if after.start - before.end > MAX_PAUSE:
                return self._speech[:index]
        return self._speech

    def _best(self, block: list[Span]) -> int:
        """How many spans of the block the next window takes."""
        start, end = block[0].start, block[-1].end

        def cost(count: int) -> float:
            length = block[count - 1].end - start
            if count == len(block):
                return self._discomfort(length)
            pause = block[count].start - block[count - 1].end
            price = 1 - min(pause, 1.0) if pause >= MIN_PAUSE else SEAM_COST
            left_over = min(end - block[count].start, self._longest)
            return price + self._discomfort(length) + self._discomfort(left_over)

        fitting = takewhile(lambda count: block[count - 1].end - start <= self._limit, range(2, len(block) + 1))
        return min((1, *fitting), key=lambda count: (cost(count), -count))

    def _discomfort(self, length: float) -> float:
        """0 for a comfortable length. Half the range too long or too short weighs as much as a second of pause."""
        return max(0.0, self._shortest - length, length - self._longest) * 2 / (self._longest - self._shortest)

    def _window(self, count: int, now: float) -> Window:
        """Take the next spans out and make them a window."""
        taken, self._speech = self._speech[:count], self._speech[count:]
        joined = self._overlap > 0
        start = self._edge if joined else max(self._edge, taken[0].start - PAD_BEFORE)
        hears_from = start - self._overlap
        pause = self._speech[0].start - taken[-1].end if self._speech else MAX_PAUSE
        end = min(taken[-1].end + min(PAD_AFTER, pause / 2), now)
        self._edge = end
        self._overlap = min(OVERLAP, end - start) if pause < MIN_PAUSE else 0.0
        hears_to = min(end + OVERLAP, now) if pause < MIN_PAUSE else end
        self._count += 1
        cuts = _cuts(taken) if self._count == 1 else ()
        return Window(self._count - 1, Span(hears_from, hears_to), Span(start, end), joined, cuts)


def _cuts(speech: list[Span]) -> tuple[float, ...]:
    """The middle of each pause that is long enough."""
    pauses = (Span(before.end, after.start) for before, after in pairwise(speech))
    return tuple((pause.start + pause.end) / 2 for pause in pauses if pause.duration >= CUT_PAUSE)


def _pieces(span: Span, limit: float) -> list[Span]:
    """A span too long for a window in equal parts that touch. The detector's own parts are shorter, and better."""
    count = max(1, ceil(span.duration / limit))
    edges = [span.start + span.duration * n / count for n in range(count)] + [span.end]
    return [Span(*edge) for edge in pairwise(edges)]
