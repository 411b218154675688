"""Greedy search of a token-and-duration transducer.

At every step the joint network scores the next token and how many frames to skip. All windows of a call
take their steps together: a step costs about the same for one window as for eight. The price: int8 graphs
scale the rows of a step together, so scores differ a little with the company (another token in 1 % of noisy
clips with the small model). Who wants the same answer every time hands over one window at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from stt_server.speech.engines.features import Float32

MAX_SYMBOLS = 10
"""Tokens at one frame before the search is pushed on, as in NeMo."""

State = tuple[Float32, Float32]
"""Hidden and cell state of the prediction network, each (layers, hidden)."""


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

    def join(self, frames: Float32, memories: Sequence[Memory]) -> Float32:
        """Scores of every token, then of every duration, for each row: (rows, tokens + durations)."""


@dataclass(frozen=True, slots=True)
class Emission:
    """A token as the search found it."""

    token: int
    frame: int
    """Frame of the encoder at which it was emitted."""
    duration: int
    """Frames it lasts, as the model guesses; may be 0."""
    logprob: float


@dataclass(slots=True, eq=False)
class Cursor:
    """Where the search stands in one window."""

    encoded: Float32
    """Encoder output, (frames, width)."""
    memory: Memory
    frame: int = 0
    symbols: int = 0
    """Tokens emitted at this frame."""
    emissions: list[Emission] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether the window is used up."""
        return self.frame >= len(self.encoded)

    def emit(self, token: int, duration: int, logprob: float) -> None:
        """Note a token; the next step knows of it."""
        self.emissions.append(Emission(token, self.frame, duration, logprob))
        self.memory = self.memory.followed_by(token)
        self.symbols += 1

    def advance(self, duration: int, *, blank: bool) -> None:
        """Skip frames: at least one after a blank, or when a frame has had its share of tokens."""
        if duration == 0 and (blank or self.symbols >= MAX_SYMBOLS):
            duration = 1
        if duration:
            self.frame += duration
            self.symbols = 0


def step(cursors: Sequence[Cursor], transducer: Transducer, *, tokens: int, blank: int) -> None:
    """Take one step in each window. `tokens` counts the vocabulary, blank included."""
    frames = np.stack([cursor.encoded[cursor.frame] for cursor in cursors])
    scores = transducer.join(frames, [cursor.memory for cursor in cursors])
    best = scores[:, :tokens].argmax(axis=1).tolist()
    durations = scores[:, tokens:].argmax(axis=1).tolist()
    for row, (cursor, token, duration) in enumerate(zip(cursors, best, durations, strict=True)):
        if token != blank:
            cursor.emit(token, duration, _logprob(scores[row, :tokens], token))
        cursor.advance(duration, blank=token == blank)


def _logprob(scores: Float32, token: int) -> float:
    """Logarithm of the softmax at the highest score."""
    return -float(np.log(np.exp(scores - scores[token]).sum()))


def search(encoded: Sequence[Float32], transducer: Transducer, *, tokens: int, blank: int) -> list[list[Emission]]:
    """What each window says."""
    cursors = [Cursor(frames, transducer.start()) for frames in encoded]
    active = [cursor for cursor in cursors if not cursor.done]
    while active:
        step(active, transducer, tokens=tokens, blank=blank)
        active = [cursor for cursor in active if not cursor.done]
    return [cursor.emissions for cursor in cursors]
