"""A graph to be read by its flow of data: which weighted parts there are, and which of them feed which."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from stt_server.speech.engines.lean.anatomy import Conv, Norm, Product, Strange

Part = Product | Conv | Norm
Thing = TypeVar("Thing")

_SHAPES = frozenset({"Shape", "Size", "ConstantOfShape", "Range"})
"""What comes of them depends on lengths only."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What a value is made from, looking back as far as the next weighted parts."""

    parts: tuple[Part, ...]
    operators: frozenset[str]
    """Kinds of the nodes on the way."""
    ends: frozenset[str]
    """Names of the parts' outputs, and of the inputs and barriers that were reached."""


class Chart:
    """Who makes each value, who reads it, and the weighted part it comes out of, if any."""

    def __init__(self, graph: GraphProto) -> None:
        self.weights = {weight.name: weight for weight in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and (value := attributes(node).get("value")) is not None:
                self.weights[node.output[0]] = value
            elif node.op_type == "Identity" and node.input[0] in self.weights:  # exporters store equal weights once
                self.weights[node.output[0]] = self.weights[node.input[0]]
        self.inputs = [value.name for value in graph.input if value.name not in self.weights]
        self.outputs = [value.name for value in graph.output]
        self.nodes = list(graph.node)
        self.makers = {name: node for node in graph.node for name in node.output}
        self.readers: dict[str, list[NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.readers[name].append(node)
        self.parts: dict[str, Part] = {}
        for node in graph.node:
            part = self._part(node)
            if part is not None:
                self.parts[part.output] = part

    def value(self, name: str) -> NDArray[Any] | None:
        """A weight's or constant's value."""
        weight = self.weights.get(name)
        return None if weight is None else np.asarray(numpy_helper.to_array(weight))

    def scalar(self, name: str) -> float | None:
        """The number that a constant of one number is."""
        weight = self.weights.get(name)
        if weight is None or weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) != 1:
            return None
        return float(numpy_helper.to_array(weight).reshape(()))

    def sources(self, name: str, *barriers: str) -> Sources:
        """Look back from a value, through everything that has no weights. Barriers end the way like parts do."""
        parts: dict[str, Part] = {}
        operators, ends, seen, ahead = set(), set(), set(), [name]
        while ahead:
            value = ahead.pop()
            if value in seen or value in self.weights or not value:
                continue
            seen.add(value)
            if value in barriers or value in self.inputs:
                ends.add(value)
            elif part := self.parts.get(value):
                parts[value] = part
                ends.add(value)
            elif node := self.makers.get(value):
                operators.add(node.op_type)
                ahead += [] if node.op_type in _SHAPES else list(node.input)
        return Sources(tuple(parts.values()), frozenset(operators), frozenset(ends))

    def path(self, name: str, until: Callable[[NodeProto], bool]) -> list[NodeProto]:
        """The nearest nodes of a kind behind a value, before any part."""
        found, seen, ahead = {}, set(), [name]
        while ahead:
            value = ahead.pop()
            node = self.makers.get(value)
            if value in seen or value in self.parts or node is None or node.op_type in _SHAPES:
                continue
            seen.add(value)
            if until(node):
                found[node.output[0]] = node
            else:
                ahead += node.input
        return list(found.values())

    # -- Parts -------------------------------------------------------------------------------------

    def _part(self, node: NodeProto) -> Part | None:
        if node.op_type == "Mul":
            return self._quantised(node)
        if node.op_type == "Conv":
            return self._float(node)
        if node.op_type == "LayerNormalization":
            return self._norm(node)
        return self._decomposed_norm(node) if node.op_type == "Add" else None

    def _quantised(self, mul: NodeProto) -> Product | Conv | None:
        """`Mul(Cast(MatMulInteger or ConvInteger), Mul(scale of x, scale of the weights))`, and a bias behind."""
        for name, other in (tuple(mul.input), tuple(reversed(mul.input))):
            cast, scales = self.makers.get(name), self.makers.get(other)
            if cast is None or scales is None or (cast.op_type, scales.op_type) != ("Cast", "Mul"):
                continue
            sums = self.makers.get(cast.input[0])
            if (
                sums is None
                or sums.op_type not in ("MatMulInteger", "ConvInteger")
                or sums.input[1] not in self.weights
            ):
                continue
            quantise = self.makers.get(sums.input[0])
            if quantise is None or quantise.op_type != "DynamicQuantizeLinear":
                continue
            if quantise.output[1] not in scales.input or list(sums.input[2:3]) != [quantise.output[2]]:
                continue
            scale = next(name for name in scales.input if name != quantise.output[1])
            zero = sums.input[3] if len(sums.input) > 3 else ""
            if scale in self.weights and (not zero or zero in self.weights):
                return self._with_bias(sums, quantise.input[0], self.weights[scale], self.weights.get(zero), mul)
        return None

    def _with_bias(
        self, sums: NodeProto, x: str, scale: TensorProto, zero: TensorProto | None, mul: NodeProto
    ) -> Product | Conv:
        weight = self.weights[sums.input[1]]
        channels = weight.dims[1 if sums.op_type == "MatMulInteger" else 0]
        output, bias = self._bias(mul.output[0], channels)
        if sums.op_type == "ConvInteger" and not is_pointwise(sums, weight):
            return Conv(sums, x, output, weight, zero, scale, bias)
        return Product(x, output, weight, zero, scale, bias, pointwise=sums.op_type == "ConvInteger")

    def _bias(self, output: str, channels: int) -> tuple[str, TensorProto | None]:
        """The sum with a constant for each channel, if nothing else is done with a value."""
        readers = self.readers[output]
        if len(readers) == 1 and readers[0].op_type == "Add":
            other = next((name for name in readers[0].input if name != output), "")
            reshape = self.makers.get(other)
            if reshape is not None and reshape.op_type == "Reshape":
                other = reshape.input[0]
            bias = self.weights.get(other)
            if bias is not None and np.prod(bias.dims) == channels and bias.data_type == TensorProto.FLOAT:
                return readers[0].output[0], bias
        return output, None

    def _float(self, node: NodeProto) -> Conv | None:
        weight = self.weights.get(node.input[1])
        bias = self.weights.get(node.input[2]) if len(node.input) > 2 else None
        if weight is None or (len(node.input) > 2 and bias is None):
            return None
        return Conv(node, node.input[0], node.output[0], weight, None, None, bias)

    def _norm(self, node: NodeProto) -> Norm | None:
        given = attributes(node)
        if given.get("axis", -1) != -1 or len(node.input) != 3 or not set(node.input[1:]) <= self.weights.keys():
            return None
        x, gain, bias = node.input
        return Norm(x, node.output[0], self.weights[gain], self.weights[bias], given.get("epsilon", 1e-5))

    def _decomposed_norm(self, add: NodeProto) -> Norm | None:
        """What exports before opset 17 have: `(x - mean) / sqrt(mean((x - mean)^2) + epsilon) * gain + bias`."""
        for product, bias in self._with_weight(add):
            for ratio, gain in self._with_weight(self.makers.get(product, NodeProto()), "Mul"):
                divide = self.makers.get(ratio)
                if divide is None or divide.op_type != "Div":
                    continue
                names = self._centred(divide.input[0]), self._deviation(*divide.input)
                if names[0] and names[1] is not None:
                    return Norm(names[0], add.output[0], self.weights[gain], self.weights[bias], names[1])
        return None

    def _with_weight(self, node: NodeProto, op_type: str = "Add") -> Iterator[tuple[str, str]]:
        if node.op_type == op_type:
            for value, weight in (tuple(node.input), tuple(reversed(node.input))):
                if weight in self.weights and value not in self.weights:
                    yield value, weight

    def _made(self, name: str, op_type: str) -> NodeProto:
        node = self.makers.get(name)
        return node if node is not None and node.op_type == op_type else NodeProto()

    def _centred(self, name: str) -> str:
        """`x` of `x - mean(x)` over the last axis; empty if it is not that."""
        subtract = self._made(name, "Sub")
        mean = self._made(subtract.input[1], "ReduceMean") if subtract.input else subtract
        last = list(attributes(mean).get("axes", [])) == [-1]
        return subtract.input[0] if last and mean.input[0] == subtract.input[0] else ""

    def _deviation(self, centred: str, name: str) -> float | None:
        """The epsilon of `sqrt(mean(centred ^ 2) + epsilon)`."""
        root = self._made(name, "Sqrt")
        add = self._made(root.input[0], "Add") if root.input else root
        for mean, epsilon in self._with_weight(add):
            reduce = self._made(mean, "ReduceMean")
            power = self._made(reduce.input[0], "Pow") if reduce.input else reduce
            if power.input and power.input[0] == centred and self.scalar(power.input[1]) == 2:
                return self.scalar(epsilon)
        return None


def is_pointwise(node: NodeProto, weight: TensorProto) -> bool:
    """Whether each point that a convolution gives depends on one point only."""
    given = attributes(node)
    return (
        set(weight.dims[2:]) == {1}
        and given.get("group", 1) == 1
        and set(given.get("strides", [1])) == {1}
        and set(given.get("pads", [0])) == {0}
    )


def attributes(node: NodeProto) -> dict[str, Any]:
    """A node's attributes by name."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def only(things: Sequence[Thing], what: str) -> Thing:
    """The one thing that is expected."""
    if len(things) != 1:
        raise Strange(f"{len(things)} instead of one {what}")
    return things[0]
