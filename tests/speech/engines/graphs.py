"""Small graphs, quantised as the published ones are, and two ways to compute them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from stt_server.speech.engines.rewrite import Rewritten, rewrite

Array = NDArray[Any]
Run = Callable[[ModelProto, Array], list[Array]]


def by_definition(model: ModelProto, x: Array) -> list[Array]:
    """What the operators are defined to give: slow, and on every processor the same."""
    return [np.asarray(value) for value in ReferenceEvaluator(model).run(None, {"x": x})]


def by_onnxruntime(model: ModelProto, x: Array, *, fused: bool = False) -> list[Array]:
    """What ONNX Runtime's kernels give: each operator by itself, or fused as in the product."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    if not fused:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, {"x": x})]


def model_of(
    nodes: list[NodeProto], weights: Mapping[str, Array], *outputs: str, axes: int, out_axes: int = 0
) -> ModelProto:
    """A model that takes `x`, and gives these values, all as float32."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None] * axes)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * (out_axes or axes)) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def quantise(x: str = "x") -> NodeProto:
    """As `quantize_dynamic` names it."""
    return helper.make_node("DynamicQuantizeLinear", [x], [f"{x}_quantized", f"{x}_scale", f"{x}_zero_point"])


def scaled(
    op_type: str, out: str, *, x: str = "x", weight: str = "w", zero: str = "w_zero", **attributes: Any
) -> list[NodeProto]:
    """A quantised operator and its scaling; `weight`'s scale is called `<weight>_scale`."""
    inputs = [f"{x}_quantized", weight, f"{x}_zero_point", *([zero] if zero else [])]
    return [
        helper.make_node(op_type, inputs, [f"{out}_sums"], **attributes),
        helper.make_node("Cast", [f"{out}_sums"], [f"{out}_cast"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{x}_scale", f"{weight}_scale"], [f"{out}_scales"]),
        helper.make_node("Mul", [f"{out}_cast", f"{out}_scales"], [out]),
    ]


def kinds(model: ModelProto) -> list[str]:
    """Its operators, sorted."""
    return sorted(node.op_type for node in model.graph.node)


def whole(rewritten: Rewritten) -> ModelProto:
    """The model in one piece."""
    model = ModelProto()
    model.CopyFrom(rewritten.frame)
    model.graph.initializer.extend(rewritten.weights())
    return model


def rewritten(model: ModelProto) -> ModelProto:
    """The fast form, in one piece."""
    return whole(rewrite(model))
