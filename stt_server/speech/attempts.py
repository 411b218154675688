"""What is tried with one window until it is heard (pure): the window, once more alone, then its halves.

Never a silent hole: what nobody could hear is named.
"""

from collections.abc import Generator, Sequence
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
    outcomes = []
    for part in parts:
        hypothesis = yield part
        outcomes.append(Outcome(hypothesis, () if hypothesis is not None else (_common(part.owned, window.owned),)))
    outcome = unite(parts, outcomes)
    return outcome if outcome.hypothesis is not None else Outcome(None, (window.owned,))


def unite(parts: Sequence[Window], outcomes: Sequence[Outcome]) -> Outcome:
    """What came of a window whose parts were tried: `halves` of it, or what `divide` has made of it."""
    if all(outcome.hypothesis is None for outcome in outcomes):
        heard = None
    else:
        joiner = Joiner()
        joined = [joiner.add(part, outcome.hypothesis) for part, outcome in zip(parts, outcomes, strict=True)]
        heard = concatenate([*joined, joiner.finish()])
    return Outcome(heard, tuple(gap for outcome in outcomes for gap in outcome.gaps))


def _common(span: Span, other: Span) -> Span:
    return Span(max(span.start, other.start), min(span.end, other.end))
