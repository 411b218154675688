"""Whether a lean graph computes what the original does, stage by stage.

Rounding to 8 bits makes whole encoders incomparable: what differs in the last bit is rounded to another step, and
deep networks amplify that (1e-6 on the input moves the output of one with random weights by 0.1). So no error is
allowed to travel. The original says what its stream is between all stages, and each lean stage is given just that.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper

from stt_server.speech.engines.graphs import Graph
from stt_server.speech.engines.lean.anatomy import Strange
from stt_server.speech.engines.rewrite import Array

_FRAMES = (131, 250)
"""Feature frames (10 ms) of what is tried: of an even and an odd number of encoder frames, 17 and 32."""
TOLERANCE = 0.05
"""Relative error allowed of what a stage adds to the stream. What is right stays below 0.02 where positions of a short
window are rounded to other steps, and below 0.001 else; a mistake gives more, as the tests show."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the original made of one piece of features."""

    features: Array
    values: dict[str, Array]
    """Its stream, what that is normalised to, and its outputs, by name."""


def names(stages: Sequence[tuple[str, str]]) -> list[str]:
    """What is compared: once each."""
    return list(dict.fromkeys(name for stage in stages for name in stage))


def watched(frame: ModelProto, stages: Sequence[tuple[str, str]]) -> ModelProto:
    """A graph that also gives its stream."""
    new = ModelProto()
    new.CopyFrom(frame)
    new.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names(stages))
    return new


def prompted(frame: ModelProto, stages: Sequence[tuple[str, str]]) -> ModelProto:
    """A graph that gives its stream, and whose stages are each given the stream instead of the last one's result."""
    new, given = watched(frame, stages), {name: f"{name}/given" for name in names(stages)}
    for node in new.graph.node:
        node.input[:] = [given.get(name, name) for name in node.input]
    new.graph.input.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, None]) for name in given.values()
    )
    return new


def listen(path: Path, stages: Sequence[tuple[str, str]], mels: int) -> list[Heard]:
    """Let a watched graph hear what it is tried with."""
    watch = names(stages)
    graph = Graph(path, inputs=(3, 1), outputs=2 + len(watch))
    found = []
    for frames in _FRAMES:
        features = _features(mels, frames)
        values = graph.run(features[None], [frames])
        found.append(Heard(features, dict(zip(["", "/number", *watch], values, strict=True))))
    return found


def compare(path: Path, stages: Sequence[tuple[str, str]], heard: Sequence[Heard]) -> float:
    """The largest error of a prompted graph. Raises `Strange` where it is too large."""
    watch = names(stages)
    graph = Graph(path, inputs=(3, 1, *[3] * len(watch)), outputs=2 + len(watch))
    worst = 0.0
    for expected in heard:
        given = [expected.values[name] for name in watch]
        values = graph.run(expected.features[None], [expected.features.shape[1]], *given)
        found = dict(zip(["", "/number", *watch], values, strict=True))
        for name, error in errors(stages, expected.values, found):
            if not error <= TOLERANCE:  # not a number, neither
                raise Strange(f"{name} differs by {error:.2g}")
            worst = max(worst, error)
    return worst


def errors(
    stages: Sequence[tuple[str, str]], expected: dict[str, Array], found: dict[str, Array]
) -> Iterator[tuple[str, float]]:
    """Of each value, relative to what its stage has added."""
    before: Array | None = None
    for stream, normed in stages:
        yield stream, _error(found[stream], expected[stream], before)
        yield normed, _error(found[normed], expected[normed], None)
        before = expected[stream]
    yield "its output", _error(found[""], expected[""], None)
    yield "its length", float(not np.array_equal(found["/number"], expected["/number"]))


def _error(found: Array, expected: Array, before: Array | None) -> float:
    if found.shape != expected.shape:
        return math.inf
    change = expected if before is None or before is expected else expected - before
    return float(np.linalg.norm(found - expected) / max(float(np.linalg.norm(change)), 1e-30))


def _features(mels: int, frames: int) -> Array:
    """Tones that glide and pause in noise, normalised as features are: (mels, frames)."""
    time, band = np.arange(frames) / 100, np.arange(mels)[:, None] / mels
    tones = sum(
        np.exp(-(((band - 0.5 - 0.4 * np.sin(speed * time + phase)) / 0.05) ** 2)) * (np.sin(4 * speed * time) > 0)
        for speed, phase in ((2.0, 0.0), (3.1, 1.0), (4.3, 2.0))
    )
    values = 4 * tones + np.random.default_rng(0).standard_normal((mels, frames))
    return np.asarray((values - values.mean(1, keepdims=True)) / values.std(1, keepdims=True), np.float32)
