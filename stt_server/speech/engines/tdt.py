"""Greedy search of a token-and-duration transducer (Xu et al. 2023, arXiv:2304.06795).

At every step the joint network scores the next token and how many frames to skip.

One window at a time, on the thread that encoded it. Steps of several windows could share a run of the networks, but
their int8 graphs scale all rows of a run together, so a window's words would depend on its company, and there is
little to win: next to a 10 s clip's encoder (335 ms on one core of a Zen 5), the search of a full-size model takes
15 ms alone, 10 ms a window for two together and 5 ms for eight.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stt_server.speech.engines.features import Float32

MAX_SYMBOLS = 10
"""Tokens at one frame before the search is pushed on, as in NeMo."""

State = tuple[Float32, Float32]
"""Hidden and cell state of the prediction network, each (layers, 1, hidden)."""


@dataclass(slots=True, eq=False)
class Memory:
    """What the prediction network knows of the tokens emitted so far."""

    token: int
    """The last of them."""
    state: State
    """Before it was taken in."""
    next_state: State | None = None
    """After; filled in by the first step that needs it."""
    prediction: Float32 | None = None
    """The network's answer to it, kept for the steps that emit nothing."""

    def followed_by(self, token: int) -> "Memory":
        """The memory once one more token is emitted."""
        assert self.next_state is not None, "a token follows a step"
        return Memory(token, self.next_state)


class Transducer(Protocol):
    """Prediction and joint network."""

    def start(self) -> Memory:
        """The memory before the first token."""

    def join(self, frame: Float32, memory: Memory) -> Float32:
        """Scores of every token, then of every duration, at one frame (width,): (tokens + durations,)."""


@dataclass(frozen=True, slots=True)
class Emission:
    """A token as the search found it."""

    token: int
    frame: int
    """Frame of the encoder at which it was emitted."""
    duration: int
    """Frames it lasts, as the model guesses; may be 0."""
    logprob: float
    text: str | None = None
    """How it is written, where that is not as in the vocabulary."""


@dataclass(slots=True, eq=False)
class Point:
    """Where a search stands."""

    frame: int
    memory: Memory
    symbols: int = 0
    """Tokens emitted at this frame."""

    def after(self, token: int, duration: int, *, blank: int) -> "Point":
        """Where it stands after a step."""
        memory, symbols = self.memory, self.symbols
        if token != blank:
            memory = memory.followed_by(token)
            symbols += 1
        if duration == 0 and (token == blank or symbols >= MAX_SYMBOLS):
            duration = 1
        return Point(self.frame + duration, memory, 0 if duration else symbols)


@dataclass(slots=True, eq=False)
class Step:
    """One choice of a search."""

    point: Point
    """Where it was made."""
    scores: Float32
    """What it was made from: (tokens,)."""
    token: int
    duration: int
    text: str | None = None
    """As in `Emission`."""
    _logprob: float | None = None

    def emission(self) -> Emission:
        """The token, for a step that is not blank."""
        return Emission(self.token, self.point.frame, self.duration, self.logprob(), self.text)

    def logprob(self) -> float:
        """Of the token: the logarithm of the softmax."""
        if self._logprob is None:
            top = self.scores.max()  # the token's own, but for steps that were led along a term
            self._logprob = float(self.scores[self.token] - top - np.log(np.exp(self.scores - top).sum()))
        return self._logprob

    def instead(self, token: int) -> "Step":
        """Another choice at the same point."""
        logprob = self.logprob() + float(self.scores[token] - self.scores[self.token])
        return Step(self.point, self.scores, token, self.duration, _logprob=logprob)


def search(encoded: Float32, transducer: Transducer, *, tokens: int, blank: int) -> list[Emission]:
    """What a window says, given its encoder output (frames, width). `tokens` counts the vocabulary, blank included."""
    steps = walk(encoded, transducer, Point(0, transducer.start()), tokens=tokens, blank=blank)
    return [step.emission() for step in steps if step.token != blank]


def walk(encoded: Float32, transducer: Transducer, point: Point, *, tokens: int, blank: int) -> Iterator[Step]:
    """The likeliest step from a point on, and from where it leads, to the end."""
    while point.frame < len(encoded):
        step = likeliest(encoded, transducer, point, tokens=tokens)
        point = point.after(step.token, step.duration, blank=blank)
        yield step


def likeliest(encoded: Float32, transducer: Transducer, point: Point, *, tokens: int) -> Step:
    """The step that the model holds for the likeliest."""
    scores = transducer.join(encoded[point.frame], point.memory)
    return Step(point, scores[:tokens], int(scores[:tokens].argmax()), int(scores[tokens:].argmax()))
