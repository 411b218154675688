"""The lean graph: one window a run, (batch, frames, channels) throughout, no masks.

Queries, keys and values come out of one product. The projected encodings of distances are a table, cut to the window's
length. A row of scores by distance is shifted by one to the next: a slice and another view do that.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from stt_server.speech.engines.lean import values
from stt_server.speech.engines.lean.anatomy import (
    Anatomy,
    Attention,
    Conv,
    Convolution,
    FeedForward,
    Norm,
    Product,
    Stage,
    Subsampling,
)
from stt_server.speech.engines.lean.chart import attributes
from stt_server.speech.engines.rewrite import Array, copy_fields

LONGEST = 400
"""Encoder frames (32 s) that the tables of positions suffice for. The server's windows stay under 30 s; one that did
not would fail, and be split."""
_MS = "com.microsoft"


@dataclass(frozen=True, slots=True)
class Assembled:
    """A lean graph, its weights apart."""

    frame: ModelProto
    """The model without its weights."""
    weights: Callable[[], Iterator[TensorProto]]
    """Makes them one after another."""
    stages: tuple[tuple[str, str], ...]
    """Names of each stage's stream and of what it is normalised to: the same as in the original."""


@dataclass
class _Bench:
    """What is being put together."""

    nodes: list[NodeProto] = field(default_factory=list)
    makers: dict[str, Callable[[], Array]] = field(default_factory=dict)

    def node(self, op_type: str, inputs: list[str], output: str, *more: str, domain: str = "", **given: Any) -> str:
        self.nodes.append(helper.make_node(op_type, inputs, [output, *more], output, domain=domain, **given))
        return output

    def weight(self, name: str, make: Callable[[], Array]) -> str:
        self.makers[name] = make
        return name

    def integers(self, *numbers: int) -> str:
        return self.weight("/".join(["integers", *map(str, numbers)]), lambda: np.array(numbers, np.int64))


def assemble(model: ModelProto, anatomy: Anatomy, encodings: Array) -> Assembled:
    """Join an encoder's parts. The encodings (2 LONGEST - 1, width) are of the distances LONGEST - 1 to 1 - LONGEST."""
    bench = _Bench()
    _subsample(bench, model.graph.input[0].name, anatomy.subsampling)
    lengths = _Lengths(bench, anatomy.subsampling.stream)
    branch = ""
    for number, stage in enumerate(anatomy.stages):
        _normalise(bench, anatomy.stages[number - 1] if branch else None, branch, stage)
        branch = _branch(bench, stage, f"lean/{number}", lengths, encodings)
    _finish(bench, model, anatomy, lengths)
    return Assembled(
        frame=_frame(model, bench),
        weights=partial(_weights, bench.makers),
        stages=tuple((stage.norm.x, stage.norm.output) for stage in anatomy.stages),
    )


def _frame(model: ModelProto, bench: _Bench) -> ModelProto:
    frame = ModelProto()
    copy_fields(model, frame, but={"graph", "opset_import"})
    copy_fields(model.graph, frame.graph, but={"node", "initializer", "value_info"})
    frame.opset_import.extend([helper.make_opsetid("", 17), helper.make_opsetid(_MS, 1)])
    frame.graph.node.extend(bench.nodes)
    return frame


def _weights(makers: dict[str, Callable[[], Array]]) -> Iterator[TensorProto]:
    yield from (numpy_helper.from_array(make(), name) for name, make in makers.items())


# -- Pieces ----------------------------------------------------------------------------------------


def _product(bench: _Bench, x: str, parts: list[Product], name: str, factor: float = 1.0, bias: Any = None) -> str:
    """Products of one value, quantised once, in one operator."""
    inputs = [
        x,
        bench.weight(f"{name}/weight", partial(values.products, parts)),
        bench.weight(f"{name}/scale", partial(values.scales, parts, factor)),
        bench.weight(f"{name}/zero", partial(values.zeros, parts)),
    ]
    if bias or any(part.bias is not None for part in parts):
        inputs.append(bench.weight(f"{name}/bias", bias or partial(values.bias, parts, factor)))
    return bench.node("DynamicQuantizeMatMul", inputs, name, domain=_MS)


