"""The search against a plain loop, over made-up networks and over the small model's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_server.speech.engines.features import Float32, LogMel
from stt_server.speech.engines.layout import find_layout
from stt_server.speech.engines.networks import Encoder, open_transducer
from stt_server.speech.engines.tdt import Emission, Memory, Transducer, search
from tests.assets import TINY_MODEL, needs_model
from tests.speech.engines.models import SAMPLES, TOKENS, speech, transcripts

BLANK = TOKENS - 1


def plain_loop(encoded: Float32, transducer: Transducer, *, tokens: int, blank: int) -> list[Emission]:
    """Greedy TDT as it is written down: one window, one step at a time."""
    memory, found, frame, symbols = transducer.start(), list[Emission](), 0, 0
    while frame < len(encoded):
        scores = transducer.join(encoded[frame], memory).astype(np.float64)
        token, duration = int(np.argmax(scores[:tokens])), int(np.argmax(scores[tokens:]))
        if token != blank:
            logprob = scores[token] - np.log(np.sum(np.exp(scores[:tokens])))
            found.append(Emission(token, frame, duration, float(logprob)))
            assert memory.next_state is not None
            memory = Memory(token, memory.next_state)
            symbols += 1
        if duration > 0:
            frame, symbols = frame + duration, 0
        elif token == blank or symbols == 10:
            frame, symbols = frame + 1, 0
    return found


def places(emissions: Sequence[Emission]) -> list[tuple[int, int, int]]:
    return [(e.token, e.frame, e.duration) for e in emissions]


@dataclass
class MadeUp:
    """Networks of a few random numbers, of which the state is a running mean of what was emitted."""

    tokens: int
    seed: int
    longest: int = 4

    def __post_init__(self) -> None:
        draw = np.random.default_rng(self.seed).normal
        self.pieces = draw(size=(self.tokens, 6)).astype(np.float32)
        self.out = draw(size=(6, self.tokens + self.longest + 1)).astype(np.float32)
        self.out[:, self.tokens - 1] *= 2  # blank wins often enough

    def start(self) -> Memory:
        nothing = np.zeros((1, 6), np.float32)
        return Memory(self.tokens - 1, (nothing, nothing))

    def join(self, frame: Float32, memory: Memory) -> Float32:
        state = (memory.state[0] + self.pieces[memory.token]) / 2
        memory.next_state = (state, memory.state[1])
        return np.asarray((frame + state[0]) @ self.out)


@given(seed=st.integers(0, 10_000), tokens=st.integers(2, 9), longest=st.integers(0, 4), length=st.integers(0, 40))
@settings(deadline=None)
def test_the_search_is_the_plain_loop(seed: int, tokens: int, longest: int, length: int) -> None:
    """Whatever the networks say, the search finds what the plain loop finds."""
    transducer = MadeUp(tokens, seed, longest)
    encoded = np.random.default_rng(seed + 1).normal(size=(length, 6)).astype(np.float32)
    ours = search(encoded, transducer, tokens=tokens, blank=tokens - 1)
    theirs = plain_loop(encoded, transducer, tokens=tokens, blank=tokens - 1)
    assert places(ours) == places(theirs)
    assert [e.logprob for e in ours] == pytest.approx([e.logprob for e in theirs], abs=1e-5)
    assert all(e.logprob <= 0 for e in ours)


def test_a_frame_has_its_share_of_tokens() -> None:
    """A model that never moves on is pushed to the next frame after ten tokens."""
    transducer = MadeUp(3, seed=0, longest=0)
    transducer.out[:, 2] = 0  # never the best of three
    transducer.out[:, 1] = -transducer.out[:, 0]
    found = search(np.ones((3, 6), np.float32), transducer, tokens=3, blank=2)
    assert [e.frame for e in found] == [0] * 10 + [1] * 10 + [2] * 10


@needs_model
def test_the_small_models_tokens_are_the_plain_loops() -> None:
    """On real speech through real networks, the search finds the plain loop's tokens, frames and scores."""
    encoder, transducer = (
        Encoder(TINY_MODEL / "encoder.int8.onnx"),
        open_transducer(find_layout(TINY_MODEL), blank=BLANK),
    )
    for name in transcripts():
        encoded = encoder(LogMel(80)(speech(SAMPLES / name)))
        ours = search(encoded, transducer, tokens=TOKENS, blank=BLANK)
        theirs = plain_loop(encoded, transducer, tokens=TOKENS, blank=BLANK)
        assert places(ours) == places(theirs)
        # float32 against float64 sums over 769 tokens
        assert [e.logprob for e in ours] == pytest.approx([e.logprob for e in theirs], abs=1e-5)


@needs_model
def test_the_prediction_network_rests_after_a_blank() -> None:
    """One prediction a token, not one a step: a blank leaves it as it was."""
    transducer = open_transducer(find_layout(TINY_MODEL), blank=BLANK)
    memory, frame = transducer.start(), np.zeros(128, np.float32)
    transducer.join(frame, memory)
    kept = memory.prediction
    transducer.join(frame, memory)
    assert kept is not None
    assert memory.prediction is kept


@needs_model
def test_windows_share_no_memory() -> None:
    """Every window starts from a memory of its own: steps write into it, from any thread."""
    transducer = open_transducer(find_layout(TINY_MODEL), blank=BLANK)
    assert transducer.start() is not transducer.start()
