"""What is tried with one window until it is heard (pure): the window, once more alone, then its halves.

Never a silent hole: what nobody could hear is named.
"""

from collections.abc import Generator
from dataclasses import dataclass

from stt_server.speech.chunking import Window, halves
from stt_server.speech.joining import Joiner, concatenate
from stt_server.types import Hypothesis, Span

SHORTEST_TO_HALVE = 4.0
"""Seconds. The halves of a shorter window would be nothing but overlap."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a window."""

    hypothesis: Hypothesis | None
    """For the `Joiner`; None if nothing of it could be recognised."""
    gaps: tuple[Span, ...] = ()
    """What it answers for and could not be recognised."""


def attempts(window: Window) -> Generator[Window, Hypothesis | None, Outcome]:
    """Yields what to recognise next, alone; wants to be sent what came of it, None for a failure."""
    for _ in range(2):
        if (hypothesis := (yield window)) is not None:
            return Outcome(hypothesis)
    parts = halves(window) if window.span.duration >= SHORTEST_TO_HALVE else ()
    joiner, heard, gaps = Joiner(), [], []
    for part in parts:
        hypothesis = yield part
        heard.append(joiner.add(part, hypothesis))
        if hypothesis is None:
            gaps.append(_common(part.owned, window.owned))
    if len(gaps) == len(parts):
        return Outcome(None, (window.owned,))
    heard.append(joiner.finish())
    return Outcome(concatenate(heard), tuple(gaps))


def _common(span: Span, other: Span) -> Span:
    return Span(max(span.start, other.start), min(span.end, other.end))