def _conv(bench: _Bench, x: str, part: Conv, name: str, **given: Any) -> str:
    """A convolution over two axes, in float32."""
    dims = list(part.weight.dims) if len(part.weight.dims) == 4 else [*part.weight.dims[:2], 1, part.weight.dims[2]]
    inputs = [x, bench.weight(f"{name}/weight", partial(values.convolution, part, dims))]
    if part.bias is not None:
        inputs.append(bench.weight(f"{name}/bias", partial(values.vector, part.bias)))
    return bench.node("Conv", inputs, name, kernel_shape=dims[2:], **given)


def _layer_norm(bench: _Bench, x: str, norm: Norm, output: str) -> str:
    inputs = [
        x,
        bench.weight(f"{output}/gain", partial(values.vector, norm.gain)),
        bench.weight(f"{output}/bias", partial(values.vector, norm.bias)),
    ]
    return bench.node("LayerNormalization", inputs, output, epsilon=norm.epsilon)


def _silu(bench: _Bench, x: str) -> str:
    return bench.node("QuickGelu", [x], f"{x}/silu", domain=_MS, alpha=1.0)


# -- Before the stream -----------------------------------------------------------------------------


def _subsample(bench: _Bench, x: str, part: Subsampling) -> None:
    """(1, mels, n) to the stream. Channels come first where a float convolution works, last where a product does."""
    x = bench.node("Transpose", [x], "lean/frames", perm=[0, 2, 1])
    x, last = bench.node("Unsqueeze", [x, bench.integers(1)], "lean/image"), False
    for number, (each, relu) in enumerate(zip(part.convolutions, part.relus, strict=True)):
        name, wanted = f"lean/subsampling/{number}", isinstance(each, Product)
        if wanted != last:
            x, last = (
                bench.node("Transpose", [x], f"{name}/turned", perm=[0, 2, 3, 1] if wanted else [0, 3, 1, 2]),
                wanted,
            )
        if isinstance(each, Product):
            x = _product(bench, x, [each], name)
        else:
            given = {key: value for key, value in attributes(each.node).items() if key in ("group", "pads", "strides")}
            x = _conv(bench, x, each, name, **given)
        x = bench.node("Relu", [x], f"{name}/relu") if relu else x
    x = bench.node("Transpose", [x], "lean/subsampling/turned", perm=[0, 1, 3, 2] if last else [0, 2, 1, 3])
    x = bench.node("Reshape", [x, bench.integers(0, 0, -1)], "lean/subsampling/flat")
    _product(bench, x, [part.out], part.stream, part.factor)


class _Lengths:
    """What depends on the window's number of frames, computed once a run."""

    def __init__(self, bench: _Bench, stream: str) -> None:
        one, two, longest = bench.integers(1), bench.integers(2), bench.integers(LONGEST)
        self.frames = bench.node("Shape", [stream], "lean/frames/number", start=1, end=2)
        self.first = bench.node("Sub", [longest, self.frames], "lean/distances/first")
        self.past = bench.node("Add", [longest, self.frames], "lean/distances/past")
        self.skipped = bench.node("Sub", [self.frames, one], "lean/shift/first")
        double = bench.node("Mul", [self.frames, two], "lean/double")
        self.row = bench.node("Sub", [double, one], "lean/shift/row")
        kept = bench.node("Mul", [self.frames, self.row], "lean/shift/kept")
        self.end = bench.node("Add", [self.skipped, kept], "lean/shift/end")
        self._shapes: dict[int, str] = {}
        self._bench = bench

    def rows(self, heads: int) -> str:
        """(1, heads, frames, 2 frames - 1)."""
        if heads not in self._shapes:
            inputs = [self._bench.integers(1, heads), self.frames, self.row]
            self._shapes[heads] = self._bench.node("Concat", inputs, f"lean/shift/shape/{heads}", axis=0)
        return self._shapes[heads]


# -- The stream ------------------------------------------------------------------------------------


def _normalise(bench: _Bench, before: Stage | None, branch: str, stage: Stage) -> None:
    """What goes into a stage, and the stream itself where a branch is to be added to it first.

    In two operators: ONNX Runtime's one for both works on one number at a time, and takes ten times as long.
    """
    if before is not None:
        bench.node("Add", [before.norm.x, branch], stage.norm.x)
    _layer_norm(bench, stage.norm.x, stage.norm, stage.norm.output)


