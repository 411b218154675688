"""A dynamically quantised graph, rewritten for ONNX Runtime's fast kernels.

The published encoders have unsigned weights, for which ONNX Runtime has only slow kernels, and quantised convolutions,
which it computes more slowly still. Three rewrites:

- Weights of `MatMulInteger` become signed: 128 less, and so is their zero point. Exact: the same integers come out.
- A `ConvInteger` over single points becomes a `MatMulInteger` over channels last. Exact: the same sums, and a tensor's
  quantisation does not depend on the order of its axes.
- Every other `ConvInteger` becomes a float `Conv` with the same weights. Not exact: what goes in is no longer rounded
  to 8 bits, so the result is closer to the original float model's.

What does not look like the work of ONNX Runtime's `quantize_dynamic` is left as it is.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A new graph, its weights apart: half a gigabyte of them need not be in memory a second time."""

    frame: ModelProto
    """The model without its weights."""
    weights: Callable[[], Iterator[TensorProto]]
    """Makes them one after another."""
    signed: int
    """Matrix products whose weights are signed now."""
    pointwise: int
    """Convolutions that are matrix products now."""
    floated: int
    """Convolutions that are computed in float32 now."""

    @property
    def changes(self) -> int:
        """How many operators are others than before."""
        return self.signed + self.pointwise + self.floated


def rewrite(model: ModelProto) -> Rewritten:
    """Rewrite a model, which itself stays as it is."""
    surgery = _Surgery(model.graph)
    nodes = [new for node in model.graph.node for new in surgery.operate(node)]
    nodes = without_dead(nodes, outputs={value.name for value in model.graph.output})
    read = {name for node in nodes for name in reads(node)} | {value.name for value in model.graph.output}
    return Rewritten(
        frame=_frame(model, nodes),
        weights=partial(surgery.weights.read, read),
        signed=surgery.signed,
        pointwise=surgery.pointwise,
        floated=surgery.floated,
    )


def _frame(model: ModelProto, nodes: Iterable[NodeProto]) -> ModelProto:
    """Everything of the model but its weights, with these nodes.

    The notes on shapes inside stay, where the value does: ONNX Runtime fuses more where it knows them.
    """
    frame = ModelProto()
    copy_fields(model, frame, but={"graph"})
    copy_fields(model.graph, frame.graph, but={"node", "initializer", "value_info"})
    frame.graph.node.extend(nodes)
    made = {name for node in nodes for name in node.output}
    frame.graph.value_info.extend(value for value in model.graph.value_info if value.name in made)
    return frame


def copy_fields(old: Any, new: Any, *, but: set[str]) -> None:
    """All fields of a message but these."""
    for field, value in old.ListFields():
        if field.name in but:
            continue
        if field.is_repeated:
            getattr(new, field.name).extend(value)
        elif field.message_type:
            getattr(new, field.name).CopyFrom(value)
        else:
            setattr(new, field.name, value)


