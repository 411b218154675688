"""Greedy search of a token-and-duration transducer (Xu et al. 2023, arXiv:2304.06795).

At every step the joint network scores the next token and how many frames to skip.

One window at a time, on the thread that encoded it. Steps of several windows could share a run of the networks, but
their int8 graphs scale all rows of a run together, so a window's words would depend on its company, and there is
little to win: next to a 10 s clip's encoder (335 ms on one core of a Zen 5), the search of a full-size model takes
15 ms alone, 10 ms a window for two together and 5 ms for eight.
"""

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


def search(encoded: Float32, transducer: Transducer, *, tokens: int, blank: int) -> list[Emission]:
    """What a window says, given its encoder output (frames, width). `tokens` counts the vocabulary, blank included."""
    memory, found = transducer.start(), list[Emission]()
    frame = symbols = 0
    while frame < len(encoded):
        scores = transducer.join(encoded[frame], memory)
        token, duration = int(scores[:tokens].argmax()), int(scores[tokens:].argmax())
        if token != blank:
            found.append(Emission(token, frame, duration, _logprob(scores[:tokens], token)))
            memory = memory.followed_by(token)
            symbols += 1
        if duration == 0 and (token == blank or symbols >= MAX_SYMBOLS):
            duration = 1
        if duration:
            frame += duration
            symbols = 0
    return found


def _logprob(scores: Float32, token: int) -> float:
    """Logarithm of the softmax at the highest score."""
    return -float(np.log(np.exp(scores - scores[token]).sum()))