def _branch(bench: _Bench, stage: Stage, name: str, lengths: _Lengths, encodings: Array) -> str:
    x = stage.norm.output
    match stage.branch:
        case FeedForward(widen, narrow):
            hidden = _silu(bench, _product(bench, x, [widen], f"{name}/widen"))
            return _product(bench, hidden, [narrow], f"{name}/narrow", stage.factor)
        case Convolution() as part:
            hidden = _convolve(bench, x, part, name)
            return _product(bench, hidden, [part.out], f"{name}/out", stage.factor)
        case Attention() as part:
            heard = _attend(bench, x, part, name, lengths, encodings)
            return _product(bench, heard, [part.out], f"{name}/out", stage.factor)
        case _:
            return ""


def _convolve(bench: _Bench, x: str, part: Convolution, name: str) -> str:
    """Time lies along the second axis of a picture one pixel high: for those ONNX Runtime has fast kernels."""
    x = _product(bench, x, [part.gated], f"{name}/gated")
    bench.node("Split", [x], f"{name}/passed", f"{name}/gate", axis=-1)
    gate = bench.node("Sigmoid", [f"{name}/gate"], f"{name}/open")
    x = bench.node("Mul", [f"{name}/passed", gate], f"{name}/through")
    x = bench.node("Unsqueeze", [x, bench.integers(1)], f"{name}/picture")
    x = bench.node("Transpose", [x], f"{name}/first", perm=[0, 3, 1, 2])
    width, _, kernel = part.depthwise.weight.dims
    x = _conv(bench, x, part.depthwise, f"{name}/depthwise", group=width, pads=[0, kernel // 2, 0, kernel // 2])
    x = bench.node("Transpose", [x], f"{name}/last", perm=[0, 2, 3, 1])
    x = bench.node("Squeeze", [x, bench.integers(1)], f"{name}/convolved")
    return _silu(bench, _layer_norm(bench, x, part.norm, f"{name}/normed") if part.norm else x)


def _attend(bench: _Bench, x: str, part: Attention, name: str, lengths: _Lengths, encodings: Array) -> str:
    width, heads = part.queries.outputs, part.heads
    parts = [part.queries, part.keys, part.values]
    both = _product(bench, x, parts, f"{name}/qkv", bias=partial(values.attention_bias, part))
    q, k, v = (f"{name}/{letter}" for letter in "qkv")
    bench.node("Split", [both], q, k, v, axis=-1)
    inputs = [q, k, v, bench.weight(f"{name}/content", partial(values.content_bias, part)), ""]
    inputs.append(_by_position(bench, q, part, name, lengths, encodings))
    scale = float((width // heads) ** -0.5)
    return bench.node("MultiHeadAttention", inputs, f"{name}/heard", domain=_MS, num_heads=heads, scale=scale)


def _by_position(bench: _Bench, q: str, part: Attention, name: str, lengths: _Lengths, encodings: Array) -> str:
    """Scores by position, (1, heads, frames, frames).

    A query at frame i meets the one at j in column frames - 1 - i + j of its row by distances. Rows have twice as
    many columns as there are frames: seen as rows of one less, from element frames - 1 on, that is column j.
    """
    table = bench.weight(f"{name}/table", partial(values.position_table, part, encodings))
    heads, width = part.heads, part.queries.outputs // part.heads
    table = bench.node("Slice", [table, lengths.first, lengths.past, bench.integers(1)], f"{name}/distances")
    rows = bench.node("Reshape", [q, bench.integers(-1, heads, width)], f"{name}/rows")
    given = {"transBatchA": 1, "transB": 1}
    scores = bench.node("FusedMatMul", [rows, table], f"{name}/by_distance", domain=_MS, **given)
    flat = bench.node("Reshape", [scores, bench.integers(heads, -1)], f"{name}/flat")
    kept = bench.node("Slice", [flat, lengths.skipped, lengths.end, bench.integers(1)], f"{name}/kept")
    turned = bench.node("Reshape", [kept, lengths.rows(heads)], f"{name}/shifted")
    return bench.node("Slice", [turned, bench.integers(0), lengths.frames, bench.integers(3)], f"{name}/by_position")


def _finish(bench: _Bench, model: ModelProto, anatomy: Anatomy, lengths: _Lengths) -> None:
    frames, number = model.graph.output
    bench.node("Transpose", [anatomy.stages[-1].norm.output], frames.name, perm=[0, 2, 1])
    bench.node("Cast", [lengths.frames], number.name, to=number.type.tensor_type.elem_type)
