"""Whose window is recognised next. Pure: no clock, no I/O.

Callers who wait in the call go first; every fourth window is taken from the others, so that nothing starves.
Within a class the work that has had the least attention goes first (least attained service: Nuyens and Wierman,
"The Foreground-Background queue", 2008), so that a voicemail overtakes a four-hour file at the next window without
anybody having to know lengths beforehand.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

OTHERS_EVERY = 4
"""One window in so many goes to those who do not wait in the call, when both wait."""


@dataclass(eq=False)
class Work(Generic[T]):
    """One file being recognised, and its windows that wait."""

    urgent: bool
    """Somebody waits in the call."""
    seq: int
    """Order of arrival; breaks ties."""
    served: float = 0.0
    """Seconds of audio taken so far."""
    waiting: deque[tuple[float, T]] = field(default_factory=deque)
    """Windows not yet taken, each with its seconds."""


class Schedule(Generic[T]):
    """The windows that wait, of all files."""

    def __init__(self) -> None:
        self._works: set[Work[T]] = set()
        self._turn = 0

    def __len__(self) -> int:
        return sum(len(work.waiting) for work in self._works)

    def add(self, work: Work[T], seconds: float, window: T) -> None:
        """Let a window of this work wait."""
        work.waiting.append((seconds, window))
        self._works.add(work)

    def drop(self, work: Work[T]) -> None:
        """Forget the windows of a work that is no longer wanted."""
        work.waiting.clear()
        self._works.discard(work)

    def take(self) -> T | None:
        """The window to recognise now, or None when none waits."""
        if not self._works:
            return None
        work = self._next()
        seconds, window = work.waiting.popleft()
        work.served += seconds
        if not work.waiting:
            self._works.discard(work)
        return window

    def _next(self) -> Work[T]:
        urgent = [work for work in self._works if work.urgent]
        others = [work for work in self._works if not work.urgent]
        if not (urgent and others):
            return _least_served(urgent or others)
        self._turn += 1
        return _least_served(others if self._turn % OTHERS_EVERY == 0 else urgent)


def _least_served(works: Iterable[Work[T]]) -> Work[T]:
    return min(works, key=lambda work: (work.served, work.seq))