def reads(node: NodeProto) -> Iterator[str]:
    """Names of all values it needs, those inside its branches and loops included."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (*attribute.graphs, *([attribute.g] if attribute.type == AttributeProto.GRAPH else [])):
            yield from (name for inner in graph.node for name in reads(inner))
            yield from (value.name for value in graph.output)


def without_dead(nodes: list[NodeProto], outputs: set[str]) -> list[NodeProto]:
    """The nodes that something comes of. They are in the order of their work."""
    read, kept = set(outputs), []
    for node in reversed(nodes):
        if read & set(node.output):
            kept.append(node)
            read.update(reads(node))
    return kept[::-1]


@dataclass(frozen=True, slots=True)
class _Scaled:
    """A quantised convolution with what belongs to it: `Mul(Cast(ConvInteger(x)), Mul(x's scale, the weights'))`."""

    conv: NodeProto
    x: str
    """What was quantised."""
    weight: TensorProto
    zero: Array
    """Zero point of the weights: one, without axes, or a row with one a channel."""
    scale: Array
    """Of the weights: likewise, float32."""
    output: str
    """The result, scaled."""

    @property
    def axes(self) -> int:
        """Number of axes of what goes in, of the weights and of what comes out."""
        return len(self.weight.dims)

    @property
    def pointwise(self) -> bool:
        """Whether each point of the output depends on one of the input only."""
        return (
            set(self.weight.dims[2:]) == {1}
            and self._attribute("group", 1) == 1
            and set(self._attribute("strides", [1])) == {1}
            and set(self._attribute("pads", [0])) == {0}
        )

    def _attribute(self, name: str, default: Any) -> Any:
        return next((helper.get_attribute_value(a) for a in self.conv.attribute if a.name == name), default)


class _Surgery:
    """One graph under the knife."""

    def __init__(self, graph: GraphProto) -> None:
        self.weights = _Weights({weight.name: weight for weight in graph.initializer})
        self._nodes = list(graph.node)
        self._makers = {name: node for node in self._nodes for name in node.output}
        self._readers = Counter(name for node in self._nodes for name in reads(node))
        self._readers.update(value.name for value in graph.output)
        self.signed = self.pointwise = self.floated = 0

    def operate(self, node: NodeProto) -> list[NodeProto]:
        """What comes in a node's place, under the same names for its results. What that makes superfluous stays."""
        if node.op_type == "MatMulInteger":
            return [self._sign(node)]
        if node.op_type == "Mul" and (scaled := self._scaled(node)):
            return self._multiply(scaled) if scaled.pointwise else self._float(scaled)
        return [node]

    # -- What is there -----------------------------------------------------------------------------

    def _made_by(self, op_type: str, name: str) -> NodeProto | None:
        node = self._makers.get(name)
        return node if node is not None and node.op_type == op_type else None

    def _scaled(self, mul: NodeProto) -> _Scaled | None:
        """The convolution whose result this node scales."""
        for name, other in (tuple(mul.input), tuple(reversed(mul.input))):
            cast, scales = self._made_by("Cast", name), self._made_by("Mul", other)
            conv = self._made_by("ConvInteger", cast.input[0]) if cast else None
            quantise = self._made_by("DynamicQuantizeLinear", conv.input[0]) if conv else None
            if cast and scales and conv and quantise and self._readers[name] == self._readers[cast.input[0]] == 1:
                return self._with_values(mul, cast, scales, conv, quantise)
        return None

    def _with_values(
        self, mul: NodeProto, cast: NodeProto, scales: NodeProto, conv: NodeProto, quantise: NodeProto
    ) -> _Scaled | None:
        _, scale_of_x, zero_of_x = quantise.output
        weight = self.weights.old.get(conv.input[1])
        scale = next((name for name in scales.input if name != scale_of_x), "")
        zero = conv.input[3] if len(conv.input) > 3 else ""
        if (
            weight is None
            or helper.get_attribute_value(cast.attribute[0]) != TensorProto.FLOAT
            or scale_of_x not in scales.input
            or list(conv.input[2:3]) != [zero_of_x]
            or scale not in self.weights.old
            or (zero and zero not in self.weights.old)
        ):
            return None
        channels, beyond = weight.dims[0], [1] * (len(weight.dims) - 2)
        scale_value, zero_value = self.weights.value(scale), self.weights.value(zero) if zero else _none(weight)
        # One for all, or one a channel, laid along the channels of the result and no other axis.
        if scale_value.size > 1 and list(scale_value.shape) not in ([channels, *beyond], [1, channels, *beyond]):
            return None
        if scale_value.dtype != np.float32 or zero_value.size not in (1, channels):
            return None
        return _Scaled(conv, quantise.input[0], weight, _row(zero_value), _row(scale_value), mul.output[0])

    # -- What comes in its place -------------------------------------------------------------------

    def _sign(self, node: NodeProto) -> NodeProto:
        """Unsigned weights made signed."""
        weight = self.weights.old.get(node.input[1])
        name = node.input[3] if len(node.input) > 3 else ""
        zero = self.weights.old.get(name)
        if weight is None or weight.data_type != TensorProto.UINT8 or (name and zero is None):
            return node
        new = NodeProto()
        new.CopyFrom(node)
        new.input.extend([""] * (4 - len(new.input)))
        new.input[1] = self.weights.add(f"{weight.name}/signed", partial(_signed_tensor, weight))
        # Without a zero point it was 0. Another weight may have the same one and not be signed.
        zero_value = signed(numpy_helper.to_array(zero) if zero else _none(weight))
        new.input[3] = self.weights.add(f"{name or weight.name + '/zero'}/signed", lambda: zero_value)
        self.signed += 1
        return new

    def _multiply(self, scaled: _Scaled) -> list[NodeProto]:
        """A convolution over single points as a matrix product.

        It is quantised again after the transposition: the result is the same, this way ONNX Runtime recognises
        quantisation, product and scaling as one operator, and drops the transposition where its inverse comes before.
        """
        out, axes, add = scaled.output, scaled.axes, self.weights.add
        weight = add(f"{out}/weight", partial(_product_tensor, scaled.weight))
        zero = add(f"{out}/weight_zero", lambda: signed(scaled.zero))
        scale = add(f"{out}/weight_scale", lambda: scaled.scale)
        last, first = [0, *range(2, axes), 1], [0, axes - 1, *range(1, axes - 1)]
        quantised = [f"{out}/{part}" for part in ("bytes", "scale", "zero")]
        self.pointwise += 1
        return [
            helper.make_node("Transpose", [scaled.x], [f"{out}/last"], f"{out}/last", perm=last),
            helper.make_node("DynamicQuantizeLinear", [f"{out}/last"], quantised, f"{out}/quantise"),
            helper.make_node(
                "MatMulInteger", [quantised[0], weight, quantised[2], zero], [f"{out}/sums"], f"{out}/sums"
            ),
            helper.make_node("Cast", [f"{out}/sums"], [f"{out}/cast"], f"{out}/cast", to=TensorProto.FLOAT),
            helper.make_node("Mul", [quantised[1], scale], [f"{out}/scales"], f"{out}/scales"),
            helper.make_node("Mul", [f"{out}/cast", f"{out}/scales"], [f"{out}/product"], f"{out}/product"),
            helper.make_node("Transpose", [f"{out}/product"], [out], f"{out}/first", perm=first),
        ]

    def _float(self, scaled: _Scaled) -> list[NodeProto]:
        """A convolution with the same weights on what was not quantised."""
        weight = self.weights.add(
            f"{scaled.output}/weight", partial(_float_tensor, scaled.weight, scaled.zero, scaled.scale)
        )
        node = helper.make_node("Conv", [scaled.x, weight], [scaled.output], f"{scaled.output}/float")
        node.attribute.extend(scaled.conv.attribute)
        self.floated += 1
        return [node]


