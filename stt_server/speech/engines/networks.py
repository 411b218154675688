"""Parakeet's three networks, in either layout.

sherpa-onnx's keeps prediction network and joint apart; onnx-asr's has both in one graph, which computes
the prediction again at every step. Integer types, names and sizes are read from the files.
"""

from collections.abc import Sequence
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


class _Prediction:
    """What both layouts share: the states of the prediction network."""

    def __init__(self, graph: Graph, *, states_at: int, blank: int) -> None:
        self._graph = graph
        layers, width = graph.size(states_at, 0), graph.size(states_at, 2)
        if layers is None or width is None:
            raise ModelBroken(f"{graph.name} does not say how large its states are.")
        self._start = Memory(blank, (np.zeros((layers, width), np.float32),) * 2)
        # sherpa-onnx's export fixes the batch of the second state at 1.
        self._batches = graph.size(states_at, 1) is None and graph.size(states_at + 1, 1) is None

    def start(self) -> Memory:
        """The memory before the first token; a fresh one, since steps write into it."""
        return replace(self._start)

    def _run(self, memories: Sequence[Memory], *before: Float32) -> Float32:
        """Take the last token of each memory in; returns the graph's first output, a row per memory."""
        if not self._batches and len(memories) > 1:
            rows = [self._run([m], *(b[i : i + 1] for b in before)) for i, m in enumerate(memories)]
            return np.concatenate(rows)
        hidden = np.stack([memory.state[0] for memory in memories], axis=1)
        cell = np.stack([memory.state[1] for memory in memories], axis=1)
        tokens = [[memory.token] for memory in memories]
        answer, *_, hidden, cell = self._graph.run(*before, tokens, [1] * len(memories), hidden, cell)
        for row, memory in enumerate(memories):
            memory.next_state = (hidden[:, row], cell[:, row])
        return answer.reshape(len(memories), -1)


class SplitTransducer(_Prediction):
    """sherpa-onnx's layout: the prediction is kept until a token is emitted."""

    def __init__(self, decoder: Graph, joiner: Graph, *, blank: int) -> None:
        super().__init__(decoder, states_at=2, blank=blank)
        self._joiner = joiner
        self._predict([self._start])

    def _predict(self, memories: Sequence[Memory]) -> None:
        for memory, prediction in zip(memories, self._run(memories), strict=True):
            memory.prediction = prediction

    def join(self, frames: Float32, memories: Sequence[Memory]) -> Float32:
        """Scores of tokens and durations, a row per memory."""
        if fresh := [memory for memory in memories if memory.prediction is None]:
            self._predict(fresh)
        predictions = np.stack([m.prediction for m in memories if m.prediction is not None])
        (scores,) = self._joiner.run(frames[:, :, None], predictions[:, :, None])
        return scores.reshape(len(memories), -1)


class FusedTransducer(_Prediction):
    """onnx-asr's layout: one graph for both."""

    def __init__(self, decoder_joint: Graph, *, blank: int) -> None:
        super().__init__(decoder_joint, states_at=3, blank=blank)

    def join(self, frames: Float32, memories: Sequence[Memory]) -> Float32:
        """Scores of tokens and durations, a row per memory."""
        return self._run(memories, frames[:, :, None])


def open_transducer(layout: Layout, *, blank: int) -> Transducer:
    """The search's networks, from whichever layout it is."""
    if layout.joiner is None:
        return FusedTransducer(Graph(layout.decoder, inputs=(3, 2, 1, 3, 3), outputs=4), blank=blank)
    decoder = Graph(layout.decoder, inputs=(2, 1, 3, 3), outputs=4)
    return SplitTransducer(decoder, Graph(layout.joiner, inputs=(3, 3), outputs=1), blank=blank)
