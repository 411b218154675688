"""Small encoders of random weights, exported and quantised as NVIDIA's are, glue included.

The arrangement is that of NeMo's FastConformer: masks before every convolution of the subsampling, a table of sines and
cosines cut to the window's length, the relative shift by padding, a padded convolution along time.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

Array = NDArray[Any]
WIDTH, HEADS, MELS, CHANNELS, KERNEL, BLOCKS, POSITIONS = 32, 4, 16, 8, 5, 2, 600


@dataclass
class Export:
    """One way to export; the fields are what differs from model to model and exporter to exporter."""

    biases: bool = False
    """In all products."""
    old_norms: bool = False
    """Layer normalisations in single steps, as before opset 17."""
    padded: bool = True
    """The convolution along time is padded by a node of its own."""
    scaled: float = 1.0
    """Factor of the stream at its beginning."""
    function: str = "Sigmoid"
    """Of the feed-forward stages: another one is no FastConformer."""
    gate: str = "Sigmoid"
    """Of the convolution stages: likewise."""
    nodes: list[NodeProto] = field(default_factory=list, repr=False)
    weights: dict[str, Array] = field(default_factory=dict, repr=False)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7), repr=False)

    def add(self, op_type: str, *inputs: str | Array, **attributes: Any) -> str:
        """A node; returns the name of its output. Arrays become weights."""
        names = [self.weight(given) if isinstance(given, np.ndarray) else given for given in inputs]
        name = f"{op_type}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, names, [name], name, **attributes))
        return name

    def weight(self, value: Array) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = value
        return name

    def noise(self, *shape: int, by: float = 1.0) -> Array:
        return np.asarray(self.random.normal(0, by, shape), np.float32)

    def linear(self, x: str, into: int, out: int, *, bias: bool | None = None, gain: float = 1.0) -> str:
        y = self.add("MatMul", x, self.noise(into, out, by=gain * into**-0.5))
        return self.add("Add", self.noise(out, by=0.1), y) if (self.biases if bias is None else bias) else y

    def norm(self, x: str) -> str:
        gain, bias = 1 + self.noise(WIDTH, by=0.2), self.noise(WIDTH, by=0.1)
        if not self.old_norms:
            return self.add("LayerNormalization", x, gain, bias, axis=-1, epsilon=1e-5)
        centred = self.add("Sub", x, self.add("ReduceMean", x, axes=[-1]))
        power = self.add("Pow", centred, np.array(2, np.float32))
        deviation = self.add(
            "Sqrt", self.add("Add", self.add("ReduceMean", power, axes=[-1]), np.array(1e-5, np.float32))
        )
        return self.add("Add", self.add("Mul", self.add("Div", centred, deviation), gain), bias)

    def conv(self, x: str, *shape: int, **attributes: Any) -> str:
        weights = self.noise(*shape, by=float(np.prod(shape[1:])) ** -0.5)
        return self.add("Conv", x, weights, self.noise(shape[0], by=0.1), **attributes)

    # -- The encoder -------------------------------------------------------------------------------

    def keep(self, x: str, length: str, axis: int) -> tuple[str, str]:
        """Whether each frame is before the end, and how many there are."""
        frames = self.add("Gather", self.add("Shape", x), np.array(axis), axis=0)
        return self.add("Less", self.add("Range", np.array(0), frames, np.array(1)), length), frames

    def masked(self, x: str, length: str) -> str:
        """Zeros behind the end of (batch, channels, frames, bands)."""
        mask, _ = self.keep(x, length, 2)
        mask = self.add("Cast", mask, to=TensorProto.FLOAT)
        return self.add("Mul", x, self.add("Unsqueeze", mask, np.array([0, 1, 3])))

    def halved(self, length: str) -> str:
        return self.add("Add", self.add("Div", self.add("Sub", length, np.array([1])), np.array([2])), np.array([1]))

    def subsampling(self) -> tuple[str, str]:
        x, length = (
            self.add("Unsqueeze", self.add("Transpose", "audio_signal", perm=[0, 2, 1]), np.array([1])),
            "length",
        )
        stride = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
        x = self.conv(self.masked(x, length), CHANNELS, 1, 3, 3, **stride)
        length = self.halved(length)
        x = self.add("Relu", self.masked(x, length))
        for _ in range(2):
            x = self.conv(self.masked(x, length), CHANNELS, 1, 3, 3, group=CHANNELS, **stride)
            length = self.halved(length)
            x = self.add("Relu", self.conv(self.masked(x, length), CHANNELS, CHANNELS, 1, 1))
        x = self.add("Reshape", self.add("Transpose", x, perm=[0, 2, 1, 3]), np.array([0, 0, -1]))
        x = self.linear(x, CHANNELS * MELS // 8, WIDTH, bias=True)
        return (self.add("Mul", x, np.array(self.scaled, np.float32)) if self.scaled != 1 else x), length

    def distances(self, frames: str) -> str:
        """Encodings of frames - 1 ... 1 - frames, cut out of a long table."""
        number = np.arange(POSITIONS - 1, -POSITIONS, -1.0)[:, None]
        angles = number * np.exp(np.arange(0, WIDTH, 2) * -(np.log(10_000.0) / WIDTH))
        table = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(1, -1, WIDTH).astype(np.float32)
        first = self.add("Unsqueeze", self.add("Sub", np.array(POSITIONS), frames), np.array([0]))
        past = self.add("Unsqueeze", self.add("Add", np.array(POSITIONS - 1), frames), np.array([0]))
        return self.add("Slice", table, first, past, np.array([1]))

    def feed_forward(self, x: str) -> str:
        x = self.linear(x, WIDTH, 4 * WIDTH)
        x = self.linear(self.add("Mul", x, self.add(self.function, x)), 4 * WIDTH, WIDTH)
        return self.add("Mul", x, np.array(0.5, np.float32))

    def heads(self, x: str) -> str:
        return self.add("Reshape", x, np.array([0, -1, HEADS, WIDTH // HEADS]))

    def attention(self, x: str, positions: str, mask: str, frames: str) -> str:
        q, k, v = (self.heads(self.linear(x, WIDTH, WIDTH, gain=gain)) for gain in (2.0, 2.0, 1.0))
        p = self.heads(self.linear(positions, WIDTH, WIDTH, bias=False))
        u, w = self.noise(HEADS, WIDTH // HEADS, by=0.5), self.noise(HEADS, WIDTH // HEADS, by=0.5)
        by_content = self.add("MatMul", self.first(self.add("Add", q, u)), self.add("Transpose", k, perm=[0, 2, 3, 1]))
        by_position = self.add("MatMul", self.first(self.add("Add", q, w)), self.add("Transpose", p, perm=[0, 2, 3, 1]))
        by_position = self.shifted(by_position, frames)
        scores = self.add("Add", by_content, by_position)
        scores = self.add("Div", scores, np.array((WIDTH / HEADS) ** 0.5, np.float32))
        scores = self.add("Where", mask, np.array(-10_000, np.float32), scores)
        scores = self.add("Where", mask, np.array(0, np.float32), self.add("Softmax", scores, axis=-1))
        heard = self.add("Transpose", self.add("MatMul", scores, self.first(v)), perm=[0, 2, 1, 3])
        return self.linear(self.add("Reshape", heard, np.array([0, 0, WIDTH])), WIDTH, WIDTH)

    def first(self, x: str) -> str:
        return self.add("Transpose", x, perm=[0, 2, 1, 3])

    def shifted(self, x: str, frames: str) -> str:
        x = self.add("Pad", x, np.array([0, 0, 0, 1, 0, 0, 0, 0]))
        size = self.add("Unsqueeze", frames, np.array([0]))
        x = self.add("Reshape", x, self.add("Concat", np.array([1, HEADS, -1]), size, axis=0))
        x = self.add("Slice", x, np.array([1]), np.array([2**31]), np.array([2]))
        x = self.add("Reshape", x, self.add("Concat", np.array([1, HEADS]), size, np.array([-1]), axis=0))
        return self.add("Slice", x, np.array([0]), size, np.array([3]))

    def convolution(self, x: str, gone: str) -> str:
        x = self.add("Transpose", x, perm=[0, 2, 1])
        x = self.point(x, 2 * WIDTH)
        halves = [f"half_{len(self.nodes)}", f"gate_{len(self.nodes)}"]
        self.nodes.append(helper.make_node("Split", [x], halves, axis=1))
        x = self.add("Mul", halves[0], self.add(self.gate, halves[1]))
        x = self.add("Where", gone, np.array(0, np.float32), x)
        half = KERNEL // 2
        if self.padded:
            x = self.add("Pad", x, np.array([0, 0, half, 0, 0, half]))
        x = self.conv(x, WIDTH, 1, KERNEL, group=WIDTH, pads=[0, 0] if self.padded else [half, half])
        x = self.point(self.add("Mul", x, self.add("Sigmoid", x)), WIDTH)
        return self.add("Transpose", x, perm=[0, 2, 1])

    def point(self, x: str, out: int) -> str:
        weights = self.noise(out, WIDTH, 1, by=WIDTH**-0.5)
        return self.add("Conv", x, weights, *([self.noise(out, by=0.1)] if self.biases else []))

    def encoder(self) -> ModelProto:
        """The whole, in float32."""
        x, length = self.subsampling()
        kept, frames = self.keep(x, length, 1)
        gone, positions = self.add("Not", kept), self.distances(frames)
        for _ in range(BLOCKS):
            x = self.add("Add", x, self.feed_forward(self.norm(x)))
            x = self.add("Add", x, self.attention(self.norm(x), positions, gone, frames))
            x = self.add("Add", x, self.convolution(self.norm(x), gone))
            x = self.norm(self.add("Add", x, self.feed_forward(self.norm(x))))
        for name, made in (("outputs", self.add("Transpose", x, perm=[0, 2, 1])), ("encoded_lengths", length)):
            self.nodes.append(helper.make_node("Identity", [made], [name]))
        return self._model()

    def _model(self) -> ModelProto:
        make = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "encoder",
            [
                make("audio_signal", TensorProto.FLOAT, ["batch", MELS, "frames"]),
                make("length", TensorProto.INT64, ["batch"]),
            ],
            [
                make("outputs", TensorProto.FLOAT, ["batch", WIDTH, "encoded"]),
                make("encoded_lengths", TensorProto.INT64, ["batch"]),
            ],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        opset = 16 if self.old_norms else 17
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def write(folder: Path, export: Export, *, kind: QuantType = QuantType.QUInt8, each: bool = False) -> Path:
    """The encoder in 8 bits, as `encoder.int8.onnx`; `each`: a scale for each channel."""
    folder.mkdir(parents=True, exist_ok=True)
    whole, path = folder / "float.onnx", folder / "encoder.int8.onnx"
    onnx.save(export.encoder(), whole)
    logging.disable(logging.WARNING)  # the quantiser advises on the root logger
    try:
        quantize_dynamic(whole, path, weight_type=kind, per_channel=each)
    finally:
        logging.disable(logging.NOTSET)
    return path
