"""Parakeet's three networks, in either layout.

sherpa-onnx's keeps prediction network and joint apart; onnx-asr's has both in one graph, which computes
the prediction again at every step. Integer types, names and sizes are read from the files.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from stt_server.errors import EngineFailed, ModelBroken
from stt_server.speech.engines.features import Float32
from stt_server.speech.engines.graphs import Graph
from stt_server.speech.engines.layout import Layout
from stt_server.speech.engines.tdt import Memory, Transducer


class Encoder:
    """Features to frames of 80 ms. The heavy part: all of the time but a few per cent."""

    def __init__(self, path: Path) -> None:
        self.graph = Graph(path, inputs=(3, 1), outputs=2)

    def __call__(self, features: Float32) -> Float32:
        """(mels, n) to (about n / 8, width)."""
        frames, lengths = self.graph.run(features[None], [features.shape[1]])
        if frames.ndim != 3 or lengths.shape != (1,):
            raise EngineFailed(f"{self.graph.name} gives {frames.shape} and {lengths.shape}.")
        return np.ascontiguousarray(frames[0, :, : int(lengths[0])].T)


_ONE = np.ones(1, np.int64)
"""The number of tokens that a step takes in."""


class _Prediction:
    """What both layouts share: the states of the prediction network."""

    def __init__(self, graph: Graph, *, states_at: int, blank: int) -> None:
        self._graph = graph
        layers, width = graph.size(states_at, 0), graph.size(states_at, 2)
        if layers is None or width is None:
            raise ModelBroken(f"{graph.name} does not say how large its states are.")
        self._start = Memory(blank, (np.zeros((layers, 1, width), np.float32),) * 2)

    def start(self) -> Memory:
        """The memory before the first token; a fresh one, since steps write into it."""
        return replace(self._start)

    def _run(self, memory: Memory, *before: Float32) -> Float32:
        """Take the last token of the memory in; returns the graph's first output."""
        answer, *_, hidden, cell = self._graph.run(*before, [[memory.token]], _ONE, *memory.state)
        memory.next_state = (hidden, cell)
        return answer


class SplitTransducer(_Prediction):
    """sherpa-onnx's layout: the prediction is kept until a token is emitted."""

    def __init__(self, decoder: Graph, joiner: Graph, *, blank: int) -> None:
        super().__init__(decoder, states_at=2, blank=blank)
        self._joiner = joiner
        self._start.prediction = self._predict(self._start)

    def _predict(self, memory: Memory) -> Float32:
        return self._run(memory).reshape(1, -1, 1)

    def join(self, frame: Float32, memory: Memory) -> Float32:
        """Scores of tokens and durations."""
        if memory.prediction is None:
            memory.prediction = self._predict(memory)
        (scores,) = self._joiner.run(frame.reshape(1, -1, 1), memory.prediction)
        return scores.reshape(-1)


class FusedTransducer(_Prediction):
    """onnx-asr's layout: one graph for both."""

    def __init__(self, decoder_joint: Graph, *, blank: int) -> None:
        super().__init__(decoder_joint, states_at=3, blank=blank)

    def join(self, frame: Float32, memory: Memory) -> Float32:
        """Scores of tokens and durations."""
        return self._run(memory, frame.reshape(1, -1, 1)).reshape(-1)


def open_transducer(layout: Layout, *, blank: int) -> Transducer:
    """The search's networks, from whichever layout it is."""
    if layout.joiner is None:
        return FusedTransducer(Graph(layout.decoder, inputs=(3, 2, 1, 3, 3), outputs=4), blank=blank)
    decoder = Graph(layout.decoder, inputs=(2, 1, 3, 3), outputs=4)
    return SplitTransducer(decoder, Graph(layout.joiner, inputs=(3, 3), outputs=1), blank=blank)