class _Weights:
    """The old weights and the new ones, which are made when they are written.

    Nothing made here refers back to the surgery: a circle of references would keep the old weights in memory.
    """

    def __init__(self, old: dict[str, TensorProto]) -> None:
        self.old = old
        self._new: dict[str, Callable[[], Array]] = {}

    def value(self, name: str) -> Array:
        """An old one."""
        return np.asarray(numpy_helper.to_array(self.old[name]))

    def add(self, name: str, make: Callable[[], Array]) -> str:
        """A new one; returns its name."""
        self._new[name] = make
        return name

    def read(self, names: set[str]) -> Iterator[TensorProto]:
        """Those of these names."""
        yield from (weight for name, weight in self.old.items() if name in names)
        yield from (numpy_helper.from_array(make(), name) for name, make in self._new.items() if name in names)


def _none(weight: TensorProto) -> Array:
    """The zero point of weights that have none."""
    return np.zeros((), helper.tensor_dtype_to_np_dtype(weight.data_type))


def _row(values: Array) -> Array:
    """One value without axes, or a row of them."""
    return values.reshape(()) if values.size == 1 else values.reshape(-1)


def signed(values: Array) -> Array:
    """128 less, which is another top bit."""
    return values if values.dtype == np.int8 else (values ^ np.uint8(128)).view(np.int8)


def _signed_tensor(weight: TensorProto) -> Array:
    return signed(numpy_helper.to_array(weight))


def _product_tensor(weight: TensorProto) -> Array:
    """(out, in, 1, ...) to (in, out)."""
    return np.ascontiguousarray(_signed_tensor(weight).reshape(weight.dims[:2]).T)


def _float_tensor(weight: TensorProto, zero: Array, scale: Array) -> Array:
    along = (-1, *[1] * (len(weight.dims) - 1))
    steps = numpy_helper.to_array(weight).astype(np.float32) - zero.astype(np.float32).reshape(along)
    return np.asarray(steps * scale.reshape(along), np.float32)
